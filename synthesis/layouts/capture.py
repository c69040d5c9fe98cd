"""A page of any layout scanned or photographed, and cropped as people crop: the image and its labels."""

from dataclasses import dataclass

import numpy as np

from configs.layouts import Layout
from configs.page import FLAT_TYPES, IMAGE_TYPES
from digitization.geometry.orientation import apply_orientation, orient_points
from synthesis.capture import choose_orientation
from synthesis.layouts.page import LayoutPage
from synthesis.page import Page
from synthesis.photo import photograph
from synthesis.scanner import scan

CROP_SHARE = (
    0.5  # share of images cropped to the traces: real ones mostly show the grid without the sheet's rest
)
CROP_MARGIN = (
    0.12  # greatest margin that a crop leaves about the traces, as a share of their width and height
)
MIN_SIDE = 200  # px, shorter side of a crop


@dataclass(frozen=True)
class LayoutCapture:
    """An image (H, W, 3) uint8 RGB of a page of any layout, and its labels in px of that image.

    gridpoint_xy: (R, C, 2) float32, the crossings of the 5 mm lines that are printed; some may lie outside.
    zero_lines, start: where the rows lie on the lattice, in squares, as in LayoutPage.
    labels: the printed lead labels with (x, y) of their middles; some may lie outside.
    orientation: 0..7, see configs/stage0.py.
    page: the page as it was before it was captured.
    """

    image: np.ndarray
    gridpoint_xy: np.ndarray
    labels: tuple[tuple[str, float, float], ...]
    orientation: int
    page: LayoutPage

    @property
    def layout(self) -> Layout:
        return self.page.layout

    @property
    def zero_lines(self) -> np.ndarray:
        return self.page.zero_lines

    @property
    def start(self) -> float:
        return self.page.start


def capture_layout(
    page: LayoutPage,
    image_type: str,
    rng: np.random.Generator,
    orientation: int | None = None,
    crop: bool | None = None,
) -> LayoutCapture:
    """The page as one of IMAGE_TYPES. `orientation` fixes how it is rotated, `crop` whether it is cropped.

    Scans do not slip. Raises ValueError for other image types.
    """
    if image_type not in IMAGE_TYPES:
        raise ValueError(f"image type {image_type!r}, not one of {', '.join(IMAGE_TYPES)}")
    image, points = page.image, np.array([label[1:] for label in page.labels]).reshape(-1, 2)
    gridpoint_xy = page.gridpoint_xy
    outline = row_outline(page)
    if image_type != "0001":
        sheet = Page(page.image, page.gridpoint_xy, len(page.pulses) > 0)
        if image_type in FLAT_TYPES:
            image, warp = scan(sheet, image_type, rng, None)
        else:
            image, warp = photograph(sheet, image_type, rng, None, False)
        gridpoint_xy, points, outline = (warp.to_capture(each) for each in (gridpoint_xy, points, outline))
    if rng.random() < CROP_SHARE if crop is None else crop:
        image, corner = crop_about(image, outline, rng)
        gridpoint_xy, points = gridpoint_xy - corner, points - corner
    orientation = choose_orientation(rng) if orientation is None else orientation
    gridpoint_xy, points = (orient_points(each, orientation, image.shape) for each in (gridpoint_xy, points))
    labels = tuple((name, float(x), float(y)) for (name, *_), (x, y) in zip(page.labels, points, strict=True))
    image = apply_orientation(image, orientation)
    return LayoutCapture(image, gridpoint_xy.astype(np.float32), labels, orientation, page)


def row_outline(page: LayoutPage) -> np.ndarray:
    """Points (N, 2) px of the sheet on the outline of the rows, from half a row above to half a row below."""
    square = float(page.gridpoint_xy[0, 1, 0] - page.gridpoint_xy[0, 0, 0])
    left, top = page.gridpoint_xy[0, 0].astype(np.float64)
    pitch = np.diff(page.zero_lines).mean() if len(page.zero_lines) > 1 else 4.0  # squares
    width = page.layout.duration_s * page.layout.mm_per_second / 5.0
    x = left + square * (page.start + np.linspace(-0.5, width + 0.5, 9))
    y = top + square * np.linspace(page.zero_lines[0] - pitch / 2, page.zero_lines[-1] + pitch / 2, 9)
    edges = [(x, np.full(9, y[0])), (x, np.full(9, y[-1])), (np.full(9, x[0]), y), (np.full(9, x[-1]), y)]
    return np.concatenate([np.stack(edge, axis=1) for edge in edges])


def crop_about(
    image: np.ndarray, outline: np.ndarray, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The image (H, W, 3) cropped about points (N, 2) px with random margins, and its top left corner."""
    low, high = outline.min(axis=0), outline.max(axis=0)
    margins = rng.uniform(0, CROP_MARGIN, 4) * np.tile(high - low, 2)
    size = np.array(image.shape[1::-1])
    corner = np.clip(np.floor(low - margins[:2]), 0, size - MIN_SIDE).astype(int)
    end = np.clip(np.ceil(high + margins[2:]), corner + MIN_SIDE, size).astype(int)
    return np.ascontiguousarray(image[corner[1] : end[1], corner[0] : end[0]]), corner
