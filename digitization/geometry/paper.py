"""The grid of any ECG paper in an image, found from the paper alone: whatever its extent, layout and scale.

Stage 1's network sees crossings of 5 mm lines where a square is about as wide as in its own frame. So the
image is shown to it at several scales: at the right one nearly all crossings are seen, at the others few.
"""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree

from configs.stage1 import FRAME_PX_PER_SQUARE
from digitization.geometry.lattice import find_peaks, grow_labels
from digitization.geometry.locate import PageNotFound
from digitization.geometry.projective import map_points
from digitization.geometry.surface import fit_smoothest_plate, reject_outliers
from models.tensors import to_tensor
from utils.rescaling import Rescaling

SCALE_STEP = 1.2  # factor between two scales: the network sees squares up to 10 % too large or too small
SQUARES_ACROSS = (12.0, 100.0)  # squares along the longer side of an image: two leads cropped to A4 portrait
NEIGHBOUR_TOLERANCE = 0.12  # squares by which the distance of two neighbouring crossings may differ from one
MIN_NEIGHBOURS = 3  # of the four nearest points of a crossing that have to be one square away
MIN_SHARE = 0.04  # crossings per square of the image: of a page that covers a tenth of a photo half are seen
WINDOW_PX = 640  # px of the frame, side of the window in which scales are compared: 28 squares
MIN_WINDOW_SHARE = 0.3  # crossings per square of a window in the middle of the paper
ANGLES = (20.0, -20.0, 40.0, -40.0)  # degrees by which paper may be turned: the network sees 10 either way
# Share of the crossings' probability at the best scale that they must have at the exact scale.
MIN_PROBABILITY_KEPT = 0.9
MAX_SHRINK = 1.3  # px of the image per px of the frame up to which bilinear sampling hardly aliases
MIN_PROBABILITY = 0.45  # mean probability of these crossings; whether they carry an ECG its landmarks say
MIN_POINTS = 40  # crossings of the smallest lattice: 5 x 8, two leads of a strip
MIN_SIDE = 32  # px, shorter side of an image below which no row could be made out
EDGE_PX = 4.0  # px of the frame (0.9 mm) from an edge of the image at which crossings are left out
INPUT_MULTIPLE = 32  # px, of the sides of the network's input
MARGIN_SQUARES = 3  # squares beyond the image's edges into which the lattice may grow
MIN_LINE_SHARE = 0.15  # share of the crossings of a typical row or column that its outermost ones must show


@dataclass(frozen=True)
class PaperGrid:
    """The 5 mm grid of the paper in an image.

    gridpoint_xy: (R, C, 2) float32 px of the image, finite everywhere; rows downwards, columns to the right,
        for paper that is rotated by less than 45 degrees. Some points may lie outside the image.
    seen: (R, C) bool, the points that the network saw and the smooth surface confirmed.
    share: number of seen crossings per square of the image's area, about 1 for an image of grid alone.
    probability: the mean probability of the seen crossings.
    """

    gridpoint_xy: np.ndarray
    seen: np.ndarray
    share: float
    probability: float

    @property
    def px_per_square(self) -> float:
        """The median side of a square in px of the image."""
        steps = (np.diff(self.gridpoint_xy, axis=1), np.diff(self.gridpoint_xy, axis=0))
        return float(np.median(np.concatenate([np.linalg.norm(step, axis=-1).ravel() for step in steps])))


@dataclass(frozen=True)
class Crossings:
    """What the network sees at one scale: points (N, 2) px of the scaled image, and their probability (N,).

    regular: (N,) bool, the points whose neighbours lie one square away, as on a grid.
    share: number of regular points per square of the image.
    """

    points: np.ndarray
    probability: np.ndarray
    regular: np.ndarray
    share: float

    @property
    def mean_probability(self) -> float:
        """The mean probability of the regular points, 0 without any."""
        return float(self.probability[self.regular].mean()) if self.regular.any() else 0.0

    @property
    def score(self) -> float:
        """How much this looks like a grid at the network's scale, 0 to about 1.

        The probability counts twice: at half the scale of a grid without 1 mm lines the network completes
        each square to four, with probabilities of 0.7 instead of 0.9, but on all of the paper.
        """
        return self.share * self.mean_probability**2


@torch.inference_mode()
def see_crossings(image: np.ndarray, net: torch.nn.Module, device: torch.device | str) -> Crossings:
    """Stage 1 on an (H, W, 3) uint8 image in which a square is supposed to be FRAME_PX_PER_SQUARE wide."""
    below, right = (-side % INPUT_MULTIPLE for side in image.shape[:2])
    padded = np.pad(image, ((0, below), (0, right), (0, 0)), mode="edge")
    logits = net(to_tensor(padded).to(device))["gridpoint"][0, 0]
    probability = logits.float().sigmoid().cpu().numpy()
    points, height = find_peaks(probability, padded.shape[1] / probability.shape[1])
    inside = (points < (image.shape[1] - 0.5, image.shape[0] - 0.5)).all(axis=1)
    points, height = points[inside], height[inside]
    regular = np.zeros(len(points), bool)
    if len(points) > 4:
        distance = cKDTree(points).query(points, k=5)[0][:, 1:] / FRAME_PX_PER_SQUARE
        regular = (np.abs(distance - 1) < NEIGHBOUR_TOLERANCE).sum(axis=1) >= MIN_NEIGHBOURS
    squares = image.shape[0] * image.shape[1] / FRAME_PX_PER_SQUARE**2
    return Crossings(points, height, regular, float(regular.sum() / squares))


def find_scale(
    image: np.ndarray, net: torch.nn.Module, device: torch.device | str, window_px: int | None = WINDOW_PX
) -> tuple[float, Crossings]:
    """The number of squares along the longer side at which most crossings are seen, and these crossings.

    Of each scale only a window of `window_px` in the middle of the image is looked at, all of it for None.
    Raises PageNotFound where no scale shows a grid.
    """
    count = int(np.ceil(np.log(SQUARES_ACROSS[1] / SQUARES_ACROSS[0]) / np.log(SCALE_STEP))) + 1
    best, best_squares = None, 0.0
    for squares in SQUARES_ACROSS[0] * SCALE_STEP ** np.arange(count):
        factor = squares * FRAME_PX_PER_SQUARE / max(image.shape[:2])
        shown = image if window_px is None else middle_of(image, window_px / factor)
        seen = see_crossings(Rescaling.by(shown.shape, factor).image(shown), net, device)
        if seen.regular.sum() >= MIN_POINTS and (best is None or seen.score > best.score):
            best, best_squares = seen, float(squares)
    if best is None or (window_px is not None and best.share < MIN_WINDOW_SHARE):
        raise PageNotFound("no grid of an ECG is seen at any scale")
    return best_squares, best


def middle_of(image: np.ndarray, side: float) -> np.ndarray:
    """The part (h, w, ...) in the middle of an image that is at most `side` px wide and high."""
    height, width = (min(round(side), length) for length in image.shape[:2])
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return image[top : top + height, left : left + width]


def find_paper(image: np.ndarray, net: torch.nn.Module, device: torch.device | str = "cpu") -> PaperGrid:
    """The grid of the paper in an (H, W, 3) uint8 RGB image that is rotated by less than 45 degrees.

    Raises PageNotFound, with the reason, where there is no grid of 5 mm squares.
    """
    if min(image.shape[:2]) < MIN_SIDE:
        raise PageNotFound(f"an image of {image.shape[1]} x {image.shape[0]} px shows no page")
    if (image == image[0, 0]).all():  # the network is run up to 78 times before it has seen nothing anywhere
        raise PageNotFound("no grid lines are seen in an image of one colour")
    try:
        return find_paper_at(image, net, device, *find_scale(image, net, device))
    except PageNotFound:
        pass
    for angle in ANGLES:
        try:
            matrix, size = upright_matrix(image.shape, 1.0, np.deg2rad(angle))
            turned = cv2.warpPerspective(image, matrix, size, borderMode=cv2.BORDER_REPLICATE)
            grid = find_paper_at(turned, net, device, *find_scale(turned, net, device))
        except PageNotFound:
            continue
        gridpoint_xy = map_points(grid.gridpoint_xy, np.linalg.inv(matrix)).astype(np.float32)
        return replace(grid, gridpoint_xy=gridpoint_xy)
    return find_paper_at(image, net, device, *find_scale(image, net, device, None))


def find_paper_at(
    image: np.ndarray, net: torch.nn.Module, device: torch.device | str, squares: float, coarse: Crossings
) -> PaperGrid:
    """As find_paper, given the squares along the longer side and the crossings seen at that scale."""
    factor = squares * FRAME_PX_PER_SQUARE / max(image.shape[:2])
    spacing, angle = measure_pitch(coarse)
    matrix, size = upright_matrix(image.shape, factor / spacing, angle)
    shrunk, into = image, matrix
    if spacing / factor > MAX_SHRINK:
        rescaling = Rescaling.by(image.shape, factor / spacing)
        shrunk, into = rescaling.image(image), matrix @ np.linalg.inv(rescaling.matrix)
    upright = cv2.warpPerspective(shrunk, into, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    seen = see_crossings(upright, net, device)
    if (
        seen.regular.sum() < MIN_POINTS
        or seen.mean_probability < MIN_PROBABILITY_KEPT * coarse.mean_probability
    ):
        raise PageNotFound("the crossings of grid lines that are seen form no grid")
    if seen.share < MIN_SHARE or seen.mean_probability < MIN_PROBABILITY:
        raise PageNotFound("too few crossings of grid lines are seen")
    back = np.linalg.inv(matrix)
    gridpoint_xy, confirmed = number_crossings(leave_out_edges(seen, back, image.shape), size)
    gridpoint_xy = map_points(gridpoint_xy, back).astype(np.float32)
    return PaperGrid(gridpoint_xy, confirmed, seen.share, seen.mean_probability)


def leave_out_edges(seen: Crossings, to_image: np.ndarray, shape: tuple[int, ...]) -> Crossings:
    """The crossings without those at the edges of the image (height, width), which are seen in part.

    They seem to lie further inside than they do. `to_image` (3, 3) takes their px to those of the image.
    """
    xy = map_points(seen.points, to_image)
    scale = float(np.sqrt(np.abs(np.linalg.det(to_image[:2, :2]))))  # px of the image per px of the frame
    edge = EDGE_PX * scale
    inner = ((xy > edge - 0.5) & (xy < (shape[1] - 0.5 - edge, shape[0] - 0.5 - edge))).all(axis=1)
    return Crossings(seen.points[inner], seen.probability[inner], seen.regular[inner], seen.share)


def measure_pitch(seen: Crossings) -> tuple[float, float]:
    """The median distance of neighbouring crossings in squares of the frame, and the grid's angle in radians.

    The angle is between -45 and 45 degrees, by which the rows go down to the right.
    """
    points = seen.points[seen.regular]
    index = cKDTree(points).query(points, k=min(5, len(points)))[1]
    steps = (points[index[:, 1:]] - points[:, None]).reshape(-1, 2) / FRAME_PX_PER_SQUARE
    length = np.linalg.norm(steps, axis=1)
    steps = steps[np.abs(length - 1) < 2 * NEIGHBOUR_TOLERANCE]
    angle = np.angle(np.mean((steps @ (1, 1j)) ** 4)) / 4  # four directions are one and the same
    return float(np.median(np.linalg.norm(steps, axis=1))), float(angle)


def upright_matrix(shape: tuple[int, ...], factor: float, angle: float) -> tuple[np.ndarray, tuple[int, int]]:
    """px of an image (height, width, ...) to px of it scaled and upright, and the new (width, height)."""
    cos, sin = factor * np.cos(angle), factor * np.sin(angle)
    rotation = np.array([[cos, sin, 0], [-sin, cos, 0], [0, 0, 1]])
    corners = np.array([(0, 0), (shape[1], 0), (shape[1], shape[0]), (0, shape[0])]) - 0.5
    moved = map_points(corners, rotation)
    low, high = moved.min(axis=0), moved.max(axis=0)
    shift = np.array([[1, 0, -low[0] - 0.5], [0, 1, -low[1] - 0.5], [0, 0, 1]])
    width, height = np.ceil(high - low).astype(int).tolist()
    return shift @ rotation, (max(width, 1), max(height, 1))


def number_crossings(seen: Crossings, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Crossings of an upright frame (width, height) px as a lattice (R, C, 2) px, and those seen (R, C).

    It grows from the crossing nearest to the middle of them all, neighbour by neighbour, and is cut where the
    outermost rows and columns show few crossings. Raises PageNotFound when too few form a grid.
    """
    points = seen.points
    regular = np.flatnonzero(seen.regular)
    middle = np.median(points[regular], axis=0)
    start = regular[np.linalg.norm(points[regular] - middle, axis=1).argmin()]
    before = np.ceil(points[start] / FRAME_PX_PER_SQUARE).astype(int) + MARGIN_SQUARES
    after = np.ceil((np.array(size) - points[start]) / FRAME_PX_PER_SQUARE).astype(int) + MARGIN_SQUARES
    columns, rows = (np.arange(-first, last + 1) for first, last in zip(before, after, strict=True))
    reference = points[start] + FRAME_PX_PER_SQUARE * np.stack(np.meshgrid(columns, rows), axis=-1)
    label = np.full(reference.shape[:2], -1)
    label[before[1], before[0]] = start
    label = grow_labels(points, label, np.ones(len(points), bool), reference)
    labelled = label >= 0
    if labelled.sum() < MIN_POINTS:
        raise PageNotFound(f"only {labelled.sum()} crossings of grid lines form a grid, {MIN_POINTS} needed")
    inner = np.ix_(*(kept_lines(labelled.sum(axis=axis)) for axis in (1, 0)))
    label, labelled, reference = label[inner], labelled[inner], reference[inner]
    offsets = points[label] - reference
    confirmed, _ = reject_outliers(offsets, labelled)
    weight = np.where(confirmed, seen.probability[label], 0.0)
    return reference + fit_smoothest_plate(offsets, weight), confirmed


def kept_lines(counts: np.ndarray) -> np.ndarray:
    """The rows, or columns, of a lattice that show crossings, by the number (N,) of those of each.

    Lines at either end with less than MIN_LINE_SHARE of a typical line's crossings are left out.
    """
    typical = np.median(counts[counts > 0])
    full = np.flatnonzero(counts >= max(MIN_LINE_SHARE * typical, 1))
    return np.arange(full[0], full[-1] + 1)
