"""From the peaks of a grid-point map to numbered grid points: the row and column of each of them."""

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

PEAK_PROBABILITY = 0.2  # probability above which a maximum is a grid point
PEAK_SPACING = 0.5  # squares, least distance between maxima
PEAK_REACH = 0.3  # squares, half the side of the window for a peak's centroid
GROWTH_TOLERANCE = 0.35  # squares, greatest distance of a neighbour from its expected position
GROWTH_RADIUS = 2  # squares, sigma of the Gaussian weights of labelled points in predicting the next ones
GRADIENT_RIDGE = 1.0  # squares^2, ridge term that damps gradients where the labelled points have less spread
WHOLE_SHARE = 0.95  # share of the grid points in one patch from which on no other patch is sought
MIN_PATCH_POINTS = 6  # number of points from which on a patch of neighbours is used
PATCH_REACH = 3  # squares around a starting point within which that many free points must lie
KEYPOINT_WEIGHT = 0.1  # weight of a lead label relative to a grid point
MIN_SEEN = 60  # least number of grid points seen, of GRID_ROWS * GRID_COLUMNS
BOUNDARY_REACH = 0.25  # squares around its nominal position within which a lead boundary is searched for
MAX_GRID_OFFSET = 3  # squares by which the lead boundaries may shift the numbering
MIN_BOUNDARY_PROBABILITY = 0.25  # mean probability of the lead boundaries from which on they may shift it
BOUNDARY_MARGIN = 0.1  # mean probability by which a shifted numbering must exceed the present one


def find_peaks(probability: np.ndarray, stride: float) -> tuple[np.ndarray, np.ndarray]:
    """The maxima of a probability map (h, w): (N, 2) float64 (x, y) px of the frame, and (N,) probabilities.

    The position of a peak is the centroid of the probability around it; `stride` is px of the frame per px of
    the map.
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
    """Offsets of n cells predicted from the labelled points nearby, by a local linear fit: (n, 2).

    offsets (44, 57, 2) px, used where labelled (44, 57) bool; where (44, 57) bool selects the n cells, each
    with a labelled point within 2 * GROWTH_RADIUS squares.
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
    first = [moment(known, *power) for power in ((0, 0), (1, 0), (0, 1))]  # three (n, 3): of 1 and offsets
    normal = np.empty((len(first[0]), 3, 3))
    for i, values in enumerate(first):
        normal[:, i, 0] = normal[:, 0, i] = values[:, 0]
    normal[:, 1, 1] = moment(ones, 2, 0) + GRADIENT_RIDGE
    normal[:, 2, 2] = moment(ones, 0, 2) + GRADIENT_RIDGE
    normal[:, 1, 2] = normal[:, 2, 1] = moment(ones, 1, 1)
    return np.linalg.solve(normal, np.stack([values[:, 1:] for values in first], axis=1))[:, 0]


def grow_labels(
    peaks: np.ndarray, label: np.ndarray, free: np.ndarray, reference: np.ndarray = REFERENCE
) -> np.ndarray:
    """Assign free peaks to cells, neighbour by neighbour: (R, C) int, index of the peak or -1.

    peaks (N, 2) px of the frame, free (N,) bool; growth starts from label (R, C) int. `reference` (R, C, 2)
    is an even lattice in px of the frame, that of the competition's page unless given.
    """
    label, free = label.copy(), free.copy()
    free[label[label >= 0]] = False
    tree = cKDTree(peaks)
    while True:
        labelled = label >= 0
        frontier = ~labelled & (cv2.dilate(labelled.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0)
        expected = smooth_locally(peaks[label] - reference, labelled, frontier)
        distance, nearest = tree.query(reference[frontier] + expected)
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
    """Peaks (N, 2) in patches of neighbours, the largest first: each (44, 57) int as in grow_labels.

    Within a patch the cells are consistent; the whole patch may be off by a square or two, as its first cell
    is estimated from the lead labels (13, 2), NaN where unknown. All in px of the frame.
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
    """Lead labels (13, 2) px of the frame as offsets (44, 57, 2) px and weights (44, 57), 0 where unknown."""
    offsets, weight = np.zeros((GRID_ROWS, GRID_COLUMNS, 2)), np.zeros((GRID_ROWS, GRID_COLUMNS))
    offsets[LABEL_ROWS, LABEL_COLUMNS] = keypoints - REFERENCE[LABEL_ROWS, LABEL_COLUMNS]
    weight[LABEL_ROWS, LABEL_COLUMNS] = np.where(np.isfinite(keypoints[:, 0]), KEYPOINT_WEIGHT, 0)
    return offsets, weight


def place_patch(peaks: np.ndarray, patch: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """The labels (44, 57) of a patch, moved by whole squares to fit the lead labels (13, 2) near it."""
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
    """The labels (44, 57) merged with a patch's, moved by the whole squares that give the least energy.

    Points without a cell count as if they were GROWTH_TOLERANCE away from one.
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
    """Labels (44, 57) moved down by `rows` and right by `columns`; those beyond the lattice are dropped."""
    moved = np.full_like(label, -1)
    target, source = [], []
    for step in (rows, columns):
        target.append(slice(max(step, 0), step if step < 0 else None))
        source.append(slice(max(-step, 0), -step if step > 0 else None))
    moved[tuple(target)] = label[tuple(source)]
    return moved


def label_peaks(peaks: np.ndarray, keypoints: np.ndarray) -> np.ndarray:
    """The cells of peaks (N, 2): (44, 57) int, index of the peak or -1.

    keypoints (13, 2) are the lead labels, NaN where unknown; both are px of the frame. Patches of neighbours
    are grown and merged from the largest on. Raises PageNotFound when too few peaks form a grid.
    """
    if len(peaks) < MIN_SEEN:
        raise PageNotFound(f"only {len(peaks)} grid points seen, {MIN_SEEN} needed")
    patches = find_patches(peaks, keypoints)
    if not patches:
        raise PageNotFound(f"none of the {len(peaks)} points seen form a grid")
    label = place_patch(peaks, patches[0], keypoints)
    for patch in patches[1:]:
        if ((label < 0) & (patch >= 0)).sum() >= MIN_PATCH_POINTS:
            label = join_patch(peaks, label, patch, keypoints)
    label = grow_labels(peaks, label, np.ones(len(peaks), bool))
    if (label >= 0).sum() < MIN_SEEN:
        raise PageNotFound(f"only {(label >= 0).sum()} grid points form a grid, {MIN_SEEN} needed")
    return label


def correct_grid_offset(
    peaks: np.ndarray, label: np.ndarray, boundaries: np.ndarray
) -> tuple[np.ndarray, float]:
    """Labels (44, 57) moved by whole squares to fit the lead boundaries, and the latter's mean probability.

    peaks (N, 2) px of the frame; boundaries (h, w) is the map of boundary probabilities. Lead labels are only
    near the starts of the leads, whereas boundaries are exact; but a page seen in part may show few of them,
    and then the labels stay as they are.
    """
    stride = FRAME_WIDTH / boundaries.shape[1]
    reach = 2 * round(BOUNDARY_REACH * FRAME_PX_PER_SQUARE / stride) + 1
    highest = cv2.dilate(boundaries.astype(np.float32), np.ones((reach, reach), np.uint8))
    labelled = label >= 0
    surface, _ = fit_thin_plate(peaks[label] - REFERENCE, labelled.astype(np.float64), OUTLIER_SMOOTHING)
    steps = range(-MAX_GRID_OFFSET, MAX_GRID_OFFSET + 1)
    found = {}
    for rows in steps:
        for columns in steps:
            places = np.array(LEAD_BOUNDARIES) + (rows, columns)
            places = rescale(lattice_at(REFERENCE + surface, places), 1 / stride)
            x, y = np.round(places).astype(int).T
            inside = (x >= 0) & (x < boundaries.shape[1]) & (y >= 0) & (y < boundaries.shape[0])
            found[rows, columns] = float(highest[y[inside], x[inside]].sum()) / len(LEAD_BOUNDARIES)
    rows, columns = max(found, key=found.__getitem__)
    if found[rows, columns] < max(MIN_BOUNDARY_PROBABILITY, found[0, 0] + BOUNDARY_MARGIN):
        return label, found[0, 0]
    return shift_cells(label, -rows, -columns), found[rows, columns]
