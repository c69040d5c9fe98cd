"""Places on a page: from px of the image to squares of the paper, and back."""

from collections.abc import Callable, Sequence

import cv2
import numpy as np

from configs.page import RECTIFIED
from digitization.geometry.orientation import orient_points, points_to_upright, shape_of_upright
from digitization.geometry.projective import map_points
from digitization.geometry.rectify import unrectify_points
from digitization.geometry.row_strips import MARGIN, lattice_points
from digitization.geometry.slip import Slip
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.page import LayoutPage

FoundPage = RectifiedPage | LayoutPage
NEWTON_STEPS = 12  # steps to invert a lattice; crumpled paper takes six
STEP = 0.01  # squares over which the slope of the lattice is measured
CLOSE = 1e-4  # squares, distance at which the inverse is found


class Places:
    """The two ways between px of an image and squares right of and below its lattice's first point.

    orientation: of the page, whose lattice (R, C, 2) is px of the upright image. shape: (height, width) of
    the image as it is in its file. slip: slices of paper that a scanner lost, of the competition's page.
    """

    def __init__(
        self, orientation: int, gridpoint_xy: np.ndarray, shape: tuple[int, ...], slip: Slip | None = None
    ):
        self.orientation, self.gridpoint_xy, self.shape, self.slip = (
            orientation,
            gridpoint_xy,
            shape[:2],
            slip,
        )
        self.upright_shape = shape_of_upright(orientation, self.shape)

    @classmethod
    def of(cls, page: FoundPage, shape: tuple[int, ...]) -> "Places":
        return cls(page.orientation, page.gridpoint_xy, shape, page.slip)

    def upright_of(self, squares: np.ndarray) -> np.ndarray:
        """Squares (N, 2) to px of the upright image, (N, 2)."""
        if self.slip is not None:
            sides = (RECTIFIED.square_width, RECTIFIED.square_height)
            return unrectify_points(squares * sides, self.gridpoint_xy, slip=self.slip)
        return lattice_points(self.gridpoint_xy, squares[:, 1], squares[:, 0])

    def to_image(self, squares: Sequence | np.ndarray) -> np.ndarray:
        """Squares (N, 2) to px of the image, (N, 2)."""
        upright = self.upright_of(np.asarray(squares, np.float64).reshape(-1, 2))
        return orient_points(upright, self.orientation, self.upright_shape).astype(np.float64)

    def to_squares(self, points: Sequence | np.ndarray) -> np.ndarray:
        """Px of the image (N, 2) to squares, (N, 2)."""
        points = np.asarray(points, np.float64).reshape(-1, 2)
        upright = points_to_upright(points, self.orientation, self.shape).astype(np.float64)
        return invert_lattice(self.upright_of, self.gridpoint_xy, upright)


def invert_lattice(
    forward: Callable[[np.ndarray], np.ndarray], gridpoint_xy: np.ndarray, points: np.ndarray
) -> np.ndarray:
    """The squares (N, 2) that `forward` takes to points (N, 2) px, by Newton's method.

    It starts from the homography that fits the lattice (R, C, 2) best. Places farther from the lattice than
    it can be continued are put at that distance.
    """
    rows, columns = gridpoint_xy.shape[:2]
    nodes = np.stack(np.meshgrid(np.arange(columns), np.arange(rows)), axis=-1).reshape(-1, 2)
    homography, _ = cv2.findHomography(gridpoint_xy.reshape(-1, 2).astype(np.float64), nodes.astype(float))
    least, most = -MARGIN + 1.0, np.array([columns, rows]) + MARGIN - 2.0
    squares = map_points(points, homography).clip(least, most)
    for _ in range(NEWTON_STEPS):
        here = forward(squares)
        right, down = (forward(squares + step) - here for step in (np.array([STEP, 0]), np.array([0, STEP])))
        slope = np.stack([right, down], axis=-1) / STEP  # (N, 2, 2)
        off = np.linalg.solve(slope, (points - here)[..., None])[..., 0]
        squares = (squares + off.clip(-2, 2)).clip(least, most)
        if np.abs(off).max(initial=0) < CLOSE:
            break
    return squares
