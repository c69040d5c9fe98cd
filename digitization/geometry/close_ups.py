"""Close-ups of places on a page's paper: small pieces of it, straightened, in a scale of their own."""

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np

from configs.close_ups import CLOSE_UP, PX_PER_SQUARE, SHRINK
from digitization.geometry.row_strips import resample_lattice
from digitization.geometry.straight_paper import shrink_to


def close_up(image: np.ndarray, gridpoint_xy: np.ndarray, x: float, y: float) -> np.ndarray:
    """The close-up about (x, y) squares of the lattice: CLOSE_UP with 3 channels, uint8, white outside.

    The image (H, W, 3) uint8 with its lattice (R, C, 2) px is shrunk to PX_PER_SQUARE where it is finer.
    """
    height, width = CLOSE_UP
    down = y + offsets(height * SHRINK)
    piece = resample_lattice(image, gridpoint_xy, down, x + offsets(width))
    return cv2.resize(piece, (width, height), interpolation=cv2.INTER_AREA)


def close_ups(image: np.ndarray, gridpoint_xy: np.ndarray, places: Sequence[Sequence[float]]) -> np.ndarray:
    """The close-ups about several places (x, y) in squares of the lattice: (N, height, width, 3) uint8."""
    image, gridpoint_xy = shrink_to(image, gridpoint_xy, PX_PER_SQUARE)
    return np.stack([close_up(image, gridpoint_xy, x, y) for x, y in places])


def offsets(size: int) -> np.ndarray:
    """The places of `size` px about the middle of a close-up, in squares right of it or below it."""
    return (np.arange(size) - (size - 1) / 2) / PX_PER_SQUARE


def column_of(offset: Any) -> Any:
    """The column of a close-up, in px, that lies so many squares (number or array) right of its middle."""
    return (CLOSE_UP[1] - 1) / 2 + offset * PX_PER_SQUARE
