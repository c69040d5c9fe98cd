"""A path through each row's map of heights, and the height about it to a fraction of a pixel."""

import cv2
import numpy as np

STEP_COST = 0.15  # per bin and column: the price of a jump, in nats
LEAP = 24  # bins between columns, half of CENTROID_REACH: a shorter step hardly changes what is read about it
FLOOR = 6.0  # nats: no column is worse than this, so that a hole does not bend the path
UNSEEN = 3.0  # nats: a column whose likeliest bin costs more, a probability of 0.05, shows no trace by itself
CENTROID_REACH = 48  # bins on either side of the path
SPIKE_COLUMNS = 4  # 10 ms: no pacing spike is wider
SPIKE_MASS = 0.9  # of a column's probability about one height, from which on it is not moved


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


def find_path(log_probability: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The bins (R, W) about which (R, H, W) log probabilities are read: each column's likeliest, as a rule.

    Where these leap or are hardly likelier than others, a blot or another row's trace may outshine the trace:
    there, and as far about as columns can stray before that costs more than to leap away and back, the path
    is the cheapest of `track`. A lead begins at any height in `starts` (R, W) bool.
    """
    path = log_probability.argmax(axis=1)
    height, width = log_probability.shape[1:]
    reach = int(2 * STEP_COST * height / (FLOOR - UNSEEN))
    doubtful = log_probability.max(axis=1) < -UNSEEN
    doubtful[:, 1:] |= (np.abs(np.diff(path, axis=1)) > LEAP) & ~starts[:, 1:]
    about = np.ones((1, 2 * reach + 1), np.uint8)
    for row, near in enumerate(cv2.dilate(doubtful.astype(np.uint8), about) > 0):
        for start, stop in runs(near):
            first, last = max(start - 1, 0), min(stop + 1, width - 1)  # columns off any leap hold the ends
            cost = np.minimum(-log_probability[row, :, first : last + 1], FLOOR)
            for column in {first, last} - {0, width - 1}:
                cost[:, column - first] = np.inf
                cost[path[row, column], column - first] = 0
            inside = slice(first, last + 1)
            path[row, inside] = track(cost[None], starts[row : row + 1, inside])[0]
    return path


def refine(log_probability: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The centroid of (R, H, W) log probabilities about a path (R, W), in bins, its mass and its variance."""
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
    """The path (R, W) bins led to the tops of spikes, which the price of a jump keeps it from.

    A spike is a run of up to SPIKE_COLUMNS columns that are sure of a height beyond CENTROID_REACH: nearer
    ones are in the path's own centroid.
    """
    peak = log_probability.argmax(axis=1)
    sure = np.abs(peak - path) > CENTROID_REACH
    followed = path.copy()
    for row in np.flatnonzero(sure.any(axis=1)):
        columns = np.flatnonzero(sure[row])
        mass = refine(log_probability[row : row + 1, :, columns], peak[row : row + 1, columns])[1][0]
        sure[row, columns] = mass >= SPIKE_MASS
        for start, stop in runs(sure[row]):
            if stop - start <= SPIKE_COLUMNS:
                followed[row, start:stop] = peak[row, start:stop]
    return followed


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of True in (N,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]
