"""Stage 2's maps to millivolts: a path through each row's map, refined to a fraction of a pixel."""

from itertools import pairwise

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator

from configs.page import DURATION_S, RECTIFIED, ROWS
from configs.stage2 import CROP_TOP
from utils.trace import rows_from_columns, segment_columns, segments

STEP_COST = 0.3  # per bin and column: the price of a jump, in nats
FLOOR = 6.0  # nats: no column is worse than this, so that a hole does not bend the path
CENTROID_REACH = 24  # bins on either side of the path
START_COLUMNS = 8  # 20 ms: the calibration pulse falls where the signal starts, and hides it; held flat
UNSURE = 0.05  # probability about the path under which a column counts as a gap


def lead_starts(first: int, last: int) -> np.ndarray:
    """Which columns first <= x < last begin a lead, in each of the four rows: (4, last - first) bool."""
    length = int(DURATION_S * 1000)
    starts = np.zeros((len(ROWS) + 1, last - first), bool)
    for row, begins in enumerate(starts):
        for start, stop in segments(length, row)[1:]:
            begins[segment_columns(start, stop, length, RECTIFIED)[0] - first] = True
    return starts


def track(cost: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """The cheapest path through (R, H, W) costs with STEP_COST per bin of a jump: (R, W) bins.

    Viterbi's recursion; with a linear price the minimum over all predecessors is two running minima. A jump
    into a column where a new lead starts, (R, W) bool, costs nothing.
    """
    starts = np.zeros((cost.shape[0], cost.shape[2]), bool) if starts is None else starts
    rows, height, width = cost.shape
    cost = np.ascontiguousarray(cost.transpose(2, 0, 1))  # (W, R, H)
    slope = (STEP_COST * np.arange(height)).astype(np.float32)
    total = np.empty_like(cost)
    total[0] = cost[0]
    for x in range(1, width):
        up = np.minimum.accumulate(total[x - 1] - slope, axis=1) + slope
        down = np.minimum.accumulate((total[x - 1] + slope)[:, ::-1], axis=1)[:, ::-1] - slope
        np.minimum(up, down, out=up)
        if starts[:, x].any():
            up[starts[:, x]] = total[x - 1][starts[:, x]].min(axis=1, keepdims=True)
        np.add(up, cost[x], out=total[x])
    path = np.empty((rows, width), np.int64)
    path[:, -1] = total[-1].argmin(axis=1)
    distance = STEP_COST * np.abs(np.subtract.outer(np.arange(height), np.arange(height)))
    for x in range(width - 2, -1, -1):
        jump = distance[path[:, x + 1]]
        jump[starts[:, x + 1]] = 0
        path[:, x] = (total[x] + jump).argmin(axis=1)
    return path


def refine(probability: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centroid of (R, H, W) probabilities about a path (R, W), in bins, and the mass it rests on."""
    offsets = np.arange(-CENTROID_REACH, CENTROID_REACH + 1)
    bins = path[:, None] + offsets[:, None]  # (R, 2 reach + 1, W)
    inside = (bins >= 0) & (bins < probability.shape[1])
    weight = np.take_along_axis(probability, bins.clip(0, probability.shape[1] - 1), axis=1) * inside
    mass = weight.sum(axis=1)
    return (weight * bins).sum(axis=1) / np.maximum(mass, 1e-12), mass


def bridge(y: np.ndarray, sure: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """Columns of (R, W) that are not sure, bridged by a shape-preserving cubic between those that are.

    A lead, from one of `starts` (R, W) bool to the next, knows nothing of its neighbours.
    """
    bridged = y.copy()
    for row in range(len(y)):
        bounds = [0, *([] if starts is None else np.flatnonzero(starts[row])), y.shape[1]]
        for left, right in pairwise(bounds):
            columns = np.arange(left, right)
            known = columns[sure[row, left:right]]
            if 2 <= len(known) < len(columns):
                inner = np.clip(columns, known[0], known[-1])
                bridged[row, left:right] = PchipInterpolator(known, y[row, known])(inner)
    return bridged


def decode_rows(logits: torch.Tensor, row_stride: int, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Logits (4, H, W) of one page to rows (4, length) mV over ten seconds, and confidence (4, W) in 0..1."""
    logits = logits.float()
    first = int(RECTIFIED.signal_start)
    last = int(np.ceil(RECTIFIED.signal_stop)) + 1
    log_probability = torch.log_softmax(logits[:, :, first:last], dim=1).cpu().numpy()
    starts = lead_starts(first, last)
    path = track(np.minimum(-log_probability, FLOOR), starts)
    bins, confidence = refine(np.exp(log_probability), path)
    bins = bridge(bins, confidence > UNSURE, starts)
    bins[:, :START_COLUMNS] = bins[:, START_COLUMNS, None]
    y = (bins + 0.5) * row_stride - 0.5 + CROP_TOP
    padding = ((0, 0), (first, RECTIFIED.width - last))
    rows = rows_from_columns(np.pad(y, padding, mode="edge"), length)
    return rows, np.pad(confidence.clip(0, 1), ((0, 0), (first, logits.shape[2] - last)))
