"""Smooth surfaces over the lattice: thin plates as stiff as the points allow, and the points they reject."""

from functools import cache
from itertools import pairwise

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from configs.page import GRID_COLUMNS, GRID_ROWS
from configs.stage1 import FRAME_PX_PER_SQUARE

OUTLIER_SMOOTHING = 10.0  # of the surface against which outliers are judged; it smooths over its 4th root
PAPER_SMOOTHINGS = {
    0.1: np.inf,
    0.3: 1.50,
    1.0: 1.45,
}  # stiffness of the result, and by how much the points' distance
SCREEN_SMOOTHINGS = {
    1.0: np.inf,
    10.0: 1.65,
    30.0: 1.17,
    100.0: 1.10,
}  # may grow with it; chosen on drawn pages (2027)
TILES = (4, 5)  # of the page, rows and columns, that are judged one by one
MIN_TILE_POINTS = 30  # those with fewer do not count
OUTLIER_SIGMAS = 4.0
OUTLIER_SQUARES = 0.12  # never judge points stricter than this
SOLVED = 1e-6  # of a smooth surface's first residual, at which it counts as found
MAX_STEPS = 200  # towards it; a page seen in part takes 30


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


def fit_thin_plate(offsets: np.ndarray, weight: np.ndarray, smoothing: float) -> tuple[np.ndarray, float]:
    """A thin plate through offsets (44, 57, n) with weights (44, 57), 0 where unknown: (44, 57, n).

    With it comes the energy that it minimises: weighted squared distance + stiffness * bending energy.
    Holes are bridged smoothly, and beyond the last points the surface goes on straight. Solved for the modes
    of bending_modes by conjugate gradients; even weights would be solved in one step.
    """
    down, across, energy = bending_modes()
    known = np.where(weight > 0, offsets.transpose(2, 0, 1), 0.0)
    penalty = smoothing * energy
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
    total_energy = float((weight * known * (known - surface)).sum())
    return surface.transpose(1, 2, 0), total_energy


def fit_smoothest_plate(offsets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The thin plate of fit_thin_plate, as stiff as the points allow.

    A screen or a curled sheet affords a stiff one, which averages the errors of many points; a crumpled one
    does not. Stiffer is right as long as no patch's mean distance grows by more than noise makes it grow.
    Cross-validation would not tell: under moire neighbours err alike over many squares. Errors have long
    tails, so distances are not squared and far points are weighed down.
    """
    known = weight > 0

    @cache
    def distances(smoothing: float) -> np.ndarray:
        return np.linalg.norm(offsets - fit_thin_plate(offsets, weight, smoothing)[0], axis=-1)

    def smoothest_within(limits: dict[float, float]) -> float:
        chosen = next(iter(limits))
        for smoothing, limit in limits.items():
            means = (tile_means(distances(s), known) for s in (smoothing, chosen))
            if np.divide(*means).max() > limit:
                break
            chosen = smoothing
        return chosen

    smoothing = smoothest_within(SCREEN_SMOOTHINGS)
    if smoothing == next(iter(SCREEN_SMOOTHINGS)):
        smoothing = smoothest_within(PAPER_SMOOTHINGS)
    distance = distances(smoothing)
    spread = 1.5 * np.median(distance[known]) + 1e-6
    return fit_thin_plate(offsets, weight / (1 + (distance / spread) ** 2), smoothing)[0]


def tile_means(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """The means of known values (44, 57) in each of TILES with enough of them; of all where none has."""
    means = [
        values[rows, columns][known[rows, columns]].mean()
        for rows in cuts(GRID_ROWS, TILES[0])
        for columns in cuts(GRID_COLUMNS, TILES[1])
        if known[rows, columns].sum() >= MIN_TILE_POINTS
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
        surface, _ = fit_thin_plate(offsets, weight, OUTLIER_SMOOTHING)
        distance = np.where(labelled, np.linalg.norm(offsets - surface, axis=-1), np.inf)
        median = float(np.median(distance[labelled]))
        spread = max(median, OUTLIER_SQUARES / OUTLIER_SIGMAS * FRAME_PX_PER_SQUARE)
        weight = labelled / (1 + (distance / (2 * spread)) ** 2)
    return distance < OUTLIER_SIGMAS * spread, median
