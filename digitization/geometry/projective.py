"""Points through projective maps."""

import numpy as np


def map_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) through a (3, 3) projective map; the dtype float64."""
    homogeneous = np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return homogeneous[..., :2] / homogeneous[..., 2:]
