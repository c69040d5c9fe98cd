"""Smooth surfaces over a lattice: thin plates as smooth as the points allow, and outlier rejection.

A lattice has R rows and C columns: 44 and 57 for the competition's page.
"""

from functools import cache, lru_cache
from itertools import pairwise

import numpy as np
from scipy.sparse.linalg import LinearOperator, cg

from configs.stage1 import FRAME_PX_PER_SQUARE

OUTLIER_SMOOTHING = 10.0  # smoothing of the surface for outlier rejection; the length scale is its 4th root
# Smoothings of the final surface, in the order of trying, each with the factor by which the mean distance of
# the points from the surface may grow at that step; those for screens and smooth sheets come before those for
# crumpled paper. Chosen on drawn pages.
PAPER_SMOOTHINGS = {0.1: np.inf, 0.3: 1.50, 1.0: 1.45}
SCREEN_SMOOTHINGS = {1.0: np.inf, 10.0: 1.65, 30.0: 1.17, 100.0: 1.10}
TILES = (4, 5)  # rows and columns of the tiles of the page that are judged one by one
MIN_TILE_POINTS = 30  # number of points from which on a tile counts
OUTLIER_SIGMAS = 4.0  # distance of an outlier from the surface in standard deviations
OUTLIER_SQUARES = 0.12  # squares, distance within which a point is never an outlier
CG_TOLERANCE = 1e-6  # relative residual at which the conjugate gradients stop
CG_MAX_ITERATIONS = 200  # greatest number of iterations; a page seen in part takes 30


@lru_cache(maxsize=16)
def bending_modes(rows: int, columns: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The bending modes of a free plate over the lattice, and their energies.

    Returns the modes (R, R) of a column and (C, C) of a row as columns of matrices, and the energies (R, C)
    of their products. The energy of a beam free at both ends is that of its second differences. A
    product of two beam modes has the squared sum of the roots of both energies; twisting costs nothing.
    """
    modes, roots = [], []
    for count in (rows, columns):
        second = np.diff(np.eye(count), n=2, axis=0)
        energy, shapes = np.linalg.eigh(second.T @ second)
        modes.append(shapes)
        roots.append(np.sqrt(energy.clip(0)))
    return modes[0], modes[1], np.add.outer(*roots) ** 2


def fit_thin_plate(offsets: np.ndarray, weight: np.ndarray, smoothing: float) -> tuple[np.ndarray, float]:
    """A smoothing thin plate over offsets (R, C, n) with weights (R, C), 0 where unknown: (R, C, n).

    Also returns the energy that it minimises: weighted squared distance + smoothing * bending energy. Gaps
    are bridged smoothly, and the surface is extrapolated linearly. The coefficients of bending_modes are
    solved for by preconditioned conjugate gradients.
    """
    down, across, energy = bending_modes(*weight.shape)
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
    system, inverse = (LinearOperator((size, size), each, dtype=np.float64) for each in (apply, precondition))
    options = {"rtol": CG_TOLERANCE, "maxiter": CG_MAX_ITERATIONS, "M": inverse}
    solutions = [cg(system, to_modes(each).ravel(), **options)[0] for each in known]
    solved = np.stack(solutions).reshape(-1, *energy.shape)
    surface = down @ solved @ across.T
    total_energy = float((weight * known * (known - surface)).sum())
    return surface.transpose(1, 2, 0), total_energy


def fit_smoothest_plate(offsets: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """The thin plate of fit_thin_plate (R, C, n) with as much smoothing as the points allow.

    A screen or a curled sheet allows much smoothing, which averages the errors of many points; crumpled paper
    does not. The smoothing is raised while no tile's mean distance grows by more than noise explains.
    Cross-validation would fail: under moire the errors of neighbours are correlated over many squares. The
    errors have long tails, so distances are not squared and distant points are weighted down.
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
    """The means of the known values (R, C) in tiles with MIN_TILE_POINTS; the overall mean if none has."""
    means = [
        values[rows, columns][known[rows, columns]].mean()
        for rows in even_slices(values.shape[0], TILES[0])
        for columns in even_slices(values.shape[1], TILES[1])
        if known[rows, columns].sum() >= MIN_TILE_POINTS
    ]
    return np.array(means or [values[known].mean()]) + 1e-9


def even_slices(length: int, count: int) -> list[slice]:
    """`count` slices of about equal length that cover 0..length."""
    edges = np.linspace(0, length, count + 1).astype(int)
    return [slice(*pair) for pair in pairwise(edges)]


def reject_outliers(offsets: np.ndarray, labelled: np.ndarray) -> tuple[np.ndarray, float]:
    """The inliers of a smooth surface among the labelled points, (R, C) bool, and the median distance, px.

    offsets (R, C, 2) px, used where labelled (R, C) bool.
    """
    weight = labelled.astype(np.float64)
    for _ in range(3):
        surface, _ = fit_thin_plate(offsets, weight, OUTLIER_SMOOTHING)
        distance = np.where(labelled, np.linalg.norm(offsets - surface, axis=-1), np.inf)
        median = float(np.median(distance[labelled]))
        spread = max(median, OUTLIER_SQUARES / OUTLIER_SIGMAS * FRAME_PX_PER_SQUARE)
        weight = labelled / (1 + (distance / (2 * spread)) ** 2)
    return distance < OUTLIER_SIGMAS * spread, median
