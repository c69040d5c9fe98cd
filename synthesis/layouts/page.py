"""Pages of any layout, as hospitals, programs and teaching files print them, with exact labels.

The sheet has the size of the competition's page in px, but a scale of its own: what lies on it may be A4,
Letter or a folded strip. The grid may cover the sheet, or a box behind the traces alone, and the rows may be
anywhere.
"""

from dataclasses import dataclass

import numpy as np

from configs.layouts import Layout
from configs.page import SQUARE_MM
from synthesis.layouts.sheet import choose_print, crossings, draw_sheet
from synthesis.layouts.texts import annotate, write_header, write_labels, write_scales
from synthesis.layouts.traces import draw_rows
from synthesis.signals import Record

INVERTED_SHARE = 0.03  # share of pages that are light on dark, as some programs show them
ANNOTATED_SHARE = 0.15  # share of pages with arrows, circles and words on them, as in teaching files


@dataclass(frozen=True)
class LayoutPage:
    """A drawn page of a layout.

    image: (1700, 2200, 3) uint8 RGB.
    gridpoint_xy: (R, C, 2) float32 px, the crossings of the 5 mm lines that are printed, top left first.
    zero_lines: (rows,) float64, y of 0 mV of each row in squares below the first row of grid points.
    start: x at which the rows begin, in squares right of the first column of grid points.
    labels: the leads whose labels are printed, with (x, y) px of the label's middle; "-aVR" has its sign.
    scales: the printed paper speed and gain, "25 mm/s" and "10 mm/mV", with (x, y) px of the text's middle.
    words: other texts, "" with (x, y) px of the middle of each.
    pulses: (P, 4, 2) float64 px, the corners of the calibration pulses: bottom and top of the rise, top and
        bottom of the fall.
    """

    image: np.ndarray
    gridpoint_xy: np.ndarray
    layout: Layout
    zero_lines: np.ndarray
    start: float
    labels: tuple[tuple[str, float, float], ...]
    scales: tuple[tuple[str, float, float], ...]
    words: tuple[tuple[str, float, float], ...]
    pulses: np.ndarray

    def to_squares(self, xy: np.ndarray) -> np.ndarray:
        """Points (..., 2) px as (x, y) in squares right of and below the first grid point."""
        return (xy - self.gridpoint_xy[0, 0]) / np.linalg.norm(
            self.gridpoint_xy[0, 1] - self.gridpoint_xy[0, 0]
        )


def draw_layout_page(record: Record, layout: Layout, rng: np.random.Generator) -> LayoutPage:
    """Print the first `layout.duration_s` seconds of a record in a layout, in a random style.

    Raises ValueError for a layout that is too wide or too high for a sheet, or longer than the record.
    """
    length = round(layout.duration_s * record.fs)
    if length > record.leads.shape[1]:
        raise ValueError(f"layout {layout.name}: {layout.duration_s:g} s, longer than record {record.id}")
    place = choose_print(layout, rng)
    image = draw_sheet(place, rng)
    gridpoint_xy = crossings(place)
    pulses = draw_rows(image, record.leads[:, :length], record.fs, layout, place, rng)
    labels = write_labels(image, layout, place, rng)
    texts = (*write_scales(image, layout, place, rng), *write_header(image, place, rng))
    scales = tuple(text for text in texts if text[0])
    words = tuple(text for text in texts if not text[0])
    if rng.random() < ANNOTATED_SHARE:
        annotate(image, place, rng)
    if rng.random() < INVERTED_SHARE:
        image = 255 - image
    squares = gridpoint_xy[0, 0].astype(np.float64) / place.px_per_mm  # mm of the first crossing
    zero_lines = (np.array(place.zero_lines) - squares[1]) / SQUARE_MM
    start = float((place.start - squares[0]) / SQUARE_MM)
    return LayoutPage(image, gridpoint_xy, layout, zero_lines, start, labels, scales, words, pulses)
