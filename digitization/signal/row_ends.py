"""What hides the ends of a row: the calibration pulse where it begins, dashes and frames where it stops.

Neither is always there, and a record may begin or end inside a QRS, so that stage 2's own confidence decides.
"""

import numpy as np

from configs.page import PULSE_MV, RECTIFIED
from configs.stage2 import CROP_TOP
from utils.rescaling import rescale

END_COLUMNS = 10  # 25 ms: at 100 Hz, the slowest in use, the pulse has fallen 20 ms after the leads' start
START_SURE = 0.5  # confidence below which the first columns may show the pulse
PULSE_NEAR_MV = 0.15  # a row that begins so near to the pulse's top may begin on the pulse
END_SURE = 0.1  # confidence below which the last columns may show other ink ...
END_JUMP_MV = 0.2  # ... if the trace leaves by so much there


def hidden_ends(bins: np.ndarray, confidence: np.ndarray, row_stride: int) -> np.ndarray:
    """Which columns of (R, W) at the rows' ends show other ink than the trace: (R, W) bool.

    `bins` are the heights as read, `confidence` is in 0..1. At the start unsure columns, sure ones between
    them, and before them those at the pulse's top. At the end unsure ones that leap away from the last sure.
    """
    tops = np.array(RECTIFIED.zero_lines) - PULSE_MV * RECTIFIED.px_per_mv - CROP_TOP
    tops = rescale(tops, 1 / row_stride)
    per_mv = RECTIFIED.px_per_mv / row_stride
    hidden = np.zeros(bins.shape, bool)
    for row, (heights, sure, top) in enumerate(zip(bins, confidence, tops, strict=True)):
        on_pulse = np.abs(heights[:END_COLUMNS] - top) <= PULSE_NEAR_MV * per_mv
        hidden[row, : hidden_start(sure[:END_COLUMNS], on_pulse)] = True
        stop = len(heights) - unsure_columns(sure[::-1][:END_COLUMNS], END_SURE)
        leap = np.abs(heights[stop:] - heights[stop - 1]).max(initial=0)
        hidden[row, stop:] = leap > END_JUMP_MV * per_mv
    return hidden


def hidden_start(confidence: np.ndarray, on_pulse: np.ndarray) -> int:
    """How many of a row's first (N,) columns show the pulse, given which are as high as its top, (N,) bool.

    Columns that are sure of the pulse's top count as unsure of the trace if what follows them is unsure: a
    trace that begins at such a height is seen all along.
    """
    first_off = int(np.append(on_pulse, False).argmin())
    falls = (confidence[first_off : first_off + 2] < START_SURE).any()
    unsure_of_trace = (np.arange(len(confidence)) < first_off) & falls
    return unsure_columns(np.where(unsure_of_trace, 0, confidence), START_SURE)


def unsure_columns(confidence: np.ndarray, sure: float) -> int:
    """Up to which of (N,) columns, from the first on and N - 1 at most, they are unsure.

    The last of them is below `sure`, and so is the mean of all below START_SURE.
    """
    counts = np.arange(1, len(confidence))
    unsure = (confidence[:-1] < sure) & (np.cumsum(confidence[:-1]) / counts < START_SURE)
    return int(counts[unsure].max(initial=0))


def hold_ends(bins: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Heights (R, W), those that `hidden` (R, W) bool names held at the nearest that is not."""
    held = bins.copy()
    for row, columns in enumerate(hidden):
        seen = np.flatnonzero(~columns)
        held[row] = bins[row, np.clip(np.arange(len(columns)), seen[0], seen[-1])]
    return held


def forget(log_probability: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """Log probabilities (R, H, W), all heights alike in `hidden` (R, W) bool columns."""
    forgotten = log_probability.copy()
    row, column = np.nonzero(hidden)
    forgotten[row, :, column] = -np.log(log_probability.shape[1])
    return forgotten
