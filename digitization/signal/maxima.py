"""The peaks of a curve, as scipy.signal.find_peaks finds them; importing that takes a third of a start."""

import numpy as np


def find_maxima(
    curve: np.ndarray, height: float, distance: float, prominence: float | None = None
) -> np.ndarray:
    """The places (N,) int of the peaks of a curve (L,), in order.

    They are at least `height` high and, the highest chosen first, `distance` samples apart. They stand out by
    at least `prominence` from the higher of the valleys on their two sides. A flat top counts as its middle.
    """
    ends = np.flatnonzero(np.append(curve[1:] != curve[:-1], True))  # of stretches of one value
    begins = np.append(0, ends[:-1] + 1)
    value = curve[ends]
    tops = 1 + np.flatnonzero((value[1:-1] > value[:-2]) & (value[1:-1] > value[2:]))
    peaks = (begins[tops] + ends[tops]) // 2
    peaks = leave_apart(peaks[curve[peaks] >= height], curve, distance)
    if prominence is None:
        return peaks
    return peaks[[prominence_of(peak, curve) >= prominence for peak in peaks]] if len(peaks) else peaks


def leave_apart(peaks: np.ndarray, curve: np.ndarray, distance: float) -> np.ndarray:
    """The peaks that are at least `distance` from any higher one that is left."""
    kept = np.ones(len(peaks), bool)
    for index in np.argsort(curve[peaks])[::-1]:
        if kept[index]:
            kept &= np.abs(peaks - peaks[index]) >= np.ceil(distance)
            kept[index] = True
    return peaks[kept]


def prominence_of(peak: int, curve: np.ndarray) -> float:
    """The height of a peak above the higher of the valleys on its two sides."""
    higher = np.flatnonzero(curve > curve[peak])
    split = np.searchsorted(higher, peak)
    first = higher[split - 1] + 1 if split else 0
    after = higher[split] if split < len(higher) else len(curve)
    return float(curve[peak] - max(curve[first : peak + 1].min(), curve[peak:after].min()))
