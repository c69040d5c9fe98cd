"""A path through the map of each row, and the y of the trace about it to a fraction of a bin."""

import cv2
import numpy as np

STEP_COST = 0.15  # nats per bin by which the path jumps from one column to the next
MAX_STEP_BINS = 24  # bins per column; half of CENTROID_REACH, as shorter steps hardly change the centroid
MAX_COLUMN_COST = 6.0  # nats, upper limit of the cost in a column, so that a gap does not bend the path
UNSEEN_COST = 3.0  # nats (probability 0.05), cost of the likeliest bin above which a column is unclear
CENTROID_REACH = 48  # bins on either side of the path that count in the centroid
SPIKE_COLUMNS = 4  # columns (10 ms), greatest width of a pacing spike
SPIKE_MASS = 0.9  # share of a column's probability near one y from which on that y is kept


def track(cost: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """The path of least cost through (R, H, W) nats, with STEP_COST per bin of a jump: (R, W) int bins.

    The Viterbi algorithm; as the cost of a jump is linear, the minimum over all predecessors is two running
    minima. A jump into a column where a lead starts, (R, W) bool, costs nothing.
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


def find_path(log_probability: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The path (R, W) int bins through log probabilities (R, H, W): each column's likeliest bin, as a rule.

    Where that jumps or has a low probability, a blot or another row's trace may hide the trace. There, and
    within the distance at which a detour costs more than two jumps, the path is that of `track`. A lead may
    begin at any bin in the columns `starts` (R, W) bool.
    """
    path = log_probability.argmax(axis=1)
    height, width = log_probability.shape[1:]
    reach = int(2 * STEP_COST * height / (MAX_COLUMN_COST - UNSEEN_COST))
    unclear = log_probability.max(axis=1) < -UNSEEN_COST
    unclear[:, 1:] |= (np.abs(np.diff(path, axis=1)) > MAX_STEP_BINS) & ~starts[:, 1:]
    about = np.ones((1, 2 * reach + 1), np.uint8)
    for row, near in enumerate(cv2.dilate(unclear.astype(np.uint8), about) > 0):
        for start, stop in runs(near):
            first, last = max(start - 1, 0), min(stop + 1, width - 1)  # the path is fixed in these columns
            cost = np.minimum(-log_probability[row, :, first : last + 1], MAX_COLUMN_COST)
            for column in {first, last} - {0, width - 1}:
                cost[:, column - first] = np.inf
                cost[path[row, column], column - first] = 0
            inside = slice(first, last + 1)
            path[row, inside] = track(cost[None], starts[row : row + 1, inside])[0]
    return path


def refine(log_probability: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The centroid of log probabilities (R, H, W) about a path (R, W) int bins.

    Returns the centroid in bins, the probability mass within CENTROID_REACH and its variance in bins^2, each
    (R, W).
    """
    offsets = np.arange(-CENTROID_REACH, CENTROID_REACH + 1)
    bins = path[:, None] + offsets[:, None]  # (R, 2 reach + 1, W)
    height = log_probability.shape[1]
    weight = np.exp(np.take_along_axis(log_probability, bins.clip(0, height - 1), axis=1))
    weight *= (bins >= 0) & (bins < height)
    powers = np.stack([np.ones_like(offsets), offsets, offsets**2]).astype(weight.dtype)
    mass, first, second = np.moveaxis(powers @ weight, 1, 0)  # (R, W) each
    total = np.maximum(mass, 1e-12)
    return path + first / total, mass, np.maximum(second / total - (first / total) ** 2, 0)


def follow_spikes(path: np.ndarray, log_probability: np.ndarray) -> np.ndarray:
    """The path (R, W) int bins moved to the tops of pacing spikes, which the cost of jumps makes it miss.

    A spike is a run of up to SPIKE_COLUMNS columns with SPIKE_MASS about a bin more than CENTROID_REACH off
    the path; nearer ones are within the path's own centroid.
    """
    peak = log_probability.argmax(axis=1)
    spike = np.abs(peak - path) > CENTROID_REACH
    followed = path.copy()
    for row in np.flatnonzero(spike.any(axis=1)):
        columns = np.flatnonzero(spike[row])
        mass = refine(log_probability[row : row + 1, :, columns], peak[row : row + 1, columns])[1][0]
        spike[row, columns] = mass >= SPIKE_MASS
        for start, stop in runs(spike[row]):
            if stop - start <= SPIKE_COLUMNS:
                followed[row, start:stop] = peak[row, start:stop]
    return followed


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of True in (N,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
