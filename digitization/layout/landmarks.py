"""The landmarks on straightened paper: labels, speed and gain in print, rows, where leads begin, pulses."""

from dataclasses import dataclass

import numpy as np
import torch
from scipy.ndimage import gaussian_filter1d, maximum_filter
from scipy.signal import find_peaks

from configs.landmarks import KEYPOINTS, LABELS, MAPS, PULSE_CORNERS
from digitization.geometry.straight_paper import StraightPaper
from models.tensors import to_tensor
from utils.rescaling import rescale

INPUT_MULTIPLE = 32  # px, of the sides of the network's input
MIN_PEAK = 0.25  # probability of the faintest peak of a map or keypoint
PEAK_SQUARES = 0.7  # squares within which there is one peak of a kind
MIN_ROW_SQUARES = 5.0  # squares (1 s) of the shortest row
MIN_ROW_SHARE = 0.25  # length of the shortest row as a share of the longest
ROW_DISTANCE = 1.2  # squares between two rows at least: 6 mm
ROW_BLUR = 0.15  # squares, standard deviation of the Gaussian over the profile in which rows are peaks
ROW_GAIN = 0.5  # height of a row in that profile per square of its length
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
    """A calibration pulse: its foot (x, y) at the rise, height and width, all in squares; its probability."""

    x: float
    y: float
    height: float
    width: float
    probability: float


@dataclass(frozen=True)
class Landmarks:
    """What the network sees on straightened paper; places are (x, y) in squares of the lattice.

    labels, scales: keypoints that are rather lead labels, or rather speeds and gains.
    rows: from the top.
    starts, ends, boundaries: (N, 3) float64, x, y and probability of where rows begin and end, and of where
        one lead of a row ends and the next begins; those that lie on a row.
    pulses: those of which all corners are seen.
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
        probability = around(keypoint[1:], cell).max(axis=(1, 2))
        x, y = place(centroid(1 - keypoint[0], cell))
        keypoints.append(Keypoint(float(x), float(y), probability))
    rows = find_rows(maps["zero line"], place, step)
    on_rows = {name: peaks_on_rows(maps[name], rows, place, step) for name in ("start", "end", "boundary")}
    return Landmarks(
        tuple(k for k in keypoints if k.name in LABELS),
        tuple(k for k in keypoints if k.name not in LABELS),
        rows,
        *on_rows.values(),
        find_pulses({name: located_peaks(maps[name], place, step) for name in PULSE_CORNERS}),
        (float(paper.corner[0]), float(paper.to_squares(np.array([paper.image.shape[1] - 1, 0]))[0])),
    )


def peaks(heat: np.ndarray, distance: float) -> np.ndarray:
    """The local maxima of (h, w) above MIN_PEAK, at least `distance` cells apart: (N, 2) int, (x, y)."""
    size = 2 * int(np.ceil(distance)) + 1
    row, column = np.nonzero((heat >= MIN_PEAK) & (heat == maximum_filter(heat, size)))
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
    found, _ = find_peaks(np.pad(profile, 1), height=least, distance=max(ROW_DISTANCE / step, 1))
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
    """Pulses from the peaks (N, 3) of their four corners: the nearest of each about every foot of a rise."""
    pulses = []
    for x, y, probability in corners["rise bottom"]:
        found = []
        # The top is 1 to 5 squares above the foot, the fall 0.2 to 3 squares to the right of the rise.
        for name, (dx, dy) in {
            "rise top": ((-0.3, 0.3), (-5.0, -0.7)),
            "fall top": ((0.2, 3.0), (-5.0, -0.7)),
            "fall bottom": ((0.2, 3.0), (-0.4, 0.4)),
        }.items():
            off = corners[name][:, :2] - (x, y)
            fits = (off[:, 0] >= dx[0]) & (off[:, 0] <= dx[1]) & (off[:, 1] >= dy[0]) & (off[:, 1] <= dy[1])
            if fits.any():
                near = np.flatnonzero(fits)
                found.append(corners[name][near[np.abs(off[near]).sum(axis=1).argmin()]])
        if len(found) == 3:
            rise_top, fall_top, fall_bottom = found
            foot = (y + fall_bottom[1]) / 2
            height = foot - (rise_top[1] + fall_top[1]) / 2
            width = (fall_top[0] + fall_bottom[0] - rise_top[0] - x) / 2
            sure = float(np.mean([probability, *(corner[2] for corner in found)]))
            pulses.append(Pulse(float(x), float(foot), float(height), float(width), sure))
    return tuple(pulses)
