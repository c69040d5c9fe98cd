"""Pages of any layout to learn from: their rows, four at a time, laid out as on the competition's page."""

import numpy as np

from configs.layouts import Layout, RowGroup, find_layout, rows_from_leads
from configs.page import DURATION_S, MASK_WIDTH, MM_PER_MV, MM_PER_SECOND, RECTIFIED
from configs.stage2 import CROP_TOP, INPUT_HEIGHT
from digitization.geometry.row_strips import lay_out_rows
from digitization.signal.traces import drawing_matrix, segment_columns
from synthesis.layouts.capture import LayoutCapture, capture_layout
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import Record

# The layouts that are drawn to learn from, roughly as often as they are met: half have rows of four leads.
TRAINED_LAYOUTS = (
    *("3x4", "3x4+II", "3x4+II", "3x4+V1", "3x4+V1+II", "3x4+V1+II+V5", "cabrera-3x4+II", "3x4+V5"),
    *("6x2", "6x2", "6x2+II", "cabrera-6x2", "12x1", "12x1", "cabrera-12x1", "6x1-limb", "6x1-chest"),
    *("3x2-limb", "3x2-chest", "II", "V1+II", "V4+V5", "II+V1+V5"),
)
# (paper speed in mm/s, seconds on the page) and gains in mm/mV, and how often they are drawn.
SPEEDS, SPEED_SHARES = ((MM_PER_SECOND, DURATION_S), (50.0, 5.0), (12.5, DURATION_S)), (0.74, 0.16, 0.1)
GAINS, GAIN_SHARES = (MM_PER_MV, 5.0, 20.0), (0.7, 0.15, 0.15)
ZERO_LINE_ERROR = 0.22  # squares (0.11 mV), standard deviation of the error of a zero line
START_ERROR = 0.02  # squares (4 ms), standard deviation of the error of where the rows begin


def choose_layout(rng: np.random.Generator) -> Layout:
    """A random layout, speed and gain to learn from."""
    speed, seconds = SPEEDS[rng.choice(len(SPEEDS), p=SPEED_SHARES)]
    gain = GAINS[rng.choice(len(GAINS), p=GAIN_SHARES)]
    name = str(rng.choice(TRAINED_LAYOUTS))
    return find_layout(name, mm_per_second=speed, duration_s=seconds, mm_per_mv=gain)


def draw_layout(record: Record, image_type: str, rng: np.random.Generator) -> LayoutCapture:
    """The record as an upright page of a random layout, captured as one of IMAGE_TYPES."""
    return capture_layout(draw_layout_page(record, choose_layout(rng), rng), image_type, rng, orientation=0)


def strips_to_learn(
    capture: LayoutCapture, gridpoint_xy: np.ndarray, record: Record, rng: np.random.Generator
) -> dict:
    """Some neighbouring rows of a page as stage 2's samples keep a page, see Stage2Samples.

    gridpoint_xy (R, C, 2) px is the lattice as it would be found. The rows are laid out by zero lines and a
    beginning that are a little wrong, as those found are; the targets are where the traces come to lie.
    """
    layout = capture.layout
    count = min(layout.row_count, len(RECTIFIED.zero_lines))
    first = int(rng.integers(0, layout.row_count - count + 1))
    chosen = slice(first, first + count)
    errors = rng.normal(0, ZERO_LINE_ERROR, count)
    late = rng.normal(0, START_ERROR)
    speed = layout.mm_per_second / MM_PER_SECOND
    page = lay_out_rows(
        capture.image, gridpoint_xy, capture.zero_lines[chosen] + errors, capture.start + late, speed
    )
    y = strip_targets(record, layout, first, count)
    y[:count] -= (errors * RECTIFIED.square_height)[:, None]
    shift = late / speed * RECTIFIED.square_width  # columns by which the traces come too far left
    columns = np.arange(MASK_WIDTH)
    y = np.stack([np.interp(columns + shift, columns, row, left=np.nan, right=np.nan) for row in y])
    image = np.ascontiguousarray(page[CROP_TOP : CROP_TOP + INPUT_HEIGHT, :MASK_WIDTH])
    group = RowGroup(layout, tuple(range(first, first + count)))
    return {"image": image, "y": (y - CROP_TOP).astype(np.float32), "group": group}


def strip_targets(record: Record, layout: Layout, first: int, count: int) -> np.ndarray:
    """The y of each column, (4, MASK_WIDTH) float64 px of the rectified page, of rows laid out without error.

    NaN where a row shows nothing, and for the rows that are missing.
    """
    length = round(DURATION_S * record.fs)
    shown = round(layout.duration_s * record.fs)
    rows = rows_from_leads(record.leads[:, :shown], layout)[first : first + count]
    y = np.full((len(RECTIFIED.zero_lines), RECTIFIED.width), np.nan)
    px_per_mv = RECTIFIED.px_per_mv * layout.mm_per_mv / MM_PER_MV
    for place, row in enumerate(range(first, first + count)):
        for segment in layout.row_segments(row):
            start, stop = segment.bounds(shown)
            columns = segment_columns(start, stop, length, RECTIFIED)
            millivolts = drawing_matrix(start, stop, length, RECTIFIED) @ rows[place, start:stop]
            y[place, columns] = RECTIFIED.zero_lines[place] - px_per_mv * millivolts
    return y[:, :MASK_WIDTH]
