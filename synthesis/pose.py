"""The camera's view of a page."""

from dataclasses import dataclass

import cv2
import numpy as np

from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH
from synthesis.warp import Warp, project

CORNERS = np.array([[0, 0], [PAGE_WIDTH, 0], [PAGE_WIDTH, PAGE_HEIGHT], [0, PAGE_HEIGHT]]) - 0.5
PAGE_SHARE = (0.5, 1.08)  # range of the square of Pose.share
# Range of Pose.share in competition-style photos of paper, its margins excluded.
FRONTAL_PAGE_SHARE = (0.76, 0.93)
SCREEN_PAGE_SHARE = (0.9, 1.02)  # the same in photos of screens
PHOTO_LONG_SIDES = (1344, 2048, 2592, 3264, 4032)  # long sides of photos, px; the aspect ratio is 4:3
PHOTO_LONG_SIDE_SHARES = (0.12, 0.2, 0.28, 0.2, 0.2)  # their probabilities


@dataclass(frozen=True)
class Pose:
    """The camera's view of the page.

    size: (width, height) of the photo in px.
    yaw, pitch, roll: rotation of the page away from a frontal view, rad; roll is clockwise.
    distance: of the camera from the page, in page widths; perspective is stronger at smaller distances.
    share: of the photo's side that the page takes, along the side that it fills first; above 1 it is cut off.
    place: (x, y) in 0..1, position of the page in the photo: 0 at the left or top, 0.5 centred.
    """

    size: tuple[int, int]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    distance: float = 1.8
    share: float = 0.9
    place: tuple[float, float] = (0.5, 0.5)

    def homography(self) -> np.ndarray:
        """(3, 3) float64, page px to photo px."""
        rotated = rotation(self.roll, 2) @ rotation(self.pitch, 0) @ rotation(self.yaw, 1)
        centre = np.array([[1, 0, -PAGE_WIDTH / 2], [0, 1, -PAGE_HEIGHT / 2], [0, 0, 1]])
        plane = np.column_stack([rotated[:, 0], rotated[:, 1], [0, 0, self.distance * PAGE_WIDTH]])
        view = plane @ centre
        corners = project(view, CORNERS)
        low, high = corners.min(axis=0), corners.max(axis=0)
        frame = np.array(self.size)
        scale = (frame / (high - low)).min() * self.share
        shift = (frame - scale * (high - low)) * self.place - scale * low
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]]) @ view


def photo_size(on_screen: bool, rng: np.random.Generator, upright_share: float = 0.25) -> tuple[int, int]:
    """A random (width, height) px of a phone's photo, in portrait format with probability `upright_share`."""
    long_side = int(rng.choice(PHOTO_LONG_SIDES, p=PHOTO_LONG_SIDE_SHARES))
    if on_screen and long_side == 4032:
        long_side = 4000
    size = (long_side, long_side * 3 // 4)
    return size[::-1] if rng.random() < upright_share else size


def draw_pose(size: tuple[int, int], rng: np.random.Generator) -> Pose:
    """A handheld view of the page: yaw and pitch up to 20 degrees, roll up to 10."""
    yaw, pitch = np.deg2rad(rng.uniform(-20, 20, 2) * rng.uniform(0, 1))
    roll = np.deg2rad(np.clip(rng.normal(0, 3), -10, 10))
    distance = rng.uniform(1.1, 2.5)
    share = rng.uniform(*PAGE_SHARE) ** 0.5
    return Pose(size, yaw, pitch, roll, distance, share, tuple(rng.normal(0.5, 0.17, 2).clip(0.1, 0.9)))


def draw_frontal_pose(size: tuple[int, int], on_screen: bool, rng: np.random.Generator) -> Pose:
    """A view as in the competition's photos: nearly frontal, with the page almost as wide as the photo."""
    yaw, pitch = np.deg2rad(rng.normal(0, 4, 2).clip(-10, 10))
    roll = np.deg2rad(rng.normal(0, 1.5))
    share = rng.uniform(*(SCREEN_PAGE_SHARE if on_screen else FRONTAL_PAGE_SHARE))
    return Pose(
        size, yaw, pitch, roll, rng.uniform(1.2, 2.2), share, tuple(rng.normal(0.5, 0.12, 2).clip(0, 1))
    )


def rotation(angle: float, axis: int) -> np.ndarray:
    """The (3, 3) rotation by `angle` rad about the x, y or z axis (0, 1, 2)."""
    vector = np.zeros(3)
    vector[axis] = angle
    return cv2.Rodrigues(vector)[0]


def photo_scale(warp: Warp) -> float:
    """Photo px per page px at the middle of the page."""
    middle = np.array([PAGE_WIDTH / 2, PAGE_HEIGHT / 2])
    ends = warp.to_capture(np.array([middle - (50, 0), middle + (50, 0)]))
    return float(np.linalg.norm(ends[1] - ends[0]) / 100)
