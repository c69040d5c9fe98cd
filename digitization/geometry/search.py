"""The page searched for in an image of any orientation: stage 0 on each orientation and on windows of it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import numpy as np
import torch

from configs.page import LEAD_LABEL_POINTS
from configs.stage0 import ORIENTATIONS
from configs.stage1 import reference_points
from digitization.geometry.keypoints import (
    find_keypoints,
    find_keypoints_near,
    prepare_input,
    run_stage0,
    stage0_config,
)
from digitization.geometry.locate import PageLocation, PageNotFound, guess_page, locate_page
from digitization.geometry.orientation import (
    MIRRORED,
    Shape,
    mirrored_class,
    orientation_matrix,
    shape_of_upright,
    undo_orientation,
)
from digitization.geometry.projective import map_points

# Evidence for a page is the sum of the objectness of its 13 keypoints and the orientation head's probability
# times this weight, 16 at most.
HEAD_EVIDENCE = 3.0
CERTAIN_EVIDENCE = 14.0  # evidence that ends the search; a mirrored page taken for unmirrored has up to 12.5
# Evidence from which on only the mirrored orientation is an alternative: drawn pages in all other wrong
# orientations had 7.3 at most, the same pages mirrored 12.5.
LIKELY_EVIDENCE = 10.0
MIRRORED_MARGIN = 2.5  # evidence that a mirrored page, a rare case, needs beyond that of any unmirrored one
MAX_IMAGE_PAGES = 3  # greatest number of orientations of the whole image whose page is passed to stage 1
MAX_WINDOW_PAGES = 2  # greatest number of pages found in windows of the image passed to stage 1
WINDOW_SHARE = 0.55  # side of a window over the image's; a page of a third lies wholly in one of nine windows
MIN_WINDOW = 200  # px, shorter side of a window below which lead labels cannot be read


@dataclass(frozen=True)
class Candidate:
    """The result of stage 0 on an image with one orientation undone: a page, or the reason why there is none.

    orientation: 0..7, the one that was undone.
    evidence: 0..16, the sum described at HEAD_EVIDENCE; 0 without a page.
    page: None where the keypoints do not match an upright page; `reason` then says why.
    head: 0..7, the orientation that the network's head predicts for the image it was given.
    """

    orientation: int
    evidence: float
    page: PageLocation | None
    reason: str
    head: int


def read_view(upright: np.ndarray, net: torch.nn.Module, device: torch.device | str) -> Candidate:
    """Stage 0 on an (H, W, 3) uint8 RGB image that is assumed upright, orientation 0."""
    config = stage0_config(net)
    prepared = prepare_input(upright, config)
    label_map, orientations = run_stage0(net, prepared.tensor, torch.device(device))
    head = int(orientations.argmax())
    stride = prepared.tensor.shape[-1] / label_map.shape[-1]
    radius = 2 * config.keypoint_radius
    keypoints, objectness = find_keypoints(label_map, stride, radius)
    try:
        page = roughly_locate(prepared.rescaling.back(keypoints), objectness, upright.shape)
        evidence = float(page.objectness.sum() + HEAD_EVIDENCE * orientations[0])
        reference = map_points(reference_points(LEAD_LABEL_POINTS), np.linalg.inv(page.homography))
        expected = prepared.rescaling.points(reference)
        keypoints, objectness, class_probability = find_keypoints_near(label_map, expected, stride, radius)
        page = locate_page(prepared.rescaling.back(keypoints), objectness, upright.shape, class_probability)
    except PageNotFound as error:
        return Candidate(0, 0.0, None, str(error), head)
    return Candidate(0, evidence, page, "", head)


def roughly_locate(keypoints: np.ndarray, objectness: np.ndarray, shape: Shape) -> PageLocation:
    """`locate_page`, with `guess_page` as a fallback; if both fail, raises the former's PageNotFound."""
    try:
        return locate_page(keypoints, objectness, shape)
    except PageNotFound:
        guess = guess_page(keypoints, objectness)
        if guess is None:
            raise
        return guess


def try_orientations(
    image: np.ndarray, net: torch.nn.Module, device: torch.device | str, every: bool
) -> list[Candidate]:
    """Stage 0 on orientations of the image until one has CERTAIN_EVIDENCE: candidates in the order of trying.

    The first is the image as it is, the second the orientation that the head predicts for it, and the others
    follow if `every`. Once one has LIKELY_EVIDENCE only its mirror image is tried further.
    """
    candidates: list[Candidate] = []
    remaining = set(range(ORIENTATIONS))
    head = 0
    while remaining:
        orientation = head if head in remaining else min(remaining)
        candidate = read_view(undo_orientation(image, orientation), net, device)
        page = candidate.page and replace(candidate.page, orientation=orientation)
        candidate = replace(candidate, orientation=orientation, page=page)
        if not candidates:
            head = candidate.head
        candidates.append(candidate)
        remaining.discard(orientation)
        if candidate.evidence >= CERTAIN_EVIDENCE:
            break
        if candidate.evidence >= LIKELY_EVIDENCE:
            remaining &= {mirrored_class(orientation)}
        if not every and {0, head} <= {each.orientation for each in candidates}:
            break
    return candidates


def rank_pages(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates that have a page, the likeliest first.

    Mirrored ones are left out unless they exceed the best unmirrored one by MIRRORED_MARGIN, because
    find_keypoints_near finds labels at mirrored positions whatever their text.
    """
    found = [candidate for candidate in candidates if candidate.page]
    unmirrored = max((each.evidence for each in found if each.orientation < MIRRORED), default=-np.inf)
    likely = [e for e in found if e.orientation < MIRRORED or e.evidence > unmirrored + MIRRORED_MARGIN]
    return sorted(likely, key=lambda candidate: -candidate.evidence)


def search_windows(image: np.ndarray, net: torch.nn.Module, device: torch.device | str) -> list[PageLocation]:
    """Pages too small to be found in the whole image, found in windows of it, the likeliest first."""
    found: list[tuple[float, PageLocation]] = []
    for left, top, width, height in windows(image.shape):
        if min(width, height) < MIN_WINDOW:
            continue
        window = np.ascontiguousarray(image[top : top + height, left : left + width])
        for candidate in rank_pages(try_orientations(window, net, device, every=False))[:1]:
            assert candidate.page
            page = move_page(candidate.page, (left, top), window.shape, image.shape)
            found.append((candidate.evidence, page))
        if found and found[-1][0] >= CERTAIN_EVIDENCE:
            break
    return [page for _, page in sorted(found, key=lambda each: -each[0])]


def find_pages(
    image: np.ndarray, net: torch.nn.Module, device: torch.device | str = "cpu"
) -> Iterator[PageLocation]:
    """Where the page may lie in an (H, W, 3) uint8 RGB image of any orientation, the likeliest first.

    Orientations of the whole image are tried first (try_orientations). Pages too small for their labels to be
    recognized are searched for in windows of the image, once the caller asks for more pages than the whole
    image gives. With networks that average over four flips only the image as it is and the orientation of the
    head are tried, and no windows.
    Raises PageNotFound, with the reason for the image as it is, if there is no page.
    """
    thorough = not stage0_config(net).flips
    candidates = try_orientations(image, net, device, every=thorough)
    pages = [each.page for each in rank_pages(candidates)[:MAX_IMAGE_PAGES] if each.page]
    yield from pages
    small = search_windows(image, net, device)[:MAX_WINDOW_PAGES] if thorough else []
    yield from small
    if not pages and not small:
        raise PageNotFound(candidates[0].reason)


def windows(shape: Shape) -> list[tuple[int, int, int, int]]:
    """Overlapping windows (left, top, width, height) px of an image of a shape, from the middle outwards."""
    height, width = (round(side * WINDOW_SHARE) for side in shape[:2])
    free = np.array([shape[1] - width, shape[0] - height])
    shares = sorted(product((0.5, 0.0, 1.0), repeat=2), key=lambda share: abs(np.array(share) - 0.5).sum())
    return [(*np.round(free * share).astype(int).tolist(), width, height) for share in shares]


def move_page(page: PageLocation, corner: tuple[int, int], window: Shape, shape: Shape) -> PageLocation:
    """A page found in a window of an image, its top left at `corner` (x, y) px, as a page of the image.

    `window` and `shape` are the (height, width) of the window and of the image.
    """
    shift = np.array([[1.0, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1]])
    shapes = shape_of_upright(page.orientation, window), shape_of_upright(page.orientation, shape)
    within, whole = (orientation_matrix(page.orientation, each) for each in shapes)
    into = np.linalg.inv(whole) @ shift @ within  # px of the upright window to px of the upright image
    keypoints = map_points(page.keypoints, into).astype(np.float32)
    return replace(page, keypoints=keypoints, homography=page.homography @ np.linalg.inv(into))


def find_page(image: np.ndarray, net: torch.nn.Module, device: torch.device | str = "cpu") -> PageLocation:
    """The likeliest page of find_pages; raises PageNotFound if there is none."""
    return next(find_pages(image, net, device))
