"""The scale of the paper in the image, and whether its squares are square."""

from dataclasses import dataclass

import cv2
import numpy as np

from configs.page import SQUARE_MM
from digitization.geometry.frame import CELLS

# Range of focal lengths of phones, as multiples of the image's longer side; without perspective any will do.
FOCAL_LENGTHS = (0.55, 1.6)
ASPECT_TOLERANCE = 0.06  # tolerated log of a square's height over width; printers and scanners stretch it too


@dataclass(frozen=True)
class Calibration:
    """The paper's scale in the image.

    px_per_mm: (2,) float64, median along x and along y of the page, in px of the upright image.
    aspect: height of a square over its width on the paper, corrected for perspective; see measure_aspect.
    """

    px_per_mm: np.ndarray
    aspect: float

    @property
    def fits_paper(self) -> bool:
        """Whether squares are as wide as tall, as at 25 mm/s and 10 mm/mV on 5 mm squares."""
        return abs(np.log(self.aspect)) < ASPECT_TOLERANCE


def calibrate(gridpoint_xy: np.ndarray, seen: np.ndarray, shape: tuple[int, ...]) -> Calibration:
    """The scale of a lattice (44, 57, 2) px of a (height, width) image, from points seen (44, 57) bool."""
    steps = (np.diff(gridpoint_xy, axis=1), np.diff(gridpoint_xy, axis=0))
    px_per_mm = [np.median(np.linalg.norm(step, axis=-1)) / SQUARE_MM for step in steps]
    homography, _ = cv2.findHomography(
        CELLS[seen][:, ::-1].astype(np.float64), gridpoint_xy[seen].astype(np.float64)
    )
    return Calibration(np.array(px_per_mm, np.float64), measure_aspect(homography, shape))


def measure_aspect(homography: np.ndarray, shape: tuple[int, ...]) -> float:
    """Height over width of the squares on the paper, as a camera saw them in a (height, width) image.

    homography (3, 3): squares (column, row) to px of the image. For a camera of focal length f with its
    principal point in the middle of the image, a square's sides are the first two columns, with their third
    component times f (Zhang 2000, doi 10.1109/34.888718). f is unknown: the result is the ratio nearest
    to 1 for any f in FOCAL_LENGTHS.
    """
    height, width = shape[:2]
    middle = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]])
    columns = (middle @ homography)[:, :2]
    focal = np.array(FOCAL_LENGTHS) * max(height, width)
    sides = np.hypot(np.linalg.norm(columns[:2], axis=0), np.outer(focal, columns[2]))
    low, high = np.sort(sides[:, 1] / sides[:, 0])
    return float(np.clip(1.0, low, high))
