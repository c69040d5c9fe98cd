"""The relations of the limb leads: I + III = II (Einthoven), aVR + aVL + aVF = 0 (Goldberger).

In its first quarter a page shows I, II and III in three rows and II once more in the rhythm strip: four
readings of two unknowns. In the second it shows aVR, aVL, aVF and again II. The readings have independent
errors, so the least-squares solution is nearer to the truth than any of them, and a stretch that was misread
in one row is corrected from the other three. The precordial leads are unconstrained.
"""

import numpy as np
from scipy.ndimage import convolve1d

from configs.leads import check_shape, quarter_bounds
from configs.page import DURATION_S

RELATIONS = (  # per quarter: the four readings (rows) as linear combinations of two unknown leads
    np.array([[1.0, 0.0], [1.0, 1.0], [0.0, 1.0], [1.0, 1.0]]),  # I, II, III, II from I and III
    np.array([[-0.5, -0.5], [1.0, -0.5], [-0.5, 1.0], [0.0, 1.0]]),  # aVR, aVL, aVF, II from I and II
)
TOLERANCE_MV = 0.05  # error at which the weight of a reading is halved
WINDOW_S = 0.06  # seconds over which the error of a reading is averaged: about a QRS complex
AMBIGUITY_SHARE = 0.95  # share of what the worst reading explains from which the second may be the wrong one
OFFSET_ITERATIONS = 3  # iterations in which the offsets of the zero lines are estimated
FLAT_MV = 0.03  # range below which a lead is flat (disconnected); the relations would give it a signal


def reconcile_limbs(rows: np.ndarray, confidence: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows (4, L) mV of ten seconds, the first half fitted to the limb leads' relations.

    Readings are weighted by their confidence (4, L) in 0..1, where given; the worst one is weighted down.
    Also returns the residuals (4, 2) mV rms of each row in both quarters, a measure of quality that needs no
    ground truth. Each reading keeps its own zero line, which the relations do not determine. Readings stay as
    they are where the other three do not agree without the worst, where the worst cannot be identified (I or
    III, for instance), and where one of them is clearly flat. Raises ValueError for another number of rows.
    """
    check_shape(rows, 4)
    reconciled = np.array(rows, np.float64)
    residuals = np.zeros((4, 2))
    window = np.hanning(max(round(WINDOW_S * rows.shape[1] / DURATION_S), 1) + 2)[1:-1]
    for quarter, (relation, (start, stop)) in enumerate(
        zip(RELATIONS, quarter_bounds(rows.shape[1])[: len(RELATIONS)], strict=True)
    ):
        readings = reconciled[:, start:stop].copy()
        if not readings.size:
            continue
        weight = np.ones_like(readings) if confidence is None else confidence[:, start:stop].clip(1e-3, 1)
        offset = zero_lines(relation, readings)
        reading_weight, fit_weight = weigh_readings(relation, readings - offset, window / window.sum())
        fitted = solve(relation, weight * reading_weight, readings - offset) + offset
        if not is_flat(readings, weight).any():
            reconciled[:, start:stop] += fit_weight * (fitted - readings)
        residuals[:, quarter] = np.sqrt(np.mean((readings - fitted) ** 2, axis=1))
    return reconciled.astype(rows.dtype), residuals


def is_flat(readings: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Whether each reading (4, n) mV is flat and clearly seen, by weights (4, n) in 0..1: (4,) bool."""
    low, high = np.percentile(readings, [1, 99], axis=1)
    return (high - low < FLAT_MV) & (weight.mean(axis=1) > 0.5)


def zero_lines(relation: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """The offset of each reading's zero line, (4, 1) mV, as far as the relations determine it."""
    offset = np.zeros((4, 1))
    for _ in range(OFFSET_ITERATIONS):
        fitted = solve(relation, np.ones_like(readings), readings - offset)
        offset += np.median(readings - offset - fitted, axis=1, keepdims=True)
    return offset


def weigh_readings(
    relation: np.ndarray, readings: np.ndarray, window: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each reading (4, n) mV, (4, n) in 0..1, and the weight of the fit, (n,) in 0..1.

    The contradiction to the relations is a vector in a plane, in which an error of each reading has its own
    direction. The reading whose direction explains most of the contradiction is taken for the worst.
    """
    plane = np.linalg.svd(relation)[0][:, relation.shape[1] :].T  # (2, 4)
    directions = plane / np.linalg.norm(plane, axis=0)
    contradiction = plane @ readings  # (2, n)
    total = convolve1d((contradiction**2).sum(axis=0), window, mode="nearest")
    explained = convolve1d((directions.T @ contradiction) ** 2, window, axis=1, mode="nearest")  # (4, n)
    worst = explained.argmax(axis=0)
    ranked = np.sort(explained, axis=0)
    error = ranked[-1] / TOLERANCE_MV**2
    weight = np.ones_like(readings)
    np.put_along_axis(weight, worst[None], 1 / (1 + error)[None], axis=0)
    fit_weight = 1 / (1 + (total - ranked[-1]).clip(0) / TOLERANCE_MV**2)
    return weight, np.where(ranked[-2] > AMBIGUITY_SHARE * ranked[-1], fit_weight / (1 + error), fit_weight)


def solve(relation: np.ndarray, weight: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """Readings (4, n) fitted to a relation (4, 2) by least squares with weights (4, n): (4, n)."""
    normal = np.einsum("rt,ri,rj->tij", weight, relation, relation)
    right = np.einsum("rt,ri,rt->ti", weight, relation, readings)
    return relation @ np.linalg.solve(normal, right[..., None])[..., 0].T
