"""Stage 1 decoded: from a map of grid points to the lattice of the page, complete and smooth."""

from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import cv2
import numpy as np
import torch
from scipy.sparse.linalg import LinearOperator, cg
from scipy.spatial import cKDTree

from configs.page import GRID_COLUMNS, GRID_ROWS, LEAD_ENDS, LEAD_MARKER_POINTS, SQUARE_MM
from configs.stage1 import FRAME_PX_PER_SQUARE, FRAME_WIDTH, reference_points
from utils.rectify import lattice_at
from utils.upright import PageFound, PageNotFound, map_points, to_tensor, warp_to_frame

PEAK_PROBABILITY = 0.2  # below it a maximum is no grid point
PEAK_SPACING = 0.5  # squares between maxima
PEAK_REACH = 0.3  # squares, half the window of a peak's centroid
GROWTH_TOLERANCE = 0.35  # squares from the expected place, beyond which a peak is no neighbour
GROWTH_RADIUS = 2  # squares, over which the labelled points say where the next ones are
GRADIENT_RIDGE = 1.0  # squares^2 of labelled points' spread, below which gradients are not believed
JUDGE_STIFFNESS = 10.0  # of the surface against which outliers are judged; it smooths over its 4th root
SHEET = {0.1: np.inf, 0.3: 1.50, 1.0: 1.45}  # stiffness of the result, and by how much the points' distance
SCREEN = {1.0: np.inf, 10.0: 1.65, 30.0: 1.17, 100.0: 1.10}  # may grow with it; chosen on drawn pages (2027)
PATCHES = (4, 5)  # of the page, rows and columns, that are judged one by one
PATCH_POINTS = 30  # those with fewer do not count
WHOLE_SHARE = 0.95  # of the grid points in one patch: then no other is looked for
MIN_ISLAND = 6  # points, of a patch of neighbours worth placing
ISLAND_REACH = 3  # squares about some point of such a patch in which as many are
BORDER_WEIGHT = 0.1  # of the outer rows and columns, which lie on the paper's edge and are seen worse
MARKER_WEIGHT = 0.1  # of a lead name against a grid point
OUTLIER_SIGMAS = 4.0
OUTLIER_SQUARES = 0.12  # never judge points stricter than this
MIN_SEEN = 60  # points, of GRID_ROWS * GRID_COLUMNS
RESIDUAL_SCALE = 0.075  # squares, at which the part of the score for smoothness falls to 1/e
MARKER_TOLERANCE = 0.8  # squares between stage 0's lead name and the lattice
CLEAR_SHARE = 0.7  # of the grid points, seen at first look
MORE_LOOKS = 2  # at most
END_REACH = 0.25  # squares about its place in which the end of a lead is looked for
MAX_RENUMBERING = 3  # squares by which the ends of the leads may move the numbering
PLAIN_ENDS = 0.6  # mean probability of the lead ends on a plain page
PLAIN_LETTERS = 0.8  # mean probability of the right lead names on a plain page
SURE_ENDS = 0.25  # mean probability of the lead ends from which on they decide
ENDS_MARGIN = 0.1  # by which another numbering has to be likelier
SOLVED = 1e-6  # of a smooth surface's first residual, at which it counts as found
MAX_STEPS = 200  # towards it; a page seen in part takes 30

FOCAL_LENGTHS = (
    0.55,
    1.6,
)  # of phones, in longer sides of the image; where there is no perspective, any will do
ASPECT_TOLERANCE = 0.06  # of the squares' height over width, which printers and scanners stretch too

CELLS = np.stack(list(np.indices((GRID_ROWS, GRID_COLUMNS))), axis=-1)  # (44, 57, 2) row, column
REFERENCE = reference_points(CELLS)  # (44, 57, 2) px of the stage-1 frame
MARKER_ROWS, MARKER_COLUMNS = np.array(LEAD_MARKER_POINTS).T


@dataclass(frozen=True)
class GridFound:
    """The lattice of the page in the unturned image.

    gridpoint_xy: (44, 57, 2) float32 px, finite everywhere; columns and rows outside the paper too.
    seen: (44, 57) bool, points that the network saw and the smooth surface confirmed.
    residual: median distance of the seen points from a smooth surface, in px of the stage-1 frame.
    parts: what is known without truth of how right it is, name -> 0..1; see judge_grid.
    homography: (3, 3) float64, px of the unturned image to px of the stage-1 frame that was looked at.
    offsets: (44, 57, 2) float64 px of the frame, by which the points seen lie off REFERENCE.
    weight: (44, 57) float64, how much each of them counts; 0 where none is seen.
    """

    gridpoint_xy: np.ndarray
    seen: np.ndarray
    residual: float
    parts: dict[str, float]
    homography: np.ndarray
    offsets: np.ndarray
    weight: np.ndarray

    @property
    def score(self) -> float:
        """How far to trust the lattice, 0..1: the geometric mean of the parts."""
        return float(np.prod(list(self.parts.values())) ** (1 / len(self.parts)))


@dataclass(frozen=True)
class Calibration:
    """The paper's scale in the image.

    px_per_mm: (2,) float64, median along x and along y of the page, in px of the unturned image.
    aspect: height of a square over its width on the paper, the camera's tilt taken out; see measure_aspect.
    """

    px_per_mm: np.ndarray
    aspect: float

    @property
    def fits_paper(self) -> bool:
        """Whether squares are as wide as tall, as 25 mm/s and 10 mm/mV on 5 mm squares want them."""
        return abs(np.log(self.aspect)) < ASPECT_TOLERANCE


def find_peaks(probability: np.ndarray, stride: float) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of a (h, w) probability map: (N, 2) float64 px of the frame, and (N,) probabilities.

    A peak's place is the centroid of the probability about it.
    """
    square = FRAME_PX_PER_SQUARE / stride
    smooth = cv2.GaussianBlur(probability.astype(np.float32), (0, 0), max(0.04 * square, 0.5))
    side = 2 * round(PEAK_SPACING * square / 2) + 1
    summit = smooth >= cv2.dilate(smooth, np.ones((side, side), np.uint8))
    ys, xs = np.nonzero(summit & (smooth > PEAK_PROBABILITY))
    reach = max(round(PEAK_REACH * square), 1)
    steps = np.arange(-reach, reach + 1)
    padded = cv2.copyMakeBorder(smooth, reach, reach, reach, reach, cv2.BORDER_CONSTANT, value=0)
    windows = padded[ys[:, None, None] + (steps + reach)[:, None], xs[:, None, None] + (steps + reach)]
    total = windows.sum(axis=(1, 2))
    x = xs + windows.sum(axis=1) @ steps / total
    y = ys + windows.sum(axis=2) @ steps / total
    return (np.stack([x, y], axis=1) + 0.5) * stride - 0.5, smooth[ys, xs].astype(np.float64)


def smooth_locally(offsets: np.ndarray, labelled: np.ndarray, where: np.ndarray) -> np.ndarray:
    """What the labelled points within GROWTH_RADIUS or so say of the offsets of some cells, by a local plane.

    offsets (44, 57, 2), used where labelled (44, 57); where (44, 57) bool, n cells, each with a labelled
    point within 2 * GROWTH_RADIUS squares. Returns (n, 2).
    """
    steps = np.arange(-2.0 * GROWTH_RADIUS, 2 * GROWTH_RADIUS + 1)
    bell = np.exp(-(steps**2) / (2 * GROWTH_RADIUS**2))
    bells = [bell, bell * steps, bell * steps**2]

    def moment(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
        return cv2.sepFilter2D(
            values, cv2.CV_64F, bells[columns], bells[rows], borderType=cv2.BORDER_CONSTANT
        )[where]

    ones = labelled.astype(np.float64)
    known = np.dstack([ones, np.where(labelled[..., None], offsets, 0.0)])
    first = [moment(known, *power) for power in ((0, 0), (1, 0), (0, 1))]  # 3 of (n, 3): of 1 and offsets
    normal = np.empty((len(first[0]), 3, 3))
    for i, values in enumerate(first):
        normal[:, i, 0] = normal[:, 0, i] = values[:, 0]
    normal[:, 1, 1] = moment(ones, 2, 0) + GRADIENT_RIDGE
    normal[:, 2, 2] = moment(ones, 0, 2) + GRADIENT_RIDGE
    normal[:, 1, 2] = normal[:, 2, 1] = moment(ones, 1, 1)
    return np.linalg.solve(normal, np.stack([values[:, 1:] for values in first], axis=1))[:, 0]


def grow_labels(peaks: np.ndarray, label: np.ndarray, free: np.ndarray) -> np.ndarray:
    """Give free peaks their cells, neighbour by neighbour: (44, 57) int, index of the peak or -1.

    peaks (N, 2) px of the frame, free (N,) bool; growth starts from label (44, 57).
    """
    label, free = label.copy(), free.copy()
    free[label[label >= 0]] = False
    tree = cKDTree(peaks)
    while True:
        labelled = label >= 0
        frontier = ~labelled & (cv2.dilate(labelled.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
        expected = smooth_locally(peaks[label] - REFERENCE, labelled, frontier)
        distance, nearest = tree.query(REFERENCE[frontier] + expected)
        near = distance < GROWTH_TOLERANCE * FRAME_PX_PER_SQUARE
        near[near] = free[nearest[near]]
        order = np.argsort(distance[near])
        chosen, first = np.unique(nearest[near][order], return_index=True)
        if len(chosen) == 0:
            return label
        cells = np.argwhere(frontier)[near][order][first]
        label[cells[:, 0], cells[:, 1]] = chosen
        free[chosen] = False


def find_islands(peaks: np.ndarray, markers: np.ndarray) -> list[np.ndarray]:
    """Peaks (N, 2) in patches of neighbours, the largest first: each (44, 57) int, the peak's index or -1.

    Within a patch the cells are right among themselves; the whole patch may be off by a square or two, as
    it starts from where the lead names (13, 2), NaN where unknown, put it. All in px of the frame.
    """
    drift = smooth_offsets(*marker_offsets(markers), JUDGE_STIFFNESS)[0]
    tree, places = cKDTree(peaks), cKDTree((REFERENCE + drift).reshape(-1, 2))
    around, _ = tree.query(peaks, k=min(5, len(peaks)))
    regular = (np.abs(around[:, 1:] / FRAME_PX_PER_SQUARE - 1) < 0.35).sum(axis=1) >= 3
    free = np.ones(len(peaks), bool)
    islands = []
    middle = REFERENCE[GRID_ROWS // 2, GRID_COLUMNS // 2]
    for start in np.argsort(np.linalg.norm(peaks - middle, axis=1)):
        if not (regular[start] and free[start]):
            continue
        if free[tree.query_ball_point(peaks[start], ISLAND_REACH * FRAME_PX_PER_SQUARE)].sum() < MIN_ISLAND:
            continue
        label = np.full((GRID_ROWS, GRID_COLUMNS), -1)
        label.ravel()[places.query(peaks[start])[1]] = start
        label = grow_labels(peaks, label, free)
        free[label[label >= 0]] = False
        if (label >= 0).sum() >= MIN_ISLAND:
            islands.append(label)
        if (label >= 0).mean() >= WHOLE_SHARE:
            break
    return sorted(islands, key=lambda island: -(island >= 0).sum())


def marker_offsets(markers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lead names (13, 2) px of the frame as offsets (44, 57, 2) and weights (44, 57), 0 where unknown."""
    offsets, weight = np.zeros((GRID_ROWS, GRID_COLUMNS, 2)), np.zeros((GRID_ROWS, GRID_COLUMNS))
    offsets[MARKER_ROWS, MARKER_COLUMNS] = markers - REFERENCE[MARKER_ROWS, MARKER_COLUMNS]
    weight[MARKER_ROWS, MARKER_COLUMNS] = np.where(np.isfinite(markers[:, 0]), MARKER_WEIGHT, 0)
    return offsets, weight


def place_island(peaks: np.ndarray, island: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """The first island's labels (44, 57), moved by whole squares to where most lead names on it want it."""
    side = 4 * GROWTH_RADIUS + 1
    near = cv2.dilate((island >= 0).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    near = near[MARKER_ROWS, MARKER_COLUMNS] & np.isfinite(markers).all(axis=1)
    if not near.any():
        return island
    cells = np.zeros(island.shape, bool)
    cells[MARKER_ROWS[near], MARKER_COLUMNS[near]] = True
    expected = np.zeros(REFERENCE.shape)
    expected[cells] = REFERENCE[cells] + smooth_locally(peaks[island] - REFERENCE, island >= 0, cells)
    misplaced = (markers - expected[MARKER_ROWS, MARKER_COLUMNS])[near]
    columns, rows = np.round(np.median(misplaced, axis=0) / FRAME_PX_PER_SQUARE).astype(int)
    return shift_cells(island, -rows, -columns)


def join_island(peaks: np.ndarray, label: np.ndarray, island: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """The labels (44, 57) with an island's put in, moved by the squares that make the smoothest page.

    Points that find no cell count as if they missed one by GROWTH_TOLERANCE.
    """
    points = (label >= 0).sum() + (island >= 0).sum()

    def strain(candidate: np.ndarray) -> float:
        offsets, weight = marker_offsets(markers)
        labelled = candidate >= 0
        both = labelled & (weight > 0)
        seen = peaks[candidate] - REFERENCE
        misplaced = MARKER_WEIGHT * ((seen - offsets)[both] ** 2).sum()
        offsets[labelled] = seen[labelled]
        weight[labelled] = 1
        dropped = (points - labelled.sum()) * (GROWTH_TOLERANCE * FRAME_PX_PER_SQUARE) ** 2
        return dropped + misplaced + smooth_offsets(offsets, weight, JUDGE_STIFFNESS)[1]

    candidates = [
        np.where(label >= 0, label, shift_cells(island, rows, columns))
        for rows in (-1, 0, 1)
        for columns in (-1, 0, 1)
    ]
    return min(candidates, key=strain)


def shift_cells(label: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Labels (44, 57) moved down and right; what leaves the lattice is dropped."""
    moved = np.full_like(label, -1)
    target, source = [], []
    for step in (rows, columns):
        target.append(slice(max(step, 0), step if step < 0 else None))
        source.append(slice(max(-step, 0), -step if step > 0 else None))
    moved[tuple(target)] = label[tuple(source)]
    return moved


def label_peaks(peaks: np.ndarray, markers: np.ndarray) -> np.ndarray:
    """Cells of peaks (N, 2) given the lead names (13, 2), NaN where unknown, both px of the frame.

    Patches of neighbours are grown, and joined from the largest on. (44, 57) int, the peak's index or -1.
    Raises PageNotFound.
    """
    if len(peaks) < MIN_SEEN:
        raise PageNotFound(f"only {len(peaks)} grid points seen, {MIN_SEEN} needed")
    islands = find_islands(peaks, markers)
    if not islands:
        raise PageNotFound(f"none of {len(peaks)} points seen lie as on a grid")
    label = place_island(peaks, islands[0], markers)
    for island in islands[1:]:
        if ((label < 0) & (island >= 0)).sum() >= MIN_ISLAND:
            label = join_island(peaks, label, island, markers)
    label = grow_labels(peaks, label, np.ones(len(peaks), bool))
    if (label >= 0).sum() < MIN_SEEN:
        raise PageNotFound(f"only {(label >= 0).sum()} grid points lie as on a page, {MIN_SEEN} needed")
    return label


def renumber(peaks: np.ndarray, label: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, float]:
    """Labels (44, 57) moved by whole squares to where the leads begin and end, and their mean probability.

    ends (h, w) is the map of their probabilities. Lead names lie near the leads' beginnings, the ends are the
    beginnings themselves, but a page seen in part may show few: then the numbering stays.
    """
    stride = FRAME_WIDTH / ends.shape[1]
    reach = 2 * round(END_REACH * FRAME_PX_PER_SQUARE / stride) + 1
    highest = cv2.dilate(ends.astype(np.float32), np.ones((reach, reach), np.uint8))
    labelled = label >= 0
    surface, _ = smooth_offsets(peaks[label] - REFERENCE, labelled.astype(np.float64), JUDGE_STIFFNESS)
    steps = range(-MAX_RENUMBERING, MAX_RENUMBERING + 1)
    found = {}
    for rows in steps:
        for columns in steps:
            places = np.array(LEAD_ENDS) + (rows, columns)
            places = (lattice_at(REFERENCE + surface, places) + 0.5) / stride - 0.5
            x, y = np.round(places).astype(int).T
            inside = (x >= 0) & (x < ends.shape[1]) & (y >= 0) & (y < ends.shape[0])
            found[rows, columns] = float(highest[y[inside], x[inside]].sum()) / len(LEAD_ENDS)
    rows, columns = max(found, key=found.__getitem__)
    if found[rows, columns] < max(SURE_ENDS, found[0, 0] + ENDS_MARGIN):
        return label, found[0, 0]
    return shift_cells(label, -rows, -columns), found[rows, columns]


@cache
def bending_modes() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The shapes in which a free sheet over the lattice bends, and what each costs.

    Modes (44, 44) of a column and (57, 57) of a row, one a column of the matrix, and the energy (44, 57) of
    their products. A beam free at both ends has the second differences' energy; products of two beams' modes,
    with the squared sum of the roots of both energies, make a thin plate whose twist costs nothing.
    """
    modes, roots = [], []
    for count in (GRID_ROWS, GRID_COLUMNS):
        second = np.diff(np.eye(count), n=2, axis=0)
        energy, shapes = np.linalg.eigh(second.T @ second)
        modes.append(shapes)
        roots.append(np.sqrt(energy.clip(0)))
    return modes[0], modes[1], np.add.outer(*roots) ** 2


def smooth_offsets(offsets: np.ndarray, weight: np.ndarray, stiffness: float) -> tuple[np.ndarray, float]:
    """A thin plate through offsets (44, 57, n) with weights (44, 57), 0 where unknown: (44, 57, n).

    With it comes the energy that it minimises: weighted squared distance + stiffness * bending energy.
    Holes are bridged smoothly, and beyond the last points the surface goes on straight. Solved for the modes
    of bending_modes by conjugate gradients; even weights would be solved in one step.
    """
    down, across, energy = bending_modes()
    known = np.where(weight > 0, offsets.transpose(2, 0, 1), 0.0)
    penalty = stiffness * energy
    scale = 1 / (weight.mean() + penalty)

    def to_modes(values: np.ndarray) -> np.ndarray:
        return down.T @ (weight * values) @ across

    def apply(modes: np.ndarray) -> np.ndarray:
        modes = modes.reshape(energy.shape)
        return (to_modes(down @ modes @ across.T) + penalty * modes).ravel()

    def precondition(modes: np.ndarray) -> np.ndarray:
        return scale.ravel() * modes.ravel()

    size = energy.size
    system, near = (LinearOperator((size, size), each, dtype=np.float64) for each in (apply, precondition))
    solved = np.stack(
        [
            cg(system, to_modes(each).ravel(), rtol=SOLVED, maxiter=MAX_STEPS, M=near)[0].reshape(
                energy.shape
            )
            for each in known
        ]
    )
    surface = down @ solved @ across.T
    strain = float((weight * known * (known - surface)).sum())
    return surface.transpose(1, 2, 0), strain


def smooth_best(offsets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The thin plate of smooth_offsets, as stiff as the points allow.

    A screen or a curled sheet affords a stiff one, which averages the errors of many points; a crumpled one
    does not. Stiffer is right as long as no patch's mean distance grows by more than noise makes it grow.
    Cross-validation would not tell: under moire neighbours err alike over many squares. Errors have long
    tails, so distances are not squared and far points are weighed down.
    """
    known = weight > 0

    @cache
    def distances(stiffness: float) -> np.ndarray:
        return np.linalg.norm(offsets - smooth_offsets(offsets, weight, stiffness)[0], axis=-1)

    def climb(limits: dict[float, float]) -> float:
        chosen = next(iter(limits))
        for stiffness, limit in limits.items():
            means = (patch_means(distances(s), known) for s in (stiffness, chosen))
            if np.divide(*means).max() > limit:
                break
            chosen = stiffness
        return chosen

    stiffness = climb(SCREEN)
    if stiffness == next(iter(SCREEN)):
        stiffness = climb(SHEET)
    distance = distances(stiffness)
    spread = 1.5 * np.median(distance[known]) + 1e-6
    return smooth_offsets(offsets, weight / (1 + (distance / spread) ** 2), stiffness)[0]


def patch_means(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The means of known values (44, 57) in each of PATCHES with enough of them; of all where none has."""
    means = [
        values[rows, columns][known[rows, columns]].mean()
        for rows in cuts(GRID_ROWS, PATCHES[0])
        for columns in cuts(GRID_COLUMNS, PATCHES[1])
        if known[rows, columns].sum() >= PATCH_POINTS
    ]
    return np.array(means or [values[known].mean()]) + 1e-9


def cuts(length: int, count: int) -> list[slice]:
    """So many even slices of a length."""
    edges = np.linspace(0, length, count + 1).astype(int)
    return [slice(*pair) for pair in pairwise(edges)]


def reject_outliers(offsets: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, float]:
    """Which labelled points a smooth surface confirms (44, 57) bool, and their median distance, px."""
    weight = labelled.astype(np.float64)
    for _ in range(3):
        surface, _ = smooth_offsets(offsets, weight, JUDGE_STIFFNESS)
        distance = np.where(labelled, np.linalg.norm(offsets - surface, axis=-1), np.inf)
        median = float(np.median(distance[labelled]))
        spread = max(median, OUTLIER_SQUARES / OUTLIER_SIGMAS * FRAME_PX_PER_SQUARE)
        weight = labelled / (1 + (distance / (2 * spread)) ** 2)
    return distance < OUTLIER_SIGMAS * spread, median


def judge_grid(
    gridpoints: np.ndarray,
    seen: np.ndarray,
    residual: float,
    probability: np.ndarray,
    page: PageFound,
    ends: float,
) -> dict[str, float]:
    """What the lattice (44, 57, 2), seen (44, 57) px of the frame, has for itself, each 0..1.

    points: the share of them that were seen. smooth: falls with their median distance from a smooth surface.
    sure: their mean probability (N,). names: the share of the 13 lead names that lie on the lattice.
    letters: their mean probability of being the right ones, against PLAIN_LETTERS. ends: the mean probability
    of the leads' ends, against PLAIN_ENDS.
    """
    markers = map_points(page.points, page.homography)
    misplaced = np.linalg.norm(markers - gridpoints[MARKER_ROWS, MARKER_COLUMNS], axis=1)
    return {
        "points": float(seen.mean()),
        "smooth": float(np.exp(-residual / (RESIDUAL_SCALE * FRAME_PX_PER_SQUARE))),
        "sure": float(probability.mean()),
        "names": float((misplaced < MARKER_TOLERANCE * FRAME_PX_PER_SQUARE).mean()),
        "letters": min(float(page.letters.mean()) / PLAIN_LETTERS, 1.0),
        "ends": min(ends / PLAIN_ENDS, 1.0),
    }


def calibrate(gridpoint_xy: np.ndarray, seen: np.ndarray, shape: tuple[int, ...]) -> Calibration:
    """The scale of a lattice (44, 57, 2) px of a (height, width) image, from its seen (44, 57) points."""
    steps = (np.diff(gridpoint_xy, axis=1), np.diff(gridpoint_xy, axis=0))
    px_per_mm = [np.median(np.linalg.norm(step, axis=-1)) / SQUARE_MM for step in steps]
    homography, _ = cv2.findHomography(
        CELLS[seen][:, ::-1].astype(np.float64), gridpoint_xy[seen].astype(np.float64)
    )
    return Calibration(np.array(px_per_mm, np.float64), measure_aspect(homography, shape))


def measure_aspect(homography: np.ndarray, shape: tuple[int, ...]) -> float:
    """Height over width of the squares on the paper, as a camera saw them in a (height, width) image.

    homography (3, 3): squares (column, row) to px of the image. For a camera of focal length f whose axis
    meets the image's middle, a square's sides are the first two columns with their third component times f
    (Zhang 2000, doi 10.1109/34.888718). f is not known: of all between FOCAL_LENGTHS, that nearest to 1.
    """
    height, width = shape[:2]
    middle = np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]])
    columns = (middle @ homography)[:, :2]
    focal = np.array(FOCAL_LENGTHS) * max(height, width)
    sides = np.hypot(np.linalg.norm(columns[:2], axis=0), np.outer(focal, columns[2]))
    low, high = np.sort(sides[:, 1] / sides[:, 0])
    return float(np.clip(1.0, low, high))


def decode_grid(probability: np.ndarray, page: PageFound, ends: np.ndarray | None = None) -> GridFound:
    """The lattice from the (h, w) map of grid-point probabilities over the stage-1 frame.

    ends: the (h, w) map of the leads' ends, if the network has one.
    Raises PageNotFound when too few points lie as on a page.
    """
    stride = FRAME_WIDTH / probability.shape[1]
    peaks, peak_probability = find_peaks(probability, stride)
    markers = map_points(page.points, page.homography)
    label = label_peaks(peaks, markers)
    agreement = 1.0
    if ends is not None:
        label, agreement = renumber(peaks, label, ends)
    offsets = peaks[label] - REFERENCE
    seen, residual = reject_outliers(offsets, label >= 0)
    weight = np.where(seen, peak_probability[label], 0.0)
    weight[[0, -1]] *= BORDER_WEIGHT
    weight[:, [0, -1]] *= BORDER_WEIGHT
    frame_xy = REFERENCE + smooth_best(offsets, weight)
    gridpoint_xy = map_points(frame_xy, np.linalg.inv(page.homography)).astype(np.float32)
    parts = judge_grid(frame_xy, seen, residual, peak_probability[label[seen]], page, agreement)
    return GridFound(gridpoint_xy, seen, residual, parts, page.homography, offsets, weight)


def refit_grid(grid: GridFound, places: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The lattice (44, 57, 2) float32 px of the unturned image, of a page whose columns are not even.

    places (44, 57) are those of the columns in each row, in squares of the frame, as their lines were
    measured over all rows at once. What the points seen lie off them is smooth and says how the rows differ.
    Stage 1 takes lines for even, so that points of columns near (57,) bool a step do not count.
    """
    uneven = np.zeros_like(grid.offsets)
    uneven[..., 0] = (places - np.arange(GRID_COLUMNS)) * FRAME_PX_PER_SQUARE
    sheet = smooth_best(grid.offsets - uneven, np.where(near, 0.0, grid.weight))
    mean = sheet[..., 0].mean(axis=0)
    sheet[..., 0] -= mean
    frame_xy = REFERENCE + uneven + sheet
    return map_points(frame_xy, np.linalg.inv(grid.homography)).astype(np.float32)


@torch.inference_mode()
def find_grid(
    upright: np.ndarray, page: PageFound, net: torch.nn.Module, device: torch.device | str = "cpu"
) -> GridFound:
    """The lattice of the page in the unturned (H, W, 3) uint8 image.

    One run of stage 1; where that saw less than CLEAR_SHARE of the points it runs again on the page as the
    points seen straighten it, as long as the score rises. Raises PageNotFound with the reason.
    """
    grid = look(upright, page, net, device)
    for _ in range(MORE_LOOKS):
        if grid.seen.mean() >= CLEAR_SHARE:
            break
        seen = grid.gridpoint_xy[grid.seen].astype(np.float64)
        homography, _ = cv2.findHomography(seen, REFERENCE[grid.seen], cv2.RANSAC, FRAME_PX_PER_SQUARE)
        if homography is None:
            break
        try:
            again = look(upright, replace(page, homography=homography), net, device)
        except PageNotFound:
            break
        if again.score <= grid.score:
            break
        grid = again
    return grid


def look(upright: np.ndarray, page: PageFound, net: torch.nn.Module, device: torch.device | str) -> GridFound:
    """One run of stage 1."""
    tensor = to_tensor(warp_to_frame(upright, page.homography)).to(device)
    maps = {head: logits[0, 0].float().sigmoid().cpu().numpy() for head, logits in net(tensor).items()}
    return decode_grid(maps["gridpoint"], page, maps.get("leadend"))
