"""Consistent rescaling of images and points. Pixel centres lie on integers, so an image begins at -0.5."""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np


def rescale(coordinate: Any, factor: float) -> Any:
    """A coordinate in px (number, array or tensor) after its image was enlarged by `factor`."""
    return (coordinate + 0.5) * factor - 0.5


@dataclass(frozen=True)
class Rescaling:
    """The rescaling of an image to a new size; x and y are px of the new image per px of the old."""

    size: tuple[int, int]  # (width, height) of the new image, px
    x: float
    y: float

    @classmethod
    def to_size(cls, shape: tuple[int, ...], size: tuple[int, int]) -> "Rescaling":
        """From an image of shape (height, width, ...) to the size (width, height)."""
        return cls(size, size[0] / shape[1], size[1] / shape[0])

    @classmethod
    def by(cls, shape: tuple[int, ...], factor: float) -> "Rescaling":
        """By a factor along both sides, rounded to whole pixels, at least one."""
        width, height = (max(round(side * factor), 1) for side in (shape[1], shape[0]))
        return cls.to_size(shape, (width, height))

    def image(self, image: np.ndarray) -> np.ndarray:
        """Resample an image (H, W, ...) uint8: by area averaging where it shrinks, else bicubically."""
        interpolation = cv2.INTER_AREA if min(self.x, self.y) < 1 else cv2.INTER_CUBIC
        return cv2.resize(image, self.size, interpolation=interpolation)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from px of the old image to px of the new."""
        return (points + 0.5) * (self.x, self.y) - 0.5

    def back(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) from px of the new image to px of the old."""
        return (points + 0.5) / (self.x, self.y) - 0.5

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64, px of the old image to px of the new."""
        return np.array([[self.x, 0, 0.5 * self.x - 0.5], [0, self.y, 0.5 * self.y - 0.5], [0, 0, 1]])
