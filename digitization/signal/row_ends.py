"""Ink that hides the ends of a row: the calibration pulse at its start, dashes and frames at its end.

Neither is always there, and a record may begin or end inside a QRS, so stage 2's confidence decides.
"""

import numpy as np

from configs.page import PULSE_MV, RECTIFIED
from configs.stage2 import CROP_TOP
from utils.rescaling import rescale

END_COLUMNS = 10  # columns (25 ms) at a row's ends; a pulse drawn at 100 Hz has fallen 20 ms after the start
MIN_CONFIDENCE_START = 0.5  # confidence below which the first columns may show the pulse
PULSE_NEAR_MV = 0.15  # mV, distance from the pulse's top within which a column may show the pulse
MIN_CONFIDENCE_END = 0.1  # confidence below which the last columns may show other ink
END_JUMP_MV = 0.2  # mV by which y has to jump away there for these columns to be hidden


def hidden_ends(bins: np.ndarray, confidence: np.ndarray, row_stride: int) -> np.ndarray:
    """Columns at the ends of the rows that show other ink than the trace: (R, W) bool.

    bins (R, W) is y in bins of `row_stride` px, confidence (R, W) in 0..1. Hidden are the columns of low
    confidence at the start with those at the pulse's top before them, and the columns of low confidence at
    the end whose y jumps away from the last confident one.
    """
    tops = np.array(RECTIFIED.zero_lines) - PULSE_MV * RECTIFIED.px_per_mv - CROP_TOP
    tops = rescale(tops, 1 / row_stride)
    per_mv = RECTIFIED.px_per_mv / row_stride
    hidden = np.zeros(bins.shape, bool)
    for row, (y, row_confidence, top) in enumerate(zip(bins, confidence, tops[: len(bins)], strict=True)):
        on_pulse = np.abs(y[:END_COLUMNS] - top) <= PULSE_NEAR_MV * per_mv
        hidden[row, : hidden_start(row_confidence[:END_COLUMNS], on_pulse)] = True
        stop = len(y) - count_unseen(row_confidence[::-1][:END_COLUMNS], MIN_CONFIDENCE_END)
        jump = np.abs(y[stop:] - y[stop - 1]).max(initial=0)
        hidden[row, stop:] = jump > END_JUMP_MV * per_mv
    return hidden


def hidden_start(confidence: np.ndarray, on_pulse: np.ndarray) -> int:
    """The number of a row's first columns that show the pulse, from confidence (N,) and on_pulse (N,) bool.

    on_pulse says which columns are at the pulse's top. Those at the very start count as unseen if the columns
    after them have a low confidence: a trace that itself begins at the pulse's top is seen throughout.
    """
    first_off = int(np.append(on_pulse, False).argmin())
    falls = (confidence[first_off : first_off + 2] < MIN_CONFIDENCE_START).any()
    shows_pulse = (np.arange(len(confidence)) < first_off) & falls
    return count_unseen(np.where(shows_pulse, 0, confidence), MIN_CONFIDENCE_START)


def count_unseen(confidence: np.ndarray, threshold: float) -> int:
    """The number of columns, of confidence (N,) and from the first one on, that do not show the trace.

    It is at most N - 1. The last of these columns is below `threshold`, and their mean is below
    MIN_CONFIDENCE_START.
    """
    counts = np.arange(1, len(confidence))
    unseen = (confidence[:-1] < threshold) & (np.cumsum(confidence[:-1]) / counts < MIN_CONFIDENCE_START)
    return int(counts[unseen].max(initial=0))


def hold_nearest(bins: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """bins (R, W) with the `hidden` (R, W) bool columns set to the nearest one that is not hidden."""
    filled = bins.copy()
    for row, columns in enumerate(hidden):
        seen = np.flatnonzero(~columns)
        filled[row] = bins[row, np.clip(np.arange(len(columns)), seen[0], seen[-1])]
    return filled


def make_uniform(log_probability: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Log probabilities (R, H, W) with all bins equally likely in the `hidden` (R, W) bool columns."""
    uniform = log_probability.copy()
    row, column = np.nonzero(hidden)
    uniform[row, :, column] = -np.log(log_probability.shape[1])
    return uniform
