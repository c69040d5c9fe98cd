"""The landmarks on straightened paper: labels, speed and gain in print, rows, where leads begin, pulses."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d, maximum_filter

from configs.landmarks import KEYPOINTS, LABELS, MAPS, PULSE_CORNERS
from digitization.geometry.straight_paper import StraightPaper
from digitization.signal.maxima import find_maxima
from models.tensors import to_tensor
from utils.rescaling import rescale

INPUT_MULTIPLE = 32  # px, of the sides of the network's input
MIN_PEAK = 0.25  # probability of the faintest peak of a map or keypoint
MIN_TEXT, MAX_TEXTS = 0.03, 16  # probability and number of the texts that are looked at closely
PEAK_SQUARES = 0.7  # squares within which there is one peak of a kind
MIN_ROW_SQUARES = 5.0  # squares (1 s) of the shortest row
MIN_ROW_SHARE = 0.25  # length of the shortest row as a share of the longest
FROM_EDGE = 0.7  # squares from the top and the bottom of an image within which lines are its frame
ROW_DISTANCE = 1.2  # squares between two rows at least: 6 mm
ROW_BLUR = 0.15  # squares, standard deviation of the Gaussian over the profile in which rows are peaks
ROW_GAIN = 0.5  # height of a row in that profile per square of its length
HEIGHTS = (0.7, 5.0)  # squares, range of the height of a pulse: at 5 mm/mV one, at 20 mm/mV four
PULSE_SQUARES = (0.2, 3.0)  # squares, range of its width: half of 0.2 s at 12.5 mm/s, and more than at 50
FOOT_SQUARES = 0.35  # squares by which what belongs to one pulse may be off
SAME_LABEL = 0.8  # squares within which labels seen in two scales are one
ON_ROW = 0.8  # squares from its row within which a beginning or end is the row's


@dataclass(frozen=True)
class Keypoint:
    """A label or text: its middle (x, y) in squares and the probability of each of KEYPOINTS."""

    x: float
    y: float
    probability: np.ndarray

    def of(self, name: str) -> float:
        """The probability of one of KEYPOINTS."""
        return float(self.probability[KEYPOINTS.index(name)])

    @property
    def name(self) -> str:
        """The likeliest of KEYPOINTS."""
        return KEYPOINTS[int(self.probability.argmax())]


@dataclass(frozen=True)
class Row:
    """A row of traces: its zero line y, its first and last x in squares, and the length seen of it."""

    y: float
    first: float
    last: float
    seen: float


@dataclass(frozen=True)
class Pulse:
    """A calibration pulse: the foot (x, y) of its rise, height and width, all in squares; its probability.

    Where only the rise or only the fall is seen, the foot is that one's and the width None.
    """

    x: float
    y: float
    height: float
    width: float | None
    probability: float


@dataclass(frozen=True)
class Landmarks:
    """What the network sees on straightened paper; places are (x, y) in squares of the lattice.

    labels, scales: keypoints that are rather lead labels, or rather speeds and gains.
    texts: places that may show a speed or a gain, the likeliest first, to be looked at closely.
    rows: from the top.
    starts, ends, boundaries: (N, 3) float64, x, y and probability of where rows begin and end, and of where
        one lead of a row ends and the next begins; those that lie on a row.
    pulses: those of which at least the rise or the fall is seen.
    edges: (left, right) of the image in squares.
    """

    labels: tuple[Keypoint, ...]
    scales: tuple[Keypoint, ...]
    rows: tuple[Row, ...]
    starts: np.ndarray
    ends: np.ndarray
    boundaries: np.ndarray
    pulses: tuple[Pulse, ...]
    edges: tuple[float, float]
    texts: tuple[Keypoint, ...] = ()

    @property
    def legibility(self) -> float:
        """The number of labels, each counted by its probability: how well the page can be read this way."""
        return float(sum(label.probability.max() for label in self.labels))


@torch.inference_mode()
def find_landmarks(
    paper: StraightPaper, net: torch.nn.Module, device: torch.device | str = "cpu"
) -> Landmarks:
    """The landmarks on straightened paper of configs.landmarks.PX_PER_SQUARE."""
    below, right = (-side % INPUT_MULTIPLE for side in paper.image.shape[:2])
    padded = np.pad(paper.image, ((0, below), (0, right), (0, 0)), constant_values=255)
    output = net(to_tensor(padded).to(device))
    keypoint = output["keypoint"][0].float().softmax(dim=0).cpu().numpy()
    maps = dict(zip(MAPS, output["maps"][0].float().sigmoid().cpu().numpy(), strict=True))
    stride = padded.shape[1] / keypoint.shape[2]

    def place(cells: np.ndarray) -> np.ndarray:
        """(x, y) in cells of the maps to squares."""
        return paper.to_squares(rescale(cells, stride))

    step = stride / paper.px_per_square  # squares per cell
    keypoints = []
    for cell in peaks(1 - keypoint[0], PEAK_SQUARES / step):
        keypoints.append(keypoint_at(keypoint[1:], 1 - keypoint[0], cell, place))
    scale = keypoint[1 + len(LABELS) :].sum(axis=0)
    cells = sorted(peaks(scale, PEAK_SQUARES / step, MIN_TEXT), key=lambda cell: -scale[cell[1], cell[0]])
    texts = tuple(keypoint_at(keypoint[1:], scale, cell, place) for cell in cells[:MAX_TEXTS])
    edges = paper.edges
    rows = find_rows(maps["zero line"], place, step)
    rows = tuple(row for row in rows if min(row.y - edges[0, 1], edges[1, 1] - row.y) > FROM_EDGE)
    return Landmarks(
        tuple(k for k in keypoints if k.name in LABELS),
        tuple(k for k in keypoints if k.name not in LABELS),
        rows,
        peaks_on_rows(maps["start"], rows, place, step),
        peaks_on_rows(maps["end"], rows, place, step),
        peaks_on_rows(maps["boundary"], rows, place, step),
        find_pulses({name: located_peaks(maps[name], place, step) for name in PULSE_CORNERS}),
        (float(edges[0, 0]), float(edges[1, 0])),
        texts,
    )


def merge_labels(first: Sequence[Keypoint], second: Sequence[Keypoint]) -> tuple[Keypoint, ...]:
    """The labels that a page shows in two scales: the mean of their probabilities, 0 where one is unseen."""
    merged, left = [], list(second)
    for label in first:
        same = min(left, key=lambda other: distance(label, other), default=None)
        other = np.zeros_like(label.probability)
        if same is not None and distance(label, same) <= SAME_LABEL:
            left = [label for label in left if label is not same]
            other = same.probability
        merged.append(replace(label, probability=(label.probability + other) / 2))
    return (*merged, *(replace(label, probability=label.probability / 2) for label in left))


def distance(first: Keypoint, second: Keypoint) -> float:
    """The distance of two keypoints in squares."""
    return float(np.hypot(first.x - second.x, first.y - second.y))


def keypoint_at(probabilities: np.ndarray, heat: np.ndarray, cell: np.ndarray, place) -> Keypoint:
    """The keypoint at a peak of `heat` (h, w), given the probabilities of KEYPOINTS (K, h, w) there."""
    x, y = place(centroid(heat, cell))
    return Keypoint(float(x), float(y), around(probabilities, cell).max(axis=(1, 2)))


def peaks(heat: np.ndarray, distance: float, least: float = MIN_PEAK) -> np.ndarray:
    """The local maxima of (h, w) of at least `least`, `distance` cells apart: (N, 2) int, (x, y)."""
    size = 2 * int(np.ceil(distance)) + 1
    row, column = np.nonzero((heat >= least) & (heat == maximum_filter(heat, size)))
    return np.stack([column, row], axis=1)


def around(heat: np.ndarray, cell: np.ndarray, reach: int = 1) -> np.ndarray:
    """The cells (..., h, w) within `reach` of a cell (x, y)."""
    x, y = cell
    return heat[..., max(y - reach, 0) : y + reach + 1, max(x - reach, 0) : x + reach + 1]


def centroid(heat: np.ndarray, cell: np.ndarray, reach: int = 2) -> np.ndarray:
    """The centre of mass (x, y) of the cells about a peak."""
    window = around(heat, cell, reach)
    x0, y0 = max(cell[0] - reach, 0), max(cell[1] - reach, 0)
    y, x = np.mgrid[: window.shape[0], : window.shape[1]]
    return np.array([x0 + (x * window).sum() / window.sum(), y0 + (y * window).sum() / window.sum()])


def located_peaks(heat: np.ndarray, place, step: float) -> np.ndarray:
    """The peaks of a map: (N, 3), x and y in squares and the probability."""
    cells = peaks(heat, PEAK_SQUARES / step)
    if not len(cells):
        return np.zeros((0, 3))
    xy = place(np.array([centroid(heat, cell) for cell in cells]))
    return np.column_stack([xy, heat[cells[:, 1], cells[:, 0]]])


def find_rows(zero_line: np.ndarray, place, step: float) -> tuple[Row, ...]:
    """The rows in the map (h, w) of the zero lines, from the top."""
    profile = gaussian_filter1d(zero_line.sum(axis=1) * step, ROW_BLUR / step)
    least = max(ROW_GAIN * MIN_ROW_SQUARES, MIN_ROW_SHARE * profile.max())
    found = find_maxima(np.pad(profile, 1), least, max(ROW_DISTANCE / step, 1))
    rows = []
    for y in found - 1:
        reach = round(0.5 / step)
        band = zero_line[max(y - reach, 0) : y + reach + 1]
        strip = band.max(axis=0)
        on = np.flatnonzero(strip > 0.5)
        if len(on) * step < MIN_ROW_SQUARES:
            continue
        weight = band[:, on].sum(axis=1)
        middle = max(y - reach, 0) + (np.arange(len(band)) * weight).sum() / weight.sum()
        (first, height), (last, _) = place(np.array([[on[0], middle], [on[-1], middle]], float))
        rows.append(Row(float(height), float(first), float(last), float(len(on) * step)))
    return tuple(rows)


def peaks_on_rows(heat: np.ndarray, rows: tuple[Row, ...], place, step: float) -> np.ndarray:
    """The peaks of a map that lie on a row, (N, 3) as in `located_peaks`."""
    found = located_peaks(heat, place, step)
    heights = np.array([row.y for row in rows])
    if not len(found) or not len(heights):
        return np.zeros((0, 3))
    return found[np.abs(found[:, 1, None] - heights).min(axis=1) < ON_ROW]


def find_pulses(corners: dict[str, np.ndarray]) -> tuple[Pulse, ...]:
    """Pulses from the peaks (N, 3) of their four corners: rises and falls, paired where both are seen."""
    rises = edges_of(corners["rise bottom"], corners["rise top"])
    falls = edges_of(corners["fall bottom"], corners["fall top"])
    pulses, paired = [], set()
    for x, foot, height, probability in rises:
        near = [
            index
            for index, (fall_x, fall_foot, fall_height, _) in enumerate(falls)
            if PULSE_SQUARES[0] <= fall_x - x <= PULSE_SQUARES[1]
            and abs(fall_foot - foot) <= FOOT_SQUARES
            and abs(fall_height - height) <= FOOT_SQUARES
        ]
        if near:
            nearest = min(near, key=lambda index: falls[index][0])
            fall_x, fall_foot, fall_height, fall_probability = falls[nearest]
            paired.add(nearest)
            sure = (probability + fall_probability) / 2
            pulses.append(
                Pulse(x, (foot + fall_foot) / 2, (height + fall_height) / 2, fall_x - x, float(sure))
            )
        else:
            pulses.append(Pulse(x, foot, height, None, probability))
    alone = [fall for index, fall in enumerate(falls) if index not in paired]
    return (*pulses, *(Pulse(x, foot, height, None, probability) for x, foot, height, probability in alone))


def edges_of(bottoms: np.ndarray, tops: np.ndarray) -> list[tuple[float, float, float, float]]:
    """The vertical edges between bottoms and tops (N, 3): x, y of the foot, height and mean probability."""
    edges = []
    for x, y, probability in bottoms:
        off = tops[:, :2] - (x, y)
        above = (np.abs(off[:, 0]) <= FOOT_SQUARES) & (-off[:, 1] >= HEIGHTS[0]) & (-off[:, 1] <= HEIGHTS[1])
        if above.any():
            top = tops[np.flatnonzero(above)[tops[above, 1].argmax()]]  # the nearest
            edges.append(
                (float(x + top[0]) / 2, float(y), float(y - top[1]), float(probability + top[2]) / 2)
            )
    return edges
