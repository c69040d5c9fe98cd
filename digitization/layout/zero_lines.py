"""The zero line of each row: by the foot of its calibration pulse, and where it and other rows are seen."""

from collections.abc import Sequence

import numpy as np

from digitization.layout.landmarks import Pulse

PULSE_ON_ROW = 1.0  # squares from a row within which a pulse's foot says where its zero line is
# Squares within which a row is seen as well as the foot of its pulse: then their mean is off by 0.05 squares
# rms, as each is on its own at 10 mm/mV, and less than either at other gains.
AS_GOOD = 0.3
MIN_EVEN_ROWS = 5  # rows from which one is told from the even spacing of the others
EVEN = 0.1  # squares (0.5 mm) by which rows that are spaced evenly are seen off their places in the median
UNEVEN = 0.24  # squares (1.2 mm, 0.12 mV) off such a place from which a row is rather seen wrongly
# Squares by which the middle one of three rows may be: drawn pages are printed and seen up to 0.15 off each.
VERY_UNEVEN = 0.45


def zero_lines_of(rows: Sequence[float], pulses: Sequence[Pulse], row_count: int | None = None) -> np.ndarray:
    """y of 0 mV of rows seen at y `rows`, all in squares from the top: (R,).

    A row without a pulse is seen where its trace mostly is, which a lead that is seldom at 0 mV leads astray.
    Where nearly all rows are spaced evenly, such a row is put where they say. The first `row_count` are rows
    of leads; the last rhythm strips after them may be spaced otherwise.
    """
    zero_lines = np.array(rows, np.float64)
    has_foot = np.zeros(len(zero_lines), bool)
    for index, row in enumerate(rows):
        feet = [pulse for pulse in pulses if abs(pulse.y - row) < PULSE_ON_ROW]
        if feet:
            foot, has_foot[index] = max(feet, key=lambda pulse: pulse.probability).y, True
            zero_lines[index] = (foot + row) / 2 if abs(foot - row) <= AS_GOOD else foot
    if len(zero_lines) < MIN_EVEN_ROWS:
        return zero_lines
    even = even_places(zero_lines)
    off = np.abs(zero_lines - even)
    if np.median(off) <= EVEN:
        in_place = np.flatnonzero(off <= UNEVEN)
        movable = (off > UNEVEN) & ~has_foot
        movable[max(row_count or len(rows), in_place[-1]) :] = False  # the last strips may be printed apart
        zero_lines[movable] = even[movable]
    return zero_lines


def uneven_by(zero_lines: np.ndarray, pulses: Sequence[Pulse]) -> float:
    """Squares by which the middle of three zero lines (3,) is off the middle of the others; 0 if it may be.

    Three rows do not tell which of them is seen wrongly. Where all have pulses they are printed unevenly.
    """
    if len(zero_lines) != 3 or all(
        np.abs([pulse.y - y for pulse in pulses]).min(initial=np.inf) < PULSE_ON_ROW for y in zero_lines
    ):
        return 0.0
    off = abs(float(zero_lines[1] - (zero_lines[0] + zero_lines[2]) / 2))
    return off if off > VERY_UNEVEN else 0.0


def even_places(y: np.ndarray) -> np.ndarray:
    """Places at even distances that are nearest to places (N,), by the Theil-Sen line through them."""
    number = np.arange(len(y))
    first, second = np.triu_indices(len(y), 1)
    pitch = np.median((y[second] - y[first]) / (second - first))
    return pitch * number + np.median(y - pitch * number)
