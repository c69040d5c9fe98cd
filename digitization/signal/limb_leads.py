"""What the limb leads owe each other: I + III = II (Einthoven), aVR + aVL + aVF = 0 (Goldberger).

In its first quarter a page shows I, II and III in three rows and II once more in the rhythm strip: four
readings of two unknowns. In the second it shows aVR, aVL, aVF and again II. Each reading errs by itself, so
that the least-squares solution is nearer to the truth than any of them, and one row that was misread in
places is mended from the other three. V leads owe nothing to anybody.
"""

import numpy as np
from scipy.ndimage import convolve1d

from configs.leads import check_shape, quarter_bounds
from configs.page import DURATION_S

RELATIONS = (
    np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]),  # I, II, III, II of I, III
    np.array([[-0.5, -0.5], [1.0, -0.5], [-0.5, 1.0], [0.0, 1.0]]),  # aVR, aVL, aVF, II of I, II
)
TOLERANCE = 0.05  # mV: a reading that is off by this weighs half
WINDOW_S = 0.06  # over which a reading's error is taken: about a QRS
AMBIGUOUS = 0.95  # of what the worst reading explains: one that explains as much is no less suspect
OFFSET_ROUNDS = 3
DEAD_MV = 0.03  # a reading that rises and falls by less is a dead lead, which relations would bring to life


def reconcile_limbs(rows: np.ndarray, confidence: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows (4, L) mV of ten seconds, the first half made to fit the limb leads' relations.

    A reading weighs by its confidence (4, L) in 0..1, where given; the one that is furthest off weighs less.
    Also returns the residuals (4, 2) mV rms, of each row in both quarters: how far the readings were off, a
    measure of quality that needs no truth. Each reading keeps its own zero line, which the relations do not
    fix. Readings that contradict each other stay as they are: when the other three do not agree without the
    worst, when nothing says which is the worst (of I and III, say), and when one of them is surely flat.
    """
    check_shape(rows, 4)
    mended = np.array(rows, np.float64)
    residuals = np.zeros((4, 2))
    window = np.hanning(max(round(WINDOW_S * rows.shape[1] / DURATION_S), 1) + 2)[1:-1]
    for quarter, (relation, (start, stop)) in enumerate(
        zip(RELATIONS, quarter_bounds(rows.shape[1])[: len(RELATIONS)], strict=True)
    ):
        readings = mended[:, start:stop].copy()
        if not readings.size:
            continue
        weight = np.ones_like(readings) if confidence is None else confidence[:, start:stop].clip(1e-3, 1)
        offset = zero_lines(relation, readings)
        doubt, trust = suspect(relation, readings - offset, window / window.sum())
        fitted = solve(relation, weight * doubt, readings - offset) + offset
        if not dead(readings, weight).any():
            mended[:, start:stop] += trust * (fitted - readings)
        residuals[:, quarter] = np.sqrt(np.mean((readings - fitted) ** 2, axis=1))
    return mended.astype(rows.dtype), residuals


def dead(readings: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Which readings (4, n) mV are flat where they are sure, by weights (4, n) in 0..1: (4,) bool."""
    low, high = np.percentile(readings, [1, 99], axis=1)
    return (high - low < DEAD_MV) & (weight.mean(axis=1) > 0.5)


def zero_lines(relation: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """(4, 1) mV by which each reading's zero line is off, as far as the relations tell."""
    offset = np.zeros((4, 1))
    for _ in range(OFFSET_ROUNDS):
        fitted = solve(relation, np.ones_like(readings), readings - offset)
        offset += np.median(readings - offset - fitted, axis=1, keepdims=True)
    return offset


def suspect(relation: np.ndarray, readings: np.ndarray, window: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How much each reading (4, n) counts, (4, n) in 0..1, and how far the fit is trusted, (n,) in 0..1.

    What contradicts the relations lies in a plane; each reading, if off, would show along its own direction
    there. The reading whose direction explains most of it is the suspect.
    """
    plane = np.linalg.svd(relation)[0][:, relation.shape[1] :].T  # (2, 4)
    directions = plane / np.linalg.norm(plane, axis=0)
    contradiction = plane @ readings  # (2, n)
    total = convolve1d((contradiction**2).sum(axis=0), window, mode="nearest")
    explained = convolve1d((directions.T @ contradiction) ** 2, window, axis=1, mode="nearest")  # (4, n)
    worst = explained.argmax(axis=0)
    ranked = np.sort(explained, axis=0)
    off = ranked[-1] / TOLERANCE**2
    count = np.ones_like(readings)
    np.put_along_axis(count, worst[None], 1 / (1 + off)[None], axis=0)
    trust = 1 / (1 + (total - ranked[-1]).clip(0) / TOLERANCE**2)
    return count, np.where(ranked[-2] > AMBIGUOUS * ranked[-1], trust / (1 + off), trust)


def solve(relation: np.ndarray, weight: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """The readings (4, n) that the two unknowns of a relation (4, 2) would give, by weights (4, n)."""
    normal = np.einsum("rt,ri,rj->tij", weight, relation, relation)
    right = np.einsum("rt,ri,rt->ti", weight, relation, readings)
    return relation @ np.linalg.solve(normal, right[..., None])[..., 0].T
