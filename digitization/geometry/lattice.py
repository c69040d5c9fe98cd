"""Peaks of a map of grid points to numbered grid points: which row and column each of them is."""

import cv2
import numpy as np
from scipy.spatial import cKDTree

from configs.page import GRID_COLUMNS, GRID_ROWS, LEAD_BOUNDARIES
from configs.stage1 import FRAME_PX_PER_SQUARE, FRAME_WIDTH
from digitization.geometry.frame import LABEL_COLUMNS, LABEL_ROWS, REFERENCE
from digitization.geometry.locate import PageNotFound
from digitization.geometry.rectify import lattice_at
from digitization.geometry.surface import (
    OUTLIER_SMOOTHING,
    fit_thin_plate,
)
from utils.rescaling import rescale

PEAK_PROBABILITY = 0.2  # below it a maximum is no grid point
PEAK_SPACING = 0.5  # squares between maxima
PEAK_REACH = 0.3  # squares, half the window of a peak's centroid
GROWTH_TOLERANCE = 0.35  # squares from the expected place, beyond which a peak is no neighbour
GROWTH_RADIUS = 2  # squares, over which the labelled points say where the next ones are
GRADIENT_RIDGE = 1.0  # squares^2 of labelled points' spread, below which gradients are not believed
WHOLE_SHARE = 0.95  # of the grid points in one patch: then no other is looked for
MIN_PATCH_POINTS = 6  # points, of a patch of neighbours worth placing
PATCH_REACH = 3  # squares about some point of such a patch in which as many are
KEYPOINT_WEIGHT = 0.1  # of a lead name against a grid point
MIN_SEEN = 60  # points, of GRID_ROWS * GRID_COLUMNS
BOUNDARY_REACH = 0.25  # squares about its place in which the end of a lead is looked for
MAX_GRID_OFFSET = 3  # squares by which the ends of the leads may move the numbering
MIN_BOUNDARY_PROBABILITY = 0.25  # mean probability of the lead ends from which on they decide
BOUNDARY_MARGIN = 0.1  # by which another numbering has to be likelier


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
    return rescale(np.stack([x, y], axis=1), stride), smooth[ys, xs].astype(np.float64)


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


def find_patches(peaks: np.ndarray, keypoints: np.ndarray) -> list[np.ndarray]:
    """Peaks (N, 2) in patches of neighbours, the largest first: each (44, 57) int, the peak's index or -1.

    Within a patch the cells are right among themselves; the whole patch may be off by a square or two, as
    it starts from where the lead labels (13, 2), NaN where unknown, put it. All in px of the frame.
    """
    drift = fit_thin_plate(*keypoint_offsets(keypoints), OUTLIER_SMOOTHING)[0]
    tree, places = cKDTree(peaks), cKDTree((REFERENCE + drift).reshape(-1, 2))
    around, _ = tree.query(peaks, k=min(5, len(peaks)))
    regular = (np.abs(around[:, 1:] / FRAME_PX_PER_SQUARE - 1) < 0.35).sum(axis=1) >= 3
    free = np.ones(len(peaks), bool)
    patches = []
    middle = REFERENCE[GRID_ROWS // 2, GRID_COLUMNS // 2]
    for start in np.argsort(np.linalg.norm(peaks - middle, axis=1)):
        if not (regular[start] and free[start]):
            continue
        if (
            free[tree.query_ball_point(peaks[start], PATCH_REACH * FRAME_PX_PER_SQUARE)].sum()
            < MIN_PATCH_POINTS
        ):
            continue
        label = np.full((GRID_ROWS, GRID_COLUMNS), -1)
        label.ravel()[places.query(peaks[start])[1]] = start
        label = grow_labels(peaks, label, free)
        free[label[label >= 0]] = False
        if (label >= 0).sum() >= MIN_PATCH_POINTS:
            patches.append(label)
        if (label >= 0).mean() >= WHOLE_SHARE:
            break
    return sorted(patches, key=lambda patch: -(patch >= 0).sum())


def keypoint_offsets(keypoints: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lead names (13, 2) px of the frame as offsets (44, 57, 2) and weights (44, 57), 0 where unknown."""
    offsets, weight = np.zeros((GRID_ROWS, GRID_COLUMNS, 2)), np.zeros((GRID_ROWS, GRID_COLUMNS))
    offsets[LABEL_ROWS, LABEL_COLUMNS] = keypoints - REFERENCE[LABEL_ROWS, LABEL_COLUMNS]
    weight[LABEL_ROWS, LABEL_COLUMNS] = np.where(np.isfinite(keypoints[:, 0]), KEYPOINT_WEIGHT, 0)
    return offsets, weight


def place_patch(peaks: np.ndarray, patch: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """The first island's labels (44, 57), moved by whole squares to where most lead labels on it want it."""
    side = 4 * GROWTH_RADIUS + 1
    near = cv2.dilate((patch >= 0).astype(np.uint8), np.ones((side, side), np.uint8)) > 0
    near = near[LABEL_ROWS, LABEL_COLUMNS] & np.isfinite(keypoints).all(axis=1)
    if not near.any():
        return patch
    cells = np.zeros(patch.shape, bool)
    cells[LABEL_ROWS[near], LABEL_COLUMNS[near]] = True
    expected = np.zeros(REFERENCE.shape)
    expected[cells] = REFERENCE[cells] + smooth_locally(peaks[patch] - REFERENCE, patch >= 0, cells)
    misplaced = (keypoints - expected[LABEL_ROWS, LABEL_COLUMNS])[near]
    columns, rows = np.round(np.median(misplaced, axis=0) / FRAME_PX_PER_SQUARE).astype(int)
    return shift_cells(patch, -rows, -columns)


def join_patch(peaks: np.ndarray, label: np.ndarray, patch: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """The labels (44, 57) with an island's put in, moved by the squares that make the smoothest page.

    Points that find no cell count as if they missed one by GROWTH_TOLERANCE.
    """
    points = (label >= 0).sum() + (patch >= 0).sum()

    def total_energy(candidate: np.ndarray) -> float:
        offsets, weight = keypoint_offsets(keypoints)
        labelled = candidate >= 0
        both = labelled & (weight > 0)
        seen = peaks[candidate] - REFERENCE
        misplaced = KEYPOINT_WEIGHT * ((seen - offsets)[both] ** 2).sum()
        offsets[labelled] = seen[labelled]
        weight[labelled] = 1
        dropped = (points - labelled.sum()) * (GROWTH_TOLERANCE * FRAME_PX_PER_SQUARE) ** 2
        return dropped + misplaced + fit_thin_plate(offsets, weight, OUTLIER_SMOOTHING)[1]

    candidates = [
        np.where(label >= 0, label, shift_cells(patch, rows, columns))
        for rows in (-1, 0, 1)
        for columns in (-1, 0, 1)
    ]
    return min(candidates, key=total_energy)


def shift_cells(label: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Labels (44, 57) moved down and right; what leaves the lattice is dropped."""
    moved = np.full_like(label, -1)
    target, source = [], []
    for step in (rows, columns):
        target.append(slice(max(step, 0), step if step < 0 else None))
        source.append(slice(max(-step, 0), -step if step > 0 else None))
    moved[tuple(target)] = label[tuple(source)]
    return moved


def label_peaks(peaks: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """Cells of peaks (N, 2) given the lead labels (13, 2), NaN where unknown, both px of the frame.

    Patches of neighbours are grown, and joined from the largest on. (44, 57) int, the peak's index or -1.
    Raises PageNotFound.
    """
    if len(peaks) < MIN_SEEN:
        raise PageNotFound(f"only {len(peaks)} grid points seen, {MIN_SEEN} needed")
    patches = find_patches(peaks, keypoints)
    if not patches:
        raise PageNotFound(f"none of {len(peaks)} points seen lie as on a grid")
    label = place_patch(peaks, patches[0], keypoints)
    for patch in patches[1:]:
        if ((label < 0) & (patch >= 0)).sum() >= MIN_PATCH_POINTS:
            label = join_patch(peaks, label, patch, keypoints)
    label = grow_labels(peaks, label, np.ones(len(peaks), bool))
    if (label >= 0).sum() < MIN_SEEN:
        raise PageNotFound(f"only {(label >= 0).sum()} grid points lie as on a page, {MIN_SEEN} needed")
    return label


def correct_grid_offset(peaks: np.ndarray, label: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, float]:
    """Labels (44, 57) moved by whole squares to where the leads begin and end, and their mean probability.

    ends (h, w) is the map of their probabilities. Lead names lie near the leads' beginnings, the ends are the
    beginnings themselves, but a page seen in part may show few: then the numbering stays.
    """
    stride = FRAME_WIDTH / ends.shape[1]
    reach = 2 * round(BOUNDARY_REACH * FRAME_PX_PER_SQUARE / stride) + 1
    highest = cv2.dilate(ends.astype(np.float32), np.ones((reach, reach), np.uint8))
    labelled = label >= 0
    surface, _ = fit_thin_plate(peaks[label] - REFERENCE, labelled.astype(np.float64), OUTLIER_SMOOTHING)
    steps = range(-MAX_GRID_OFFSET, MAX_GRID_OFFSET + 1)
    found = {}
    for rows in steps:
        for columns in steps:
            places = np.array(LEAD_BOUNDARIES) + (rows, columns)
            places = rescale(lattice_at(REFERENCE + surface, places), 1 / stride)
            x, y = np.round(places).astype(int).T
            inside = (x >= 0) & (x < ends.shape[1]) & (y >= 0) & (y < ends.shape[0])
            found[rows, columns] = float(highest[y[inside], x[inside]].sum()) / len(LEAD_BOUNDARIES)
    rows, columns = max(found, key=found.__getitem__)
    if found[rows, columns] < max(MIN_BOUNDARY_PROBABILITY, found[0, 0] + BOUNDARY_MARGIN):
        return label, found[0, 0]
    return shift_cells(label, -rows, -columns), found[rows, columns]
