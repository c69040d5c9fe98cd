"""The eight orientations of an image: four rotations by multiples of 90 degrees, each mirrored or not."""

import numpy as np

from configs.stage0 import ORIENTATIONS
from digitization.geometry.projective import map_points

MIRRORED = ORIENTATIONS // 2  # first class of the mirrored orientations: flipped up-down, then rotated
Shape = tuple[int, ...]  # (height, width) first


def apply_orientation(image: np.ndarray, orientation: int) -> np.ndarray:
    """An upright (H, W, ...) image in one of the 8 orientations; contiguous."""
    flipped = image[::-1] if orientation >= MIRRORED else image
    return np.ascontiguousarray(np.rot90(flipped, orientation % MIRRORED))


def undo_orientation(image: np.ndarray, orientation: int) -> np.ndarray:
    """The upright image (H, W, ...) of one in the given orientation: the inverse of apply_orientation."""
    image = np.rot90(image, -(orientation % MIRRORED))
    return np.ascontiguousarray(image[::-1] if orientation >= MIRRORED else image)


def orientation_matrix(orientation: int, upright_shape: Shape) -> np.ndarray:
    """The matrix (3, 3) float64 from px of an upright (height, width) image to px of the oriented image.

    Raises ValueError for an orientation outside 0..7.
    """
    if not 0 <= orientation < ORIENTATIONS:
        raise ValueError(f"orientation {orientation}: must be from 0 to {ORIENTATIONS - 1}")
    height, width = upright_shape[:2]
    matrix = np.eye(3)
    if orientation >= MIRRORED:
        matrix = np.array([[1.0, 0, 0], [0, -1, height - 1], [0, 0, 1]])
    for _ in range(orientation % MIRRORED):
        matrix = np.array([[0.0, 1, 0], [-1, 0, width - 1], [0, 0, 1]]) @ matrix
        height, width = width, height
    return matrix


def orient_points(points: np.ndarray, orientation: int, upright_shape: Shape) -> np.ndarray:
    """Points (..., 2) from px of an upright (height, width) image to px of the oriented one; float32."""
    return map_points(points, orientation_matrix(orientation, upright_shape)).astype(np.float32)


def points_to_upright(points: np.ndarray, orientation: int, oriented_shape: Shape) -> np.ndarray:
    """The inverse of orient_points, given the (height, width) of the oriented image."""
    matrix = orientation_matrix(orientation, shape_of_upright(orientation, oriented_shape))
    return map_points(points, np.linalg.inv(matrix)).astype(np.float32)


def shape_of_upright(orientation: int, oriented_shape: Shape) -> Shape:
    """The (height, width) of the upright image, given that of the oriented one."""
    height, width = oriented_shape[:2]
    return (width, height) if orientation % 2 else (height, width)


def flipped_class(orientation: int, left_right: bool, up_down: bool) -> int:
    """The orientation class of an image after it is flipped."""
    mirrored, quarter_turns = divmod(orientation, MIRRORED)
    if up_down:  # flipud(rot90(x, k)) == rot90(flipud(x), -k)
        mirrored, quarter_turns = 1 - mirrored, -quarter_turns
    if left_right:  # fliplr(x) == rot90(flipud(x), 2)
        mirrored, quarter_turns = 1 - mirrored, 2 - quarter_turns
    return mirrored * MIRRORED + quarter_turns % MIRRORED


def mirrored_class(orientation: int) -> int:
    """The class that, once undone, leaves a page upright but mirrored left-right if it has `orientation`."""
    sideways = orientation % 2 == 1  # then the page's left and right are the image's top and bottom
    return flipped_class(orientation, left_right=not sideways, up_down=sideways)
