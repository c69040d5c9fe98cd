"""From the points of a curve to samples: its own rate, and a cubic on its own times."""

from dataclasses import dataclass

import numpy as np
from scipy.interpolate import CubicSpline

from digitization.signal.traces import resampling_matrix

SAME_TIME = 1e-3  # share of the median step within which two points are at the same time
EVEN_SHARE, EVEN_TOLERANCE = (
    0.9,
    0.35,
)  # share of the steps within this of their median where none is left out
MIN_SHARE_OF_STEPS = 0.01  # share of the steps that are single ones where points are left out
WHOLE_SHARE, WHOLE_TOLERANCE = 0.95, 0.1  # share of the steps within this of a whole number of single ones
SHORT_SHARE = 0.5  # share of the steps that are single ones where they alone tell the rate
MIN_RUN = 10  # single steps in a row, whose mean is not biased by what is left out
LONG_STEP = 1.5  # single steps from which on points are left out
END_SLACK_S = 1e-4  # s by which a sample may lie beyond the ends of a curve, whose places are rounded
MAX_NATIVE_HZ = 20_000  # of recorders of pacing spikes
MAX_FILLED = 400_000  # points of a curve after filling


@dataclass(frozen=True)
class Curve:
    """A lead as printed: values (N,) mV at times (N,) s, increasing from the beginning of its column.

    native_hz is the rate of its points, None where they follow no rate: then the curve is its straight lines.
    """

    times: np.ndarray
    values: np.ndarray
    native_hz: float | None

    def at(self, times: np.ndarray) -> np.ndarray:
        """The values at times (n,) s, NaN beyond the ends of the curve."""
        first, last = self.times[0], self.times[-1]
        inside = (times >= first - END_SLACK_S) & (times <= last + END_SLACK_S)
        values = np.full(len(times), np.nan)
        within = times[inside].clip(first, last)
        if self.native_hz is None:
            values[inside] = np.interp(within, self.times, self.values)
        else:
            values[inside] = CubicSpline(self.times, self.values, bc_type="natural")(within)
        return values

    def sample(self, fs: int, count: int, first: float = 0.0) -> np.ndarray:
        """`count` samples at `fs` Hz from `first` s on, (count,), NaN beyond the ends of the curve.

        Where the curve has a higher rate its band is limited to half of `fs`.
        """
        times = first + np.arange(count) / fs
        factor = 1 if self.native_hz is None else int(np.ceil(self.native_hz / fs - 0.2))
        if factor <= 1:
            return self.at(times)
        fine = self.at(first + np.arange(count * factor) / (fs * factor))
        values = np.full(count, np.nan)
        known = np.flatnonzero(np.isfinite(fine))
        if not len(known):
            return values
        coarse = np.arange(-(-known[0] // factor), known[-1] // factor + 1)
        if len(coarse):
            matrix = resampling_matrix(np.array(coarse) * factor - known[0], len(known), factor)
            values[coarse] = matrix @ fine[known]
        return values


def make_curve(times: np.ndarray, values: np.ndarray) -> Curve:
    """The curve through points of non-decreasing times (N,) s and values (N,) mV, N at least 2.

    Of points at the same time the mean counts. Where points are left out, as they lie on a straight line, the
    curve is that line: points in steps of its own are put between.
    """
    times = np.maximum.accumulate(times)  # printed dots may lie a little back
    steps = np.diff(times)
    positive = steps[steps > 0]
    same = SAME_TIME * (np.median(positive) if len(positive) else 1.0)
    starts = np.concatenate([[0], np.flatnonzero(steps > same) + 1])
    counts = np.diff(np.append(starts, len(times)))
    times = np.add.reduceat(times, starts) / counts
    values = np.add.reduceat(values, starts) / counts
    if len(times) < 2:
        raise ValueError("a curve without length")
    step, is_regular = single_step(np.diff(times))
    if step * MAX_NATIVE_HZ < 1:
        raise ValueError(f"points at {1 / step:.0f} Hz, more than any device records")
    filled_times, filled_values = fill(times, values, step)
    return Curve(filled_times, filled_values, 1 / step if is_regular else None)


def single_step(steps: np.ndarray) -> tuple[float, bool]:
    """The time from one sample to the next where none is left out; whether the steps (n,) s are regular."""
    median = float(np.median(steps))
    even = np.abs(steps / median - 1) <= EVEN_TOLERANCE
    if even.mean() >= EVEN_SHARE:
        return float(steps[even].mean()), True
    rounded, counts = np.unique(np.round(steps / median, 2), return_counts=True)
    frequent = rounded[(counts >= MIN_SHARE_OF_STEPS * len(steps)) & (rounded > 0)]
    if not len(frequent):
        return median, False
    is_short = steps <= LONG_STEP * frequent[0] * median * (1 + WHOLE_TOLERANCE)
    if is_short.mean() >= SHORT_SHARE:  # of one or two lengths, rounded to the printer's dots
        return mean_of_runs(steps, is_short), True
    for candidate in frequent:
        multiples = steps / (candidate * median)
        whole = np.abs(multiples - np.round(multiples)) <= WHOLE_TOLERANCE
        if whole.mean() >= WHOLE_SHARE:
            numbers = np.round(multiples[whole])
            return float(steps[whole].sum() / numbers.sum()), True
    return median, False


def mean_of_runs(steps: np.ndarray, is_short: np.ndarray) -> float:
    """The mean of the short steps (n,) in long runs of them.

    Alone between gaps they are rather the longer ones: of two equal ones the point between is left out.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_short, [0]]).astype(np.int8))).reshape(-1, 2)
    runs = [steps[first:stop] for first, stop in edges if stop - first >= MIN_RUN]
    return float(np.concatenate(runs or [steps[is_short]]).mean())


def fill(times: np.ndarray, values: np.ndarray, step: float) -> tuple[np.ndarray, np.ndarray]:
    """The points (N,), and on the straight lines of the gaps between them further ones, `step` s apart."""
    gaps = np.diff(times)
    missing = np.where(gaps > LONG_STEP * step, np.round(gaps / step).astype(int) - 1, 0).clip(0)
    if missing.sum() + len(times) > MAX_FILLED:
        return times, values
    first = np.repeat(np.arange(len(gaps)), missing + 1)
    order = np.arange(len(first)) - np.repeat(np.cumsum(missing + 1) - (missing + 1), missing + 1)
    share = order / (missing[first] + 1)
    filled = [np.append(part[first] + share * np.diff(part)[first], part[-1]) for part in (times, values)]
    return filled[0], filled[1]
