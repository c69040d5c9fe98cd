"""The rows of any page laid out as the competition's page has them, four at a time, for stage 2's network.

Stage 2 knows its four rows by their height on the rectified page. So a strip of paper about each row of a
page with any lattice, row pitch and number of rows is resampled to where one of these rows is expected.
"""

from collections.abc import Iterator, Sequence

import cv2
import numpy as np

from configs.page import RECTIFIED, ZERO_LINE_ROWS, Canvas
from digitization.geometry.rectify import WHITE, spline_weights

MARGIN = 12  # squares by which a lattice is continued beyond its outermost lines, for strips at its edges
TOP_SQUARES = 9.0  # squares (4.5 mV) above the first row that its strip shows; the rest of the page is white


def lay_out_rows(
    image: np.ndarray,
    gridpoint_xy: np.ndarray,
    zero_lines: Sequence[float] | np.ndarray,
    start: float | np.ndarray,
    squares_per_column: float = 1.0,
    canvas: Canvas = RECTIFIED,
    below_squares: float | None = None,
) -> np.ndarray:
    """Up to four rows of a page as a rectified page of the competition: (height, width, 3) uint8.

    gridpoint_xy (R, C, 2) is the page's lattice in px of the image (H, W, 3) uint8. `zero_lines` are the
    rows' y of 0 mV in squares below its first row, `start` the x of their beginning in squares right of its
    first column, one for all or one for each. `squares_per_column` is the paper speed in units of 25 mm/s,
    so that the time axis becomes the competition's. Each strip reaches half-way to the rows of the
    competition above and below, that of a single row down to `below_squares` if given; missing rows stay
    white. Raises ValueError for none or more rows than the
    canvas has.
    """
    expected = np.array(canvas.zero_lines) / canvas.square_height
    if not 0 < len(zero_lines) <= len(expected):
        raise ValueError(f"{len(zero_lines)} rows: 1 to {len(expected)} fit on a page")
    page = np.full((canvas.height, canvas.width, 3), WHITE, np.uint8)
    y = np.arange(canvas.height) / canvas.square_height
    columns = (np.arange(canvas.width) - canvas.signal_start) / canvas.square_width
    edges = np.concatenate([[expected[0] - TOP_SQUARES], (expected[1:] + expected[:-1]) / 2, [np.inf]])
    if below_squares is not None:
        edges[1] = expected[0] + below_squares
    starts = np.broadcast_to(start, len(zero_lines))
    for row, zero_line in enumerate(zero_lines):
        inside = np.flatnonzero((y >= edges[row]) & (y < edges[row + 1]))
        places = y[inside] - expected[row] + zero_line
        page[inside] = resample_lattice(
            image, gridpoint_xy, places, columns * squares_per_column + starts[row]
        )
    return page


def row_groups(row_count: int) -> Iterator[list[int]]:
    """The rows of a page four at a time, each once, as they are shown to stage 2."""
    size = len(ZERO_LINE_ROWS)
    for first in range(0, row_count, size):
        yield list(range(first, min(first + size, row_count)))


def resample_lattice(
    image: np.ndarray, gridpoint_xy: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> np.ndarray:
    """The image (H, W, 3) uint8 at fractional rows (h,) and columns (w,) of a lattice (R, C, 2): (h, w, 3).

    White outside the image.
    """
    xy = lattice_coordinates(gridpoint_xy, rows, columns).astype(np.float32)
    return cv2.remap(
        image, xy[..., 0], xy[..., 1], cv2.INTER_CUBIC, borderMode=cv2.BORDER_CONSTANT, borderValue=WHITE
    )


def lattice_coordinates(gridpoint_xy: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Coordinates at fractional rows (h,) and columns (w,) of a lattice (R, C, 2): (h, w, 2) float64 px.

    Between the lattice's points run cubic splines; beyond it they go on for MARGIN squares, after which the
    outermost place is repeated.
    """
    lattice, down, across = lattice_weights(gridpoint_xy, rows, columns)
    across_xy = np.einsum("rcd,wc->rwd", lattice, across, optimize=True)
    return np.einsum("hr,rwd->hwd", down, across_xy, optimize=True)


def lattice_points(gridpoint_xy: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Coordinates of the places (rows[n], columns[n]) of a lattice, (N, 2), as in `lattice_coordinates`."""
    lattice, down, across = lattice_weights(gridpoint_xy, rows, columns)
    on_rows = (down @ lattice.reshape(len(lattice), -1)).reshape(len(down), *lattice.shape[1:])  # (N, C, 2)
    return np.einsum("ncd,nc->nd", on_rows, across)


def lattice_weights(
    gridpoint_xy: np.ndarray, rows: np.ndarray, columns: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The lattice continued on all sides, and the weights of its rows and columns at fractional places."""
    padding = ((MARGIN, MARGIN), (MARGIN, MARGIN), (0, 0))
    lattice = np.pad(gridpoint_xy.astype(np.float64), padding, mode="reflect", reflect_type="odd")
    down, across = (
        spline_weights(points, np.clip(places + MARGIN, 0, points - 1))
        for points, places in zip(lattice.shape[:2], (rows, columns), strict=True)
    )
    return lattice, down, across
