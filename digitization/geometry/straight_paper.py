"""The paper of any page straightened: every 5 mm square as large as every other, whatever the lattice."""

from dataclasses import dataclass

import cv2
import numpy as np

from digitization.geometry.rectify import WHITE
from digitization.geometry.row_strips import lattice_coordinates
from utils.rescaling import Rescaling

MARGIN_SQUARES = 8  # squares beyond the lattice that are shown where the image has them, for texts and pulses
MAX_SHRINK = 1.3  # px of the image per px of the straightened paper up to which sampling hardly aliases


@dataclass(frozen=True)
class StraightPaper:
    """Straightened paper.

    image: (H, W, 3) uint8 RGB, white where the image does not reach.
    inside: (H, W) bool, where it does.
    corner: (x, y) of the top left pixel's centre in squares right of and below the lattice's first point.
    px_per_square: px per 5 mm square.
    """

    image: np.ndarray
    inside: np.ndarray
    corner: np.ndarray
    px_per_square: float

    @property
    def edges(self) -> np.ndarray:
        """The (x, y) of the image's first and last column and row on the paper, in squares: (2, 2).

        Where the image's edge is not along the lattice, where half of the paper's extent is inside.
        """
        bounds = []
        for axis in (0, 1):
            share = self.inside.mean(axis=axis)
            shown = np.flatnonzero(share >= share.max() / 2)
            bounds.append((shown[0], shown[-1]))
        return self.to_squares(np.array(bounds, np.float64).T)

    def to_px(self, squares: np.ndarray) -> np.ndarray:
        """Points (..., 2) from (x, y) in squares of the lattice to px of the straightened paper."""
        return (squares - self.corner) * self.px_per_square

    def to_squares(self, xy: np.ndarray) -> np.ndarray:
        """Points (..., 2) from px of the straightened paper to squares of the lattice."""
        return xy / self.px_per_square + self.corner


def straighten_paper(image: np.ndarray, gridpoint_xy: np.ndarray, px_per_square: float) -> StraightPaper:
    """The paper of an image (H, W, 3) uint8 with the lattice (R, C, 2) px, and a margin about the lattice."""
    rows, columns = gridpoint_xy.shape[:2]
    image, gridpoint_xy = shrink_to(image, gridpoint_xy, px_per_square)
    margin = np.arange(-MARGIN_SQUARES, max(rows, columns) + MARGIN_SQUARES)
    xy = lattice_coordinates(
        gridpoint_xy, margin[: rows + 2 * MARGIN_SQUARES], margin[: columns + 2 * MARGIN_SQUARES]
    )
    shown = is_inside(xy, image.shape)
    bounds = [shown_bounds(np.asarray(shown.any(axis=axis))) for axis in (1, 0)]
    y, x = (
        np.arange(round((last - first) * px_per_square) + 1) / px_per_square + first - MARGIN_SQUARES
        for first, last in bounds
    )
    xy = lattice_coordinates(gridpoint_xy, y, x).astype(np.float32)
    straight = cv2.remap(
        image, xy[..., 0], xy[..., 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT, borderValue=WHITE
    )
    return StraightPaper(straight, is_inside(xy, image.shape), np.array([x[0], y[0]]), px_per_square)


def shrink_to(
    image: np.ndarray, gridpoint_xy: np.ndarray, px_per_square: float
) -> tuple[np.ndarray, np.ndarray]:
    """The image (H, W, 3) uint8 with its lattice (R, C, 2) px, shrunk to a scale where it is much finer."""
    steps = np.linalg.norm(np.diff(gridpoint_xy, axis=1), axis=-1)
    shrink = float(np.median(steps)) / px_per_square
    if shrink <= MAX_SHRINK:
        return image, gridpoint_xy
    rescaling = Rescaling.by(image.shape, 1 / shrink)
    return rescaling.image(image), rescaling.points(gridpoint_xy)


def is_inside(xy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Which of the points (..., 2) px lie in an image of this shape."""
    return np.asarray(((xy >= -0.5) & (xy <= (shape[1] - 0.5, shape[0] - 0.5))).all(axis=-1))


def shown_bounds(shown: np.ndarray) -> tuple[int, int]:
    """The last of (N,) bool before any is true, and the first after; all of them where none is."""
    where = np.flatnonzero(shown)
    if not len(where):
        return 0, len(shown) - 1
    return max(int(where[0]) - 1, 0), min(int(where[-1]) + 1, len(shown) - 1)
