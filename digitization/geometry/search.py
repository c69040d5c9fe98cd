"""Where the page may lie in an image of any orientation: stage 0 on the image turned, and on parts of it."""

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
CERTAIN_EVIDENCE = 14.0  # evidence that ends the search; a mirrored page read as if it were not comes to 12.5
# Evidence from which on only the mirrored reading is a rival: drawn pages in all other wrong orientations
# came to 7.3 at most, the same pages mirrored to 12.5.
LIKELY_EVIDENCE = 10.0
MIRRORED_LEAD = 2.5  # evidence by which a mirrored page, which hardly anybody takes, must be ahead of others
MAX_IMAGE_PAGES = 3  # pages of the whole image, in different orientations, that stage 1 is shown at most
MAX_WINDOW_PAGES = 2  # pages found in windows of the image that stage 1 is shown at most
WINDOW_SHARE = 0.55  # of the image's sides; a page of a third of them lies in one of nine such windows whole
MIN_WINDOW = 200  # px, shorter side of a window below which lead labels cannot be read


@dataclass(frozen=True)
class Candidate:
    """What stage 0 makes of an image whose orientation was undone: a page, or the reason why there is none.

    orientation: 0..7, the one that was undone.
    evidence: 0..16, how much speaks for the page; 0 without one.
    page: None where the keypoints do not lie as on an upright page; `reason` says then why not.
    head: 0..7, the orientation that the network's head sees in the image as it was shown.
    """

    orientation: int
    evidence: float
    page: PageLocation | None
    reason: str
    head: int


def read_view(upright: np.ndarray, net: torch.nn.Module, device: torch.device | str) -> Candidate:
    """Stage 0 on an (H, W, 3) uint8 image that is taken for upright, orientation 0."""
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
    """`locate_page`, and where that finds none `guess_page`; raises the PageNotFound of the former."""
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
    """The image read as it is, then as the head says, then in `every` other way, until one is certain.

    Once an orientation is likely, only its mirror image is tried beside it. The candidates come in the order
    of trying: the first is the image as it is.
    """
    candidates: list[Candidate] = []
    left = set(range(ORIENTATIONS))
    head = 0
    while left:
        orientation = head if head in left else min(left)
        candidate = read_view(undo_orientation(image, orientation), net, device)
        page = candidate.page and replace(candidate.page, orientation=orientation)
        candidate = replace(candidate, orientation=orientation, page=page)
        if not candidates:
            head = candidate.head
        candidates.append(candidate)
        left.discard(orientation)
        if candidate.evidence >= CERTAIN_EVIDENCE:
            break
        if candidate.evidence >= LIKELY_EVIDENCE:
            left &= {mirrored_class(orientation)}
        if not every and {0, head} <= {each.orientation for each in candidates}:
            break
    return candidates


def rank_pages(candidates: list[Candidate]) -> list[Candidate]:
    """The candidates that have a page, the likeliest first.

    Without mirrored ones that hardly fit better than a page that is not mirrored: labels in mirrored places
    are found where these are expected, whatever letters they have.
    """
    found = [candidate for candidate in candidates if candidate.page]
    plain = max((each.evidence for each in found if each.orientation < MIRRORED), default=-np.inf)
    likely = [e for e in found if e.orientation < MIRRORED or e.evidence > plain + MIRRORED_LEAD]
    return sorted(likely, key=lambda candidate: -candidate.evidence)


def search_windows(image: np.ndarray, net: torch.nn.Module, device: torch.device | str) -> list[PageLocation]:
    """Pages found in windows of the image, the likeliest first: they are too small in the whole of it."""
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

    Labels are read upright, in the whole image, whose orientations are tried until one leaves no doubt: that
    page comes first. A page too small for its labels to be read is looked for in windows of the image, once
    the caller asks for more pages than the whole image shows. Networks that average over flips see four
    images each time: with them only the head's orientation is tried, and no windows.
    Raises PageNotFound, with the reason for the image as it is, when there is none.
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
    """Overlapping parts (left, top, width, height) of an image of some shape, from the middle outwards."""
    height, width = (round(side * WINDOW_SHARE) for side in shape[:2])
    free = np.array([shape[1] - width, shape[0] - height])
    shares = sorted(product((0.5, 0.0, 1.0), repeat=2), key=lambda share: abs(np.array(share) - 0.5).sum())
    return [(*np.round(free * share).astype(int).tolist(), width, height) for share in shares]


def move_page(page: PageLocation, corner: tuple[int, int], window: Shape, shape: Shape) -> PageLocation:
    """A page found in a window of an image, its left top at `corner` (x, y) px, as a page of the image."""
    shift = np.array([[1.0, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1]])
    shapes = shape_of_upright(page.orientation, window), shape_of_upright(page.orientation, shape)
    within, whole = (orientation_matrix(page.orientation, each) for each in shapes)
    into = np.linalg.inv(whole) @ shift @ within  # px of the upright window to px of the upright image
    keypoints = map_points(page.keypoints, into).astype(np.float32)
    return replace(page, keypoints=keypoints, homography=page.homography @ np.linalg.inv(into))


def find_page(image: np.ndarray, net: torch.nn.Module, device: torch.device | str = "cpu") -> PageLocation:
    """The likeliest of find_pages."""
    return next(find_pages(image, net, device))
