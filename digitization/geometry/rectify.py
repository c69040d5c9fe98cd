"""The photo resampled once so that the grid of the page becomes a regular lattice."""

import cv2
import numpy as np
from scipy.interpolate import RegularGridInterpolator, make_interp_spline

from configs.page import GRID_COLUMNS, GRID_ROWS, RECTIFIED, Canvas
from digitization.geometry.slip import Slip

BAND_HEIGHT = 128  # rows of the canvas remapped at a time; their coordinate maps take under 5 MB
WHITE = (255, 255, 255)  # RGB beyond the image: paper without ink, where a replicated border would draw lines


def spline_weights(points: int, places: np.ndarray) -> np.ndarray:
    """The matrix (len(places), points) float64 from values at 0..points-1 to their cubic spline at places."""
    return make_interp_spline(np.arange(points), np.eye(points), k=3)(places)


def dense_rows(gridpoint_xy: np.ndarray, columns: np.ndarray, slip: Slip | None = None) -> np.ndarray:
    """Coordinates along the rows of the grid at fractional columns (w,): (2, 44, w) float64, x and y.

    A cubic spline through each row of gridpoint_xy (44, 57, 2). With a slip the spline runs through the paper
    without its lost slices, and every column of a slice has the coordinates of its edge.
    """
    if slip is None:
        across = spline_weights(GRID_COLUMNS, columns)  # (w, 57)
        return np.einsum("wc,rcd->drw", across, gridpoint_xy.astype(np.float64), optimize=True)
    rows = [row_at(gridpoint_xy, row, columns, slip) for row in range(len(gridpoint_xy))]
    return np.stack(rows).transpose(2, 0, 1)


def row_at(gridpoint_xy: np.ndarray, row: int, columns: np.ndarray, slip: Slip | None = None) -> np.ndarray:
    """Coordinates (w, 2) along one row of the grid at fractional columns (w,), as in `dense_rows`."""
    points = np.arange(gridpoint_xy.shape[1])
    if slip is not None:
        points, columns = slip.scanned_columns(points, row), slip.scanned_columns(columns, row)
    return make_interp_spline(points, gridpoint_xy[row].astype(np.float64), k=3)(columns)


def lattice_at(lattice: np.ndarray, places: np.ndarray) -> np.ndarray:
    """A lattice (44, 57, 2) of coordinates interpolated bilinearly at (row, column) places (N, 2): (N, 2).

    Beyond the lattice its outermost squares are extrapolated.
    """
    axes = [np.arange(size) for size in lattice.shape[:2]]
    return RegularGridInterpolator(axes, lattice, bounds_error=False, fill_value=None)(places)


def check_inputs(image: np.ndarray, gridpoint_xy: np.ndarray) -> None:
    """Raise ValueError unless the image is (H, W, 3) uint8 and the lattice (44, 57, 2) and finite."""
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or 0 in image.shape:
        raise ValueError(f"image: must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if gridpoint_xy.shape != (GRID_ROWS, GRID_COLUMNS, 2):
        raise ValueError(f"gridpoint_xy: must be ({GRID_ROWS}, {GRID_COLUMNS}, 2), not {gridpoint_xy.shape}")
    if not np.isfinite(gridpoint_xy).all():
        raise ValueError(f"gridpoint_xy: {int(np.isnan(gridpoint_xy).sum())} coordinates are not finite")


def rectify_region(
    image: np.ndarray,
    gridpoint_xy: np.ndarray,
    x0: int,
    y0: int,
    x1: int,
    y1: int,
    canvas: Canvas = RECTIFIED,
    slip: Slip | None = None,
) -> np.ndarray:
    """The part x0 <= x < x1, y0 <= y < y1 of the rectified page: (y1 - y0, x1 - x0, 3) uint8.

    image (H, W, 3) uint8; gridpoint_xy (44, 57, 2) px of that image. Grid point (row, column) is mapped to
    canvas px (column * square_width, row * square_height), with a bicubic spline between the points, and the
    image is sampled once, with cubic interpolation. The columns of a lost slice of paper all show its edge.
    Raises ValueError for inputs of another shape or dtype and for an empty region.
    """
    check_inputs(image, gridpoint_xy)
    if not (x0 < x1 and y0 < y1):
        raise ValueError(f"empty region: x {x0}..{x1}, y {y0}..{y1}")
    return resample(image, gridpoint_xy, (x0, y0, x1, y1), canvas, slip, cv2.INTER_CUBIC)


def rectify_grey(
    image: np.ndarray, gridpoint_xy: np.ndarray, canvas: Canvas, slip: Slip | None = None
) -> np.ndarray:
    """The whole rectified page in grey, sampled bilinearly: (canvas.height, canvas.width) uint8.

    For measuring lines, in a fraction of the time of `rectify`, which has the same arguments.
    """
    check_inputs(image, gridpoint_xy)
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    return resample(grey, gridpoint_xy, (0, 0, canvas.width, canvas.height), canvas, slip, cv2.INTER_LINEAR)


def resample(
    image: np.ndarray,
    gridpoint_xy: np.ndarray,
    region: tuple[int, int, int, int],
    canvas: Canvas,
    slip: Slip | None,
    interpolation: int,
) -> np.ndarray:
    """The region (x0, y0, x1, y1) of the canvas as uint8, with as many channels as the image has."""
    x0, y0, x1, y1 = region
    down = spline_weights(GRID_ROWS, np.arange(y0, y1) / canvas.square_height).astype(np.float32)  # (h, 44)
    columns = dense_rows(gridpoint_xy, np.arange(x0, x1) / canvas.square_width, slip).astype(np.float32)
    resampled = np.empty((y1 - y0, x1 - x0, *image.shape[2:]), np.uint8)
    for top in range(0, len(resampled), BAND_HEIGHT):
        band = down[top : top + BAND_HEIGHT]
        resampled[top : top + BAND_HEIGHT] = cv2.remap(
            image,
            band @ columns[0],
            band @ columns[1],
            interpolation,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=WHITE,
        )
    return resampled


def rectify(
    image: np.ndarray, gridpoint_xy: np.ndarray, canvas: Canvas = RECTIFIED, slip: Slip | None = None
) -> np.ndarray:
    """The whole rectified page: (canvas.height, canvas.width, 3) uint8. See rectify_region."""
    return rectify_region(image, gridpoint_xy, 0, 0, canvas.width, canvas.height, canvas, slip)


def unrectify_points(
    points: np.ndarray, gridpoint_xy: np.ndarray, canvas: Canvas = RECTIFIED, slip: Slip | None = None
) -> np.ndarray:
    """Points (N, 2) px of the rectified page mapped back to px of the image: (N, 2).

    gridpoint_xy (44, 57, 2) px of that image. The splines are those of rectify_region, so this is exact.
    """
    columns = dense_rows(gridpoint_xy, points[:, 0] / canvas.square_width, slip)  # (2, 44, N)
    down = spline_weights(GRID_ROWS, points[:, 1] / canvas.square_height)  # (N, 44)
    return np.einsum("nr,drn->nd", down, columns)


def outline_of(gridpoint_xy: np.ndarray) -> np.ndarray:
    """The outermost points of a lattice (R, C, 2), round it: (N, 2)."""
    top, right, bottom, left = (
        gridpoint_xy[0], gridpoint_xy[:, -1], gridpoint_xy[-1, ::-1], gridpoint_xy[::-1, 0]
    )  # fmt: skip
    return np.concatenate([top, right, bottom, left])
