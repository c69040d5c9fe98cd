"""Scan or photograph a page: the image of one of the competition's types, and where the grid is in it."""

from dataclasses import dataclass

import numpy as np

from configs.page import FLAT_TYPES, IMAGE_TYPES, LEAD_LABEL_POINTS
from configs.stage0 import ORIENTATIONS
from digitization.geometry.orientation import MIRRORED, apply_orientation, orient_points
from digitization.geometry.slip import Slip
from synthesis.page import Page
from synthesis.photo import photograph
from synthesis.pose import Pose
from synthesis.scanner import scan
from synthesis.slip import draw_feed, lost_slices

UPRIGHT_SHARE, MIRRORED_SHARE = 0.7, 0.01  # shares of all captures; the others are rotated by quarter turns


@dataclass(frozen=True)
class Capture:
    """An image (H, W, 3) uint8 RGB of a page, and its labels in px of that image.

    gridpoint_xy (44, 57, 2) and leadpoint_xy (13, 2) are float32 (x, y); points may lie outside the image.
    orientation: 0..7, the rotation and mirroring of the image, see configs/stage0.py.
    slip: the slices of paper that a sheet-fed scanner skipped; None if its feed was steady.
    """

    image: np.ndarray
    gridpoint_xy: np.ndarray
    leadpoint_xy: np.ndarray
    orientation: int
    slip: Slip | None = None


def capture(
    page: Page,
    image_type: str,
    rng: np.random.Generator,
    orientation: int | None = None,
    pose: Pose | None = None,
    second_sheet: bool | None = None,
    slips: bool | None = None,
) -> Capture:
    """Capture the page as one of IMAGE_TYPES. Arguments that are None are drawn at random.

    orientation: 0..7, the rotation and mirroring of the image, see configs/stage0.py.
    pose: the camera of a photo.
    second_sheet: whether a photo of paper shows another ECG beside or under the page.
    slips: whether the feed of a scanner slips; it changes nothing else about the capture.
    Raises ValueError for an unknown type, and for a pose of a type that is not a photo.
    """
    if image_type not in IMAGE_TYPES:
        raise ValueError(f"image type {image_type!r} is not one of {', '.join(IMAGE_TYPES)}")
    if pose and image_type in FLAT_TYPES:
        raise ValueError(f"image type {image_type} is not a photo and takes no pose")
    slip = None
    if image_type == "0001":
        image, gridpoint_xy = page.image, page.gridpoint_xy
    else:
        if image_type in FLAT_TYPES:
            feed = draw_feed(rng, slips)
            image, warp = scan(page, image_type, rng, feed)
            slip = lost_slices(feed, warp, page) if feed else None
        else:
            image, warp = photograph(page, image_type, rng, pose, second_sheet)
        gridpoint_xy = warp.to_capture(page.gridpoint_xy)
    orientation = choose_orientation(rng) if orientation is None else orientation
    gridpoint_xy = orient_points(gridpoint_xy, orientation, image.shape)
    return Capture(
        apply_orientation(image, orientation), gridpoint_xy, label_keypoints(gridpoint_xy), orientation, slip
    )


def label_keypoints(gridpoint_xy: np.ndarray) -> np.ndarray:
    """The keypoints (13, 2) of the thirteen lead labels: the grid points nearest to them, of (44, 57, 2)."""
    return gridpoint_xy[tuple(np.transpose(LEAD_LABEL_POINTS))]


def choose_orientation(rng: np.random.Generator) -> int:
    if rng.random() < UPRIGHT_SHARE:
        return 0
    if rng.random() < MIRRORED_SHARE / (1 - UPRIGHT_SHARE):
        return int(rng.integers(MIRRORED, ORIENTATIONS))
    return int(rng.integers(MIRRORED))
