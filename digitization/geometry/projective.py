"""Points under a homography."""

import numpy as np


def map_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) (x, y) mapped by a homography (3, 3): (..., 2) float64."""
    homogeneous = np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return homogeneous[..., :2] / homogeneous[..., 2:]
