"""Millivolts to the height of the trace in each column of the rectified page, and back."""

import numpy as np
from scipy.interpolate import CubicSpline

from configs.page import DURATION_S, RECTIFIED, ROWS
from utils.leads import quarter_bounds


def segments(row: int, length: int) -> tuple[tuple[int, int], ...]:
    return quarter_bounds(length) if row < len(ROWS) else ((0, length),)


def columns_from_rows(rows: np.ndarray) -> np.ndarray:
    """(4, L) mV over ten seconds to (4, RECTIFIED.width) float64 y in px, NaN where nothing is drawn."""
    length = rows.shape[1]
    sample = (np.arange(RECTIFIED.width) - RECTIFIED.signal_start) / RECTIFIED.px_per_second
    sample *= length / DURATION_S
    y = np.full((len(rows), RECTIFIED.width), np.nan)
    for index, row in enumerate(rows):
        for start, stop in segments(index, length):
            inside = (sample >= start) & (sample < stop)
            millivolts = np.interp(sample[inside], np.arange(start, stop), row[start:stop])
            y[index, inside] = RECTIFIED.zero_lines[index] - millivolts * RECTIFIED.px_per_mv
    return y


def rows_from_columns(y: np.ndarray, length: int) -> np.ndarray:
    """(4, RECTIFIED.width) y in px, finite from signal start to stop, to (4, length) mV."""
    column = RECTIFIED.signal_start + np.arange(length) * RECTIFIED.px_per_second * DURATION_S / length
    rows = np.empty((len(y), length))
    for index in range(len(y)):
        millivolts = (RECTIFIED.zero_lines[index] - y[index]) / RECTIFIED.px_per_mv
        for start, stop in segments(index, length):
            first, last = int(np.ceil(column[start])), int(np.floor(column[stop - 1]))
            spline = CubicSpline(np.arange(first, last + 1), millivolts[first : last + 1])
            rows[index, start:stop] = spline(column[start:stop].clip(first, last))
    return rows
