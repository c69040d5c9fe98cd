"""The relations of the limb leads: I + III = II (Einthoven), aVR + aVL + aVF = 0 (Goldberger).

In its first quarter the competition's page shows I, II and III in three rows and II once more in the rhythm
strip: four readings of two unknowns. In the second it shows aVR, aVL, aVF and again II. The readings have
independent errors, so the least-squares solution is nearer to the truth than any of them, and a stretch that
was misread in one row is corrected from the others. The precordial leads are unconstrained.
"""

import numpy as np
from scipy.ndimage import convolve1d

from configs.layouts import COMPETITION, Layout, check_shape

TOLERANCE_MV = 0.05  # error at which the weight of a reading is halved
WINDOW_S = 0.06  # seconds over which the error of a reading is averaged: about a QRS complex
AMBIGUITY_SHARE = 0.95  # share of what the worst reading explains from which the second may be the wrong one
OFFSET_ITERATIONS = 3  # iterations in which the offsets of the zero lines are estimated
FLAT_MV = 0.03  # range below which a lead is flat (disconnected); the relations would give it a signal


def reconcile_limbs(
    rows: np.ndarray, confidence: np.ndarray | None = None, layout: Layout = COMPETITION
) -> tuple[np.ndarray, np.ndarray]:
    """Rows (R, L) mV of a layout, fitted to the relations of the limb leads where these are simultaneous.

    Readings are weighted by their confidence (R, L) in 0..1, where given; the worst one is weighted down.
    Also returns the residuals (R, G) mV rms of each row in each of the G parts of the page that
    `Layout.limb_groups` lists, a measure of quality that needs no ground truth; NaN for rows without a limb
    lead there. Each reading keeps its own zero line, which the relations do not determine. Readings stay as
    they are where the others do not agree without the worst, where the worst cannot be identified (I or III
    of four readings, for instance), and where one of them is clearly flat. Raises ValueError for another
    number of rows.
    """
    check_shape(rows, layout.row_count)
    groups = layout.limb_groups()
    reconciled = np.array(rows, np.float64)
    residuals = np.full((layout.row_count, len(groups)), np.nan)
    window = np.hanning(max(round(WINDOW_S * rows.shape[1] / layout.duration_s), 1) + 2)[1:-1]
    for index, (part, segments, relation) in enumerate(groups):
        inside = part.span(rows.shape[1])
        lines = [segment.row for segment in segments]
        readings = reconciled[lines, inside].copy()
        if not readings.size:
            continue
        weight = np.ones_like(readings) if confidence is None else confidence[lines, inside].clip(1e-3, 1)
        offset = zero_lines(relation, readings)
        reading_weight, fit_weight = weigh_readings(relation, readings - offset, window / window.sum())
        fitted = solve(relation, weight * reading_weight, readings - offset) + offset
        if not is_flat(readings, weight).any():
            reconciled[lines, inside] += fit_weight * (fitted - readings)
        residuals[lines, index] = np.sqrt(np.mean((readings - fitted) ** 2, axis=1))
    return reconciled.astype(rows.dtype), residuals


def is_flat(readings: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Whether each reading (N, n) mV is flat and clearly seen, by weights (N, n) in 0..1: (N,) bool."""
    low, high = np.percentile(readings, [1, 99], axis=1)
    return (high - low < FLAT_MV) & (weight.mean(axis=1) > 0.5)


def zero_lines(relation: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """The offset of each reading's zero line, (N, 1) mV, as far as the relations determine it."""
    offset = np.zeros((len(readings), 1))
    for _ in range(OFFSET_ITERATIONS):
        fitted = solve(relation, np.ones_like(readings), readings - offset)
        offset += np.median(readings - offset - fitted, axis=1, keepdims=True)
    return offset


def weigh_readings(
    relation: np.ndarray, readings: np.ndarray, window: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The weight of each reading (N, n) mV, (N, n) in 0..1, and the weight of the fit, (n,) in 0..1.

    The contradiction to the relations is a vector in a plane, in which an error of each reading has its own
    direction. The reading whose direction explains most of the contradiction is taken for the worst.
    """
    plane = np.linalg.svd(relation)[0][:, relation.shape[1] :].T  # (N - 2, N)
    directions = plane / np.linalg.norm(plane, axis=0)
    contradiction = plane @ readings  # (N - 2, n)
    total = convolve1d((contradiction**2).sum(axis=0), window, mode="nearest")
    explained = convolve1d((directions.T @ contradiction) ** 2, window, axis=1, mode="nearest")  # (N, n)
    worst = explained.argmax(axis=0)
    ranked = np.sort(explained, axis=0)
    error = ranked[-1] / TOLERANCE_MV**2
    weight = np.ones_like(readings)
    np.put_along_axis(weight, worst[None], 1 / (1 + error)[None], axis=0)
    fit_weight = 1 / (1 + (total - ranked[-1]).clip(0) / TOLERANCE_MV**2)
    return weight, np.where(ranked[-2] > AMBIGUITY_SHARE * ranked[-1], fit_weight / (1 + error), fit_weight)


def solve(relation: np.ndarray, weight: np.ndarray, readings: np.ndarray) -> np.ndarray:
    """Readings (N, n) fitted to a relation (N, 2) by least squares with weights (N, n): (N, n)."""
    normal = np.einsum("rt,ri,rj->tij", weight, relation, relation)
    right = np.einsum("rt,ri,rt->ti", weight, relation, readings)
    return relation @ np.linalg.solve(normal, right[..., None])[..., 0].T
