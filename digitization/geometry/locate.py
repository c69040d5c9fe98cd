"""Lead-label keypoints to the page: the homography that puts them where the layout has them."""

from dataclasses import dataclass
from itertools import combinations

import cv2
import numpy as np

from configs.page import GRID_COLUMNS, GRID_ROWS, LEAD_MARKER_POINTS, LEAD_MARKERS
from configs.stage1 import FRAME_PX_PER_SQUARE, reference_points
from digitization.geometry.orientation import Shape
from digitization.geometry.projective import map_points

INLIER_SQUARES = 1.0  # reprojection error of a lead name; paper curls, but wrong names lie 7 squares off
MIN_POINTS = 4  # of a homography
GUESS_SQUARES = 1.5  # error of a lead name under a guess without perspective
MIN_SPREAD_SQUARES = 2.0  # standard deviation of the points along their short axis
MAX_RESIDUAL_SQUARES = 0.6  # median over the inliers
MIN_ASPECT = 0.7  # of a square's sides in the image: a page tilted by 45 degrees
MAX_CONDITION = 1e12  # of a homography; those of pages stay below 1e8
MIN_PAGE_SHARE = 0.02  # of the image's area


class PageNotFound(ValueError):
    """No page can be located in the image; the message says why."""


@dataclass(frozen=True)
class PageFound:
    """Where the page is; "unturned" is the image with its orientation undone, the page upright in it.

    orientation: 0..7, image == turn(unturned, orientation).
    points: (13, 2) float32 px of the unturned image, in the order of LEAD_MARKERS, NaN where doubtful.
    confidence: (13,) float32 in 0..1, that some lead's name is there; 0 where doubtful.
    letters: (13,) float32 in 0..1, that it is this lead's; 0 where doubtful.
    homography: (3, 3) float64, px of the unturned image to px of the stage-1 frame.
    """

    orientation: int
    points: np.ndarray
    confidence: np.ndarray
    homography: np.ndarray
    letters: np.ndarray


def fit_homography(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lead names (13, 2) px, NaN where unknown, to the stage-1 frame: homography (3, 3), inliers (13,) bool.

    Raises PageNotFound when there are too few points, or they lie on a line, or they do not agree. The
    homography may turn and mirror.
    """
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    if len(known) < MIN_POINTS:
        raise PageNotFound(f"only {len(known)} of {len(LEAD_MARKERS)} lead names found, {MIN_POINTS} needed")
    source = points[known].astype(np.float64)
    target = reference_points(np.array(LEAD_MARKER_POINTS)[known])
    threshold = INLIER_SQUARES * FRAME_PX_PER_SQUARE
    homography, mask = cv2.findHomography(source, target, cv2.RANSAC, threshold, maxIters=4000)
    if homography is None or mask.sum() < MIN_POINTS:
        raise PageNotFound(f"the {len(known)} lead names found do not lie as on a page")
    agree = mask[:, 0].astype(bool)
    homography, _ = cv2.findHomography(source[agree], target[agree], 0)
    spread = np.linalg.svd(target[agree] - target[agree].mean(axis=0), compute_uv=False)[1]
    if homography is None or spread / np.sqrt(agree.sum()) < MIN_SPREAD_SQUARES * FRAME_PX_PER_SQUARE:
        raise PageNotFound(f"the {agree.sum()} lead names found lie on a line")
    residual = np.linalg.norm(map_points(source[agree], homography) - target[agree], axis=1)
    if np.median(residual) > MAX_RESIDUAL_SQUARES * FRAME_PX_PER_SQUARE:
        squares = np.median(residual) / FRAME_PX_PER_SQUARE
        raise PageNotFound(f"the lead names miss their places by {squares:.1f} squares")
    inliers = np.zeros(len(points), bool)
    inliers[known[agree]] = True
    return homography, inliers


def check_page(homography: np.ndarray, shape: Shape) -> None:
    """Raise PageNotFound unless the page is a plain, unmirrored quadrilateral of some size in the image."""
    corners = [(0, 0), (0, GRID_COLUMNS - 1), (GRID_ROWS - 1, GRID_COLUMNS - 1), (GRID_ROWS - 1, 0)]
    reference = reference_points(np.array(corners))
    if not np.isfinite(homography).all() or np.linalg.cond(homography) > MAX_CONDITION:
        raise PageNotFound("the lead names lie on a line or a point")
    inverse = np.linalg.inv(homography)
    depth = reference @ inverse[2, :2] + inverse[2, 2]
    quad = map_points(reference, inverse)
    edges = np.roll(quad, -1, axis=0) - quad
    turns = edges[:, 0] * np.roll(edges[:, 1], -1) - edges[:, 1] * np.roll(edges[:, 0], -1)
    if (turns < 0).all():
        raise PageNotFound("the lead names lie mirrored")
    if not (turns > 0).all() or depth.min() * depth.max() <= 0:
        raise PageNotFound("the lead names give no convex page")
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
    points: np.ndarray, confidence: np.ndarray, shape: Shape, letters: np.ndarray | None = None
) -> PageFound:
    """From lead names (13, 2) in px of an upright (height, width) image, NaN where doubtful, to the page.

    letters (13,) are as of PageFound, the confidence where they are not given. Raises PageNotFound when the
    names do not lie as on an upright page.
    """
    homography, inliers = fit_homography(points)
    check_page(homography, shape)
    check_upright(homography, points[inliers].mean(axis=0))
    kept = np.where(inliers[:, None], points, np.nan).astype(np.float32)
    confidence, letters = (
        np.where(inliers, values, 0).astype(np.float32)
        for values in (confidence, confidence if letters is None else letters)
    )
    return PageFound(0, kept, confidence, homography, letters)


def guess_page(points: np.ndarray, confidence: np.ndarray, error: PageNotFound) -> PageFound:
    """A first guess where many of the names (13, 2) are wrong: the page turned and scaled, nothing more.

    Each pair of names says where the page would lie; most confidence within GUESS_SQUARES wins. Raises
    `error`, the reason why nothing better was found, when fewer than MIN_POINTS names agree.
    """
    known = np.flatnonzero(np.isfinite(points).all(axis=1))
    source = points[known].astype(np.float64) @ (1, 1j)
    target = reference_points(np.array(LEAD_MARKER_POINTS)[known]) @ (1, 1j)
    best, best_votes = np.zeros(len(known), bool), 0.0
    for i, j in combinations(range(len(known)), 2):
        if source[i] == source[j]:
            continue
        factor = (target[j] - target[i]) / (source[j] - source[i])
        if abs(np.angle(factor)) > np.pi / 4:
            continue
        near = abs(factor * (source - source[i]) + target[i] - target) < GUESS_SQUARES * FRAME_PX_PER_SQUARE
        votes = confidence[known[near]].sum()
        if votes > best_votes:
            best, best_votes = near, votes
    if best.sum() < MIN_POINTS:
        raise error
    terms = np.stack([source[best], np.ones(best.sum())], axis=1)
    (factor, shift), *_ = np.linalg.lstsq(terms, target[best], rcond=None)
    rows = [(factor.real, -factor.imag, shift.real), (factor.imag, factor.real, shift.imag), (0, 0, 1)]
    inliers = np.zeros(len(points), bool)
    inliers[known[best]] = True
    kept = np.where(inliers[:, None], points, np.nan).astype(np.float32)
    confidence = np.where(inliers, confidence, 0).astype(np.float32)
    return PageFound(0, kept, confidence, np.array(rows), confidence)


def check_upright(homography: np.ndarray, centre: np.ndarray) -> None:
    """Raise PageNotFound when the page, at a point (2,) of it, is turned by more than 45 degrees."""
    origin, right = map_points(centre + np.array([[0.0, 0.0], [1.0, 0.0]]), homography)
    across = right - origin
    if across[0] < abs(across[1]):
        raise PageNotFound("the lead names lie turned")
