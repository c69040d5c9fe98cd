"""Where the page may lie in an image of any orientation: stage 0 on the image turned, and on parts of it."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np
import torch

from configs.page import LEAD_MARKER_POINTS
from configs.stage0 import ORIENTATIONS
from configs.stage1 import reference_points
from digitization.geometry.keypoints import (
    find_markers,
    find_names_near,
    prepare_input,
    run_stage0,
    stage0_config,
)
from digitization.geometry.locate import (
    PageFound,
    PageNotFound,
    guess_page,
    locate_page,
)
from digitization.geometry.orientation import (
    MIRRORED,
    Shape,
    mirrored_class,
    turn_matrix,
    unturn,
    unturned_shape,
)
from digitization.geometry.projective import map_points

SURE_EVIDENCE = 14.0  # sum of the names' confidences and HEAD_EVIDENCE, 16 at most, that ends the search;
# a mirrored page read as if it were not comes to 12.5
LIKELY_EVIDENCE = (
    10.0  # from which on only the mirrored reading is a rival: of drawn pages in all other wrong
)
# turns none came above 7.3, while the same page mirrored comes to 12.5
HEAD_EVIDENCE = 3.0  # what the orientation head, when sure, weighs against them
TURNS_TRIED = 3  # of a doubtful image
MIRRORED_LEAD = 2.5  # evidence by which a mirrored page, which hardly anybody takes, must be ahead of others
WINDOW_SHARE = 0.55  # of the image's sides; a page of a third of them lies in one of nine such windows whole
WINDOWS_TRIED = 2
MIN_WINDOW = 200  # px, of a window's shorter side


def read_names(
    upright: np.ndarray, net: torch.nn.Module, device: torch.device | str
) -> tuple[float, PageFound | PageNotFound, np.ndarray]:
    """Stage 0 on an (H, W, 3) uint8 image taken as upright: evidence for its page, the page, (8,) turns.

    Evidence is the sum of the names' confidences and what the head says; where the names do not lie as on an
    upright page it is 0, and the reason stands in the page's place.
    """
    config = stage0_config(net)
    prepared = prepare_input(upright, config)
    marker, turns = run_stage0(net, prepared.tensor, torch.device(device))
    stride = prepared.tensor.shape[-1] / marker.shape[-1]
    points, confidence = find_markers(marker, stride, radius=2 * config.marker_radius)
    try:
        try:
            page = locate_page(prepared.to_image(points), confidence, upright.shape)
        except PageNotFound as error:
            page = guess_page(prepared.to_image(points), confidence, error)
        evidence = float(page.confidence.sum() + HEAD_EVIDENCE * turns[0])
        reference = map_points(reference_points(LEAD_MARKER_POINTS), np.linalg.inv(page.homography))
        expected = (reference + 0.5) * prepared.scale - 0.5
        points, confidence, letters = find_names_near(marker, expected, stride, 2 * config.marker_radius)
        page = locate_page(prepared.to_image(points), confidence, upright.shape, letters)
        return evidence, page, turns
    except PageNotFound as error:
        return 0.0, error, turns


def try_turns(
    image: np.ndarray, net: torch.nn.Module, device: torch.device | str, every: bool
) -> tuple[list[tuple[float, PageFound]], PageNotFound]:
    """The image read as it is, then turned as the head says, then in `every` other way, until one is sure.

    Once a turn is likely, only its mirror image is tried beside it.
    Returns the pages found with their evidence, the likeliest first, and why there is none as the image is.
    Without mirrored ones that hardly fit better than a page that is not mirrored: names that lie in mirrored
    places are found where these are expected, however they are written.
    """
    found, reason, claimed = [], PageNotFound("no lead names found"), 0
    tried: set[int] = set()
    left = set(range(ORIENTATIONS))
    while left:
        orientation = claimed if claimed in left else min(left)
        evidence, page, turns = read_names(unturn(image, orientation), net, device)
        if not tried:
            claimed = int(turns.argmax())
        tried.add(orientation)
        left.discard(orientation)
        if isinstance(page, PageNotFound):
            reason = page if orientation == 0 else reason
        else:
            found.append((evidence, replace(page, orientation=orientation)))
            if evidence >= SURE_EVIDENCE:
                break
            if evidence >= LIKELY_EVIDENCE:
                left &= {mirrored_class(orientation)}
        if not every and {0, claimed} <= tried:
            break
    plain = max((evidence for evidence, page in found if page.orientation < MIRRORED), default=-np.inf)
    likely = [each for each in found if each[1].orientation < MIRRORED or each[0] > plain + MIRRORED_LEAD]
    return sorted(likely, key=lambda each: -each[0]), reason


def find_pages(
    image: np.ndarray, net: torch.nn.Module, device: torch.device | str = "cpu"
) -> Iterator[PageFound]:
    """Where the page may lie in an (H, W, 3) uint8 RGB image of any orientation, the likeliest first.

    Names are read upright, in the whole image, turned until they leave no doubt: then that page comes first.
    A page too small for its names to be read is looked for in windows of the image, once the caller asks for
    more pages than the whole image shows. Raises PageNotFound, with the reason for the image as it is, when
    there is none.
    """
    quick = stage0_config(net).flips  # four images for each look: its word on the turn is taken, and one look
    found, reason = try_turns(image, net, device, every=not quick)
    for _, page in found[:TURNS_TRIED]:
        yield page
    some = bool(found)
    zoomed = []
    for left, top, width, height in () if quick else windows(image.shape):
        if min(width, height) < MIN_WINDOW:
            continue
        window = np.ascontiguousarray(image[top : top + height, left : left + width])
        for evidence, page in try_turns(window, net, device, every=False)[0][:1]:
            zoomed.append((evidence, move_page(page, (left, top), window.shape, image.shape)))
        if zoomed and zoomed[-1][0] >= SURE_EVIDENCE:
            break
    for _, page in sorted(zoomed, key=lambda each: -each[0])[:WINDOWS_TRIED]:
        some = True
        yield page
    if not some:
        raise reason


def windows(shape: Shape) -> list[tuple[int, int, int, int]]:
    """Overlapping parts (left, top, width, height) of an image of some shape, from the middle outwards."""
    height, width = (round(side * WINDOW_SHARE) for side in shape[:2])
    free = np.array([shape[1] - width, shape[0] - height])
    places = sorted(product((0.5, 0.0, 1.0), repeat=2), key=lambda place: abs(np.array(place) - 0.5).sum())
    return [(*np.round(free * place).astype(int).tolist(), width, height) for place in places]


def move_page(page: PageFound, corner: tuple[int, int], window: Shape, shape: Shape) -> PageFound:
    """A page found in a window of an image, its left top at `corner` (x, y) px, as a page of the image."""
    shift = np.array([[1.0, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1]])
    turned = unturned_shape(page.orientation, window), unturned_shape(page.orientation, shape)
    within, whole = (turn_matrix(page.orientation, each) for each in turned)
    into = np.linalg.inv(whole) @ shift @ within  # px of the unturned window to px of the unturned image
    points = map_points(page.points, into).astype(np.float32)
    return replace(page, points=points, homography=page.homography @ np.linalg.inv(into))


def find_page(image: np.ndarray, net: torch.nn.Module, device: torch.device | str = "cpu") -> PageFound:
    """The likeliest of find_pages."""
    return next(find_pages(image, net, device))
