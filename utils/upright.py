"""Stage 0 decoded: which way the image is turned, and where the page's lead names are in it."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product

import cv2
import numpy as np
import torch

from configs.page import GRID_COLUMNS, GRID_ROWS, LEAD_MARKER_POINTS, LEAD_MARKERS
from configs.stage0 import ORIENTATIONS, Stage0Config
from configs.stage1 import FRAME_HEIGHT, FRAME_PX_PER_SQUARE, FRAME_WIDTH, reference_points

INPUT_MULTIPLE = 32  # px, of the sides of the network's input
MIN_CONFIDENCE = 0.3  # probability at a lead name's peak below which it is left out
INLIER_SQUARES = 1.0  # reprojection error of a lead name; paper curls, but wrong names lie 7 squares off
MIN_POINTS = 4  # of a homography
GUESS_SQUARES = 1.5  # error of a lead name under a guess without perspective
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
MIN_SPREAD_SQUARES = 2.0  # standard deviation of the points along their short axis
MAX_RESIDUAL_SQUARES = 0.6  # median over the inliers
MIN_ASPECT = 0.7  # of a square's sides in the image: a page tilted by 45 degrees
MAX_CONDITION = 1e12  # of a homography; those of pages stay below 1e8
MIN_PAGE_SHARE = 0.02  # of the image's area
MIRRORED = ORIENTATIONS // 2  # classes from here on are flipped up-down before they are turned

Shape = tuple[int, ...]  # (height, width) first


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


@dataclass(frozen=True)
class Stage0Input:
    """tensor (1, 3, H, W) float32 in 0..1, H and W multiples of 32; scale (2,) input px per image px."""

    tensor: torch.Tensor
    scale: np.ndarray

    def to_image(self, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) from px of the input to px of the image."""
        return (points + 0.5) / self.scale - 0.5


def turn(image: np.ndarray, orientation: int) -> np.ndarray:
    """An upright (H, W, ...) image in one of the 8 orientations; contiguous."""
    flipped = image[::-1] if orientation >= MIRRORED else image
    return np.ascontiguousarray(np.rot90(flipped, orientation % MIRRORED))


def unturn(image: np.ndarray, orientation: int) -> np.ndarray:
    """The upright image of one in the given orientation: the inverse of turn."""
    image = np.rot90(image, -(orientation % MIRRORED))
    return np.ascontiguousarray(image[::-1] if orientation >= MIRRORED else image)


def turn_matrix(orientation: int, upright_shape: Shape) -> np.ndarray:
    """(3, 3) float64, px of an upright (height, width) image to px of the turned one."""
    if not 0 <= orientation < ORIENTATIONS:
        raise ValueError(f"orientation: 0..{ORIENTATIONS - 1} wanted, not {orientation}")
    height, width = upright_shape[:2]
    matrix = np.eye(3)
    if orientation >= MIRRORED:
        matrix = np.array([[1.0, 0, 0], [0, -1, height - 1], [0, 0, 1]])
    for _ in range(orientation % MIRRORED):
        matrix = np.array([[0.0, 1, 0], [-1, 0, width - 1], [0, 0, 1]]) @ matrix
        height, width = width, height
    return matrix


def map_points(points: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Points (..., 2) through a (3, 3) projective map; the dtype float64."""
    homogeneous = np.asarray(points, np.float64) @ matrix[:, :2].T + matrix[:, 2]
    return homogeneous[..., :2] / homogeneous[..., 2:]


def turn_points(points: np.ndarray, orientation: int, upright_shape: Shape) -> np.ndarray:
    """Points (..., 2) from px of an upright (height, width) image to px of the turned one; float32."""
    return map_points(points, turn_matrix(orientation, upright_shape)).astype(np.float32)


def unturn_points(points: np.ndarray, orientation: int, turned_shape: Shape) -> np.ndarray:
    """The inverse of turn_points, given the (height, width) of the turned image."""
    matrix = turn_matrix(orientation, unturned_shape(orientation, turned_shape))
    return map_points(points, np.linalg.inv(matrix)).astype(np.float32)


def unturned_shape(orientation: int, turned_shape: Shape) -> Shape:
    height, width = turned_shape[:2]
    return (width, height) if orientation % 2 else (height, width)


def prepare_input(image: np.ndarray, config) -> Stage0Input:
    """Scale an (H, W, 3) uint8 image as the Stage0Config says and pad it with zeros, right and bottom."""
    height, width = image.shape[:2]
    scale = config.input_width / (width if config.scale_by == "width" else max(height, width))
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    scaled = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    padded = cv2.copyMakeBorder(
        scaled,
        0,
        -size[1] % INPUT_MULTIPLE,
        0,
        -size[0] % INPUT_MULTIPLE,
        cv2.BORDER_CONSTANT,
        value=(0, 0, 0),
    )
    return Stage0Input(to_tensor(padded), np.array(size) / (width, height))


def to_tensor(image: np.ndarray) -> torch.Tensor:
    """(H, W, 3) uint8 to (1, 3, H, W) float32 in 0..1, channels last in memory as the networks like it."""
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float().div_(255)


def stage0_config(net: torch.nn.Module) -> Stage0Config:
    """What stage 0's network, or its stand-in in another process, was built from."""
    config = net.config
    assert isinstance(config, Stage0Config)
    return config


@torch.inference_mode()
def run_stage0(
    net: torch.nn.Module, tensor: torch.Tensor, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Marker probabilities (14, h, w) and orientation probabilities (8,), float32.

    With net.config.flips both are averaged over the image as it is, flipped left-right, up-down and both.
    """
    flips = ((), (3,), (2,), (2, 3)) if stage0_config(net).flips else ((),)
    marker, orientation = torch.zeros(()), torch.zeros(())
    for flip in flips:
        output = net(torch.flip(tensor, flip).to(device))
        marker = marker + torch.flip(output["marker"].float().softmax(dim=1), flip)[0]
        order = [flipped_class(k, left_right=3 in flip, up_down=2 in flip) for k in range(ORIENTATIONS)]
        orientation = orientation + output["orientation"].float().softmax(dim=1)[0, order]
    return (marker / len(flips)).cpu().numpy(), (orientation / len(flips)).cpu().numpy()


def flipped_class(orientation: int, left_right: bool, up_down: bool) -> int:
    """The orientation class of an image after it is flipped."""
    mirrored, quarter_turns = divmod(orientation, MIRRORED)
    if up_down:  # flipud(rot90(x, k)) == rot90(flipud(x), -k)
        mirrored, quarter_turns = 1 - mirrored, -quarter_turns
    if left_right:  # fliplr(x) == rot90(flipud(x), 2)
        mirrored, quarter_turns = 1 - mirrored, 2 - quarter_turns
    return mirrored * MIRRORED + quarter_turns % MIRRORED


def mirrored_class(orientation: int) -> int:
    """The class that shows a page left-right swapped, but upright, where `orientation` shows it as it is."""
    sideways = orientation % 2 == 1  # then the page's left and right are the image's top and bottom
    return flipped_class(orientation, left_right=not sideways, up_down=sideways)


def find_markers(probability: np.ndarray, stride: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The lead names in marker maps: points (13, 2) float32 px of the input, and confidence (13,).

    probability (14, h, w) at the given output stride, class 0 for none; radius in px of the input, within
    which the weighted centroid is taken about each peak. Doubtful names: NaN, confidence 0.
    """
    points = np.full((len(LEAD_MARKERS), 2), np.nan, np.float32)
    confidence = np.zeros(len(LEAD_MARKERS), np.float32)
    reach = max(int(np.ceil(radius / stride)), 2)
    for index, found in enumerate(probability[1:]):
        smooth = cv2.blur(found, (3, 3))
        y, x = np.unravel_index(smooth.argmax(), smooth.shape)
        if not smooth[y, x] >= MIN_CONFIDENCE:  # NaN is doubtful too
            continue
        confidence[index] = smooth[y, x]
        points[index] = (climb(found, x, y, reach) + 0.5) * stride - 0.5
    return points, confidence


def climb(found: np.ndarray, x: float, y: float, reach: int) -> np.ndarray:
    """The centroid (x, y) of an (h, w) map within `reach` of a place; NaN where the map is empty."""
    for _ in range(2):  # the second window is centred better than on the peak of a plateau
        top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
        window = found[top : round(y) + reach + 1, left : round(x) + reach + 1]
        weight = window.sum(dtype=np.float64)
        if not weight > 0:
            return np.full(2, np.nan)
        y = top + window.sum(axis=1) @ np.arange(window.shape[0]) / weight
        x = left + window.sum(axis=0) @ np.arange(window.shape[1]) / weight
    return np.array([x, y])


def find_names_near(
    probability: np.ndarray, expected: np.ndarray, stride: float, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Any lead names near where the layout expects each: as `find_markers`, given (13, 2) px of the input.

    Once the page is roughly known, the place of a name says which it is better than its letters do; what the
    letters say, the highest probability of the expected name thereabouts, comes third, (13,).
    """
    named = 1 - probability[0]
    named[named < MIN_CONFIDENCE] = 0
    points = np.full((len(LEAD_MARKERS), 2), np.nan, np.float32)
    confidence, letters = np.zeros((2, len(LEAD_MARKERS)), np.float32)
    height, width = named.shape
    reach = max(int(np.ceil(radius / stride)), 2)
    for index, (x, y) in enumerate((expected + 0.5) / stride - 0.5):
        if not (0 <= x < width and 0 <= y < height):
            continue
        x, y = climb(named, x, y, reach)
        if np.isfinite(x) and named[round(y), round(x)] >= MIN_CONFIDENCE:
            points[index] = (np.array([x, y]) + 0.5) * stride - 0.5
            confidence[index] = named[round(y), round(x)]
            about = [slice(max(round(centre) - reach, 0), round(centre) + reach + 1) for centre in (y, x)]
            letters[index] = probability[1 + index][tuple(about)].max()
    return points, confidence, letters


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


def warp_to_frame(image: np.ndarray, homography: np.ndarray) -> np.ndarray:
    """The unturned image in the stage-1 frame: (FRAME_HEIGHT, FRAME_WIDTH, 3) uint8, black outside.

    homography (3, 3): px of the image to px of the frame. A larger image is averaged down first, so that
    thin lines do not alias.
    """
    centre = np.array([FRAME_WIDTH / 2, FRAME_HEIGHT / 2])
    inverse = np.linalg.inv(homography)
    across, down = (map_points(centre + step, inverse) - map_points(centre, inverse) for step in np.eye(2))
    shrink = np.sqrt(abs(across[0] * down[1] - across[1] * down[0]))  # image px per frame px
    if shrink > 1.3:
        height, width = image.shape[:2]
        size = (max(round(width / shrink), 1), max(round(height / shrink), 1))
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        x, y = width / size[0], height / size[1]
        enlarge = np.array([[x, 0, 0.5 * x - 0.5], [0, y, 0.5 * y - 0.5], [0, 0, 1]])
        homography = homography @ enlarge
    return cv2.warpPerspective(image, homography, (FRAME_WIDTH, FRAME_HEIGHT), flags=cv2.INTER_LINEAR)
