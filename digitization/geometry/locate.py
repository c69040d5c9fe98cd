"""The page located from lead-label keypoints: the homography that maps them to the page layout."""

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from configs.page import GRID_COLUMNS, GRID_ROWS, LEAD_LABEL_POINTS, LEAD_LABELS
from configs.stage1 import FRAME_PX_PER_SQUARE, reference_points
from digitization.geometry.orientation import Shape
from digitization.geometry.projective import map_points

INLIER_SQUARES = 1.0  # squares, greatest error of an inlier: paper curls, but wrong labels are 7 squares off
MIN_POINTS = 4  # number of keypoints that a homography needs
GUESS_SQUARES = 1.5  # squares, greatest error of an inlier of a guess without perspective
MIN_SPREAD_SQUARES = 2.0  # squares, standard deviation of the keypoints along their short axis
MAX_RESIDUAL_SQUARES = 0.6  # squares, median reprojection error of the inliers
MIN_ASPECT = 0.7  # least ratio of a square's sides in the image: that of a page tilted by 45 degrees
MAX_CONDITION = 1e12  # greatest condition number of a homography; those of pages stay below 1e8
MIN_PAGE_SHARE = 0.02  # least share of the image's area that the page covers


class PageNotFound(ValueError):
    """No page can be located in the image; the message says why."""


@dataclass(frozen=True)
class PageLocation:
    """Where the page is. The upright image is the image with its orientation undone.

    orientation: 0..7, image == apply_orientation(upright, orientation).
    keypoints: (13, 2) float32 px of the upright image, in the order of LEAD_LABELS, NaN where not found.
    objectness: (13,) float32 in 0..1, probability that a lead label of any kind is there; 0 where not found.
    homography: (3, 3) float64, px of the upright image to px of the stage-1 frame.
    class_probability: (13,) float32 in 0..1, probability that it is this lead's label; 0 where not found.
    """

    orientation: int
    keypoints: np.ndarray
    objectness: np.ndarray
    homography: np.ndarray
    class_probability: np.ndarray


def fit_homography(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The homography (3, 3) of keypoints (13, 2) px, NaN where unknown, to the stage-1 frame, and inliers.

    The inliers are (13,) bool. The homography may rotate and mirror. Raises PageNotFound when there are too
    few keypoints, or they lie on a line, or they do not match the layout.
    """
    known = np.flatnonzero(np.isfinite(keypoints).all(axis=1))
    if len(known) < MIN_POINTS:
        raise PageNotFound(f"only {len(known)} of {len(LEAD_LABELS)} lead labels found, {MIN_POINTS} needed")
    source = keypoints[known].astype(np.float64)
    target = reference_points(np.array(LEAD_LABEL_POINTS)[known])
    threshold = INLIER_SQUARES * FRAME_PX_PER_SQUARE
    homography, mask = cv2.findHomography(source, target, cv2.RANSAC, threshold, maxIters=4000)
    if homography is None or mask.sum() < MIN_POINTS:
        raise PageNotFound(f"the {len(known)} lead labels found are not placed as on a page")
    agree = mask[:, 0].astype(bool)
    homography, _ = cv2.findHomography(source[agree], target[agree], 0)
    spread = np.linalg.svd(target[agree] - target[agree].mean(axis=0), compute_uv=False)[1]
    if homography is None or spread / np.sqrt(agree.sum()) < MIN_SPREAD_SQUARES * FRAME_PX_PER_SQUARE:
        raise PageNotFound(f"the {agree.sum()} lead labels found lie on a line")
    residual = np.linalg.norm(map_points(source[agree], homography) - target[agree], axis=1)
    if np.median(residual) > MAX_RESIDUAL_SQUARES * FRAME_PX_PER_SQUARE:
        squares = np.median(residual) / FRAME_PX_PER_SQUARE
        raise PageNotFound(f"the lead labels are {squares:.1f} squares away from their places on a page")
    inliers = np.zeros(len(keypoints), bool)
    inliers[known[agree]] = True
    return homography, inliers


def check_page(homography: np.ndarray, shape: Shape) -> None:
    """Raise PageNotFound unless the page is a convex, unmirrored, large enough quadrilateral in the image.

    homography (3, 3): px of the image, of a `shape` (height, width), to px of the stage-1 frame.
    """
    corners = [(0, 0), (0, GRID_COLUMNS - 1), (GRID_ROWS - 1, GRID_COLUMNS - 1), (GRID_ROWS - 1, 0)]
    reference = reference_points(np.array(corners))
    if not np.isfinite(homography).all() or np.linalg.cond(homography) > MAX_CONDITION:
        raise PageNotFound("the lead labels lie on a line or a point")
    inverse = np.linalg.inv(homography)
    depth = reference @ inverse[2, :2] + inverse[2, 2]
    quad = map_points(reference, inverse)
    edges = np.roll(quad, -1, axis=0) - quad
    cross_products = edges[:, 0] * np.roll(edges[:, 1], -1) - edges[:, 1] * np.roll(edges[:, 0], -1)
    if (cross_products < 0).all():
        raise PageNotFound("the lead labels lie mirrored")
    if not (cross_products > 0).all() or depth.min() * depth.max() <= 0:
        raise PageNotFound("the lead labels do not give a convex page")
    across, down = (
        map_points(reference.mean(axis=0) + step, inverse) for step in np.eye(2) * FRAME_PX_PER_SQUARE
    )
    sides = np.linalg.svd(np.stack([across, down]) - map_points(reference.mean(axis=0), inverse))[1]
    if sides[1] < MIN_ASPECT * sides[0]:
        raise PageNotFound(f"the page would be squeezed to {sides[1] / sides[0]:.0%} of its shape")
    area = cv2.contourArea(quad.astype(np.float32)) / (shape[0] * shape[1])
    if area < MIN_PAGE_SHARE:
        raise PageNotFound(f"the page would cover only {area:.2%} of the image")


def locate_page(
    keypoints: np.ndarray, objectness: np.ndarray, shape: Shape, class_probability: np.ndarray | None = None
) -> PageLocation:
    """The page from keypoints (13, 2) in px of an upright (height, width) image, NaN where not found.

    objectness and class_probability (13,) are as in PageLocation; class_probability defaults to objectness.
    Raises PageNotFound when the keypoints do not match an upright page.
    """
    homography, inliers = fit_homography(keypoints)
    check_page(homography, shape)
    check_upright(homography, keypoints[inliers].mean(axis=0))
    kept = np.where(inliers[:, None], keypoints, np.nan).astype(np.float32)
    objectness, class_probability = (
        np.where(inliers, values, 0).astype(np.float32)
        for values in (objectness, objectness if class_probability is None else class_probability)
    )
    return PageLocation(0, kept, objectness, homography, class_probability)


def guess_page(keypoints: np.ndarray, objectness: np.ndarray) -> PageLocation | None:
    """A first guess where many of the keypoints (13, 2) are wrong: a similarity transform, no perspective.

    Each pair of keypoints gives a transform; the one with the highest total objectness (13,) of keypoints
    within GUESS_SQUARES wins and is fitted to these. None if they are fewer than MIN_POINTS.
    """
    known = np.flatnonzero(np.isfinite(keypoints).all(axis=1))
    source = keypoints[known].astype(np.float64) @ (1, 1j)
    target = reference_points(np.array(LEAD_LABEL_POINTS)[known]) @ (1, 1j)
    best, best_votes = np.zeros(len(known), bool), 0.0
    for i, j in combinations(range(len(known)), 2):
        if source[i] == source[j]:
            continue
        factor = (target[j] - target[i]) / (source[j] - source[i])
        if abs(np.angle(factor)) > np.pi / 4:
            continue
        near = abs(factor * (source - source[i]) + target[i] - target) < GUESS_SQUARES * FRAME_PX_PER_SQUARE
        votes = objectness[known[near]].sum()
        if votes > best_votes:
            best, best_votes = near, votes
    if best.sum() < MIN_POINTS:
        return None
    terms = np.stack([source[best], np.ones(best.sum())], axis=1)
    (factor, shift), *_ = np.linalg.lstsq(terms, target[best], rcond=None)
    rows = [(factor.real, -factor.imag, shift.real), (factor.imag, factor.real, shift.imag), (0, 0, 1)]
    inliers = np.zeros(len(keypoints), bool)
    inliers[known[best]] = True
    kept = np.where(inliers[:, None], keypoints, np.nan).astype(np.float32)
    kept_objectness = np.where(inliers, objectness, 0).astype(np.float32)
    return PageLocation(0, kept, kept_objectness, np.array(rows), kept_objectness)


def check_upright(homography: np.ndarray, centre: np.ndarray) -> None:
    """Raise PageNotFound when the page is rotated by more than 45 degrees at a point `centre` (2,) of it."""
    origin, right = map_points(centre + np.array([[0.0, 0.0], [1.0, 0.0]]), homography)
    across = right - origin
    if across[0] < abs(across[1]):
        raise PageNotFound("the lead labels lie rotated by more than 45 degrees")
