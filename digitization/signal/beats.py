"""What a column cannot show, the other beats of its lead can: a heart repeats itself.

Where ink is hidden or drowned, stage 2 says so by a low confidence, and most of the metric's noise is there.
The beats are found in all rows together, each is laid on the others, and what these show is the height that
is expected (`expected_traces`); stage 2's own judgement, as far as it is sure, goes first
(`combine_with_beats`).
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d
from scipy.signal import find_peaks

from configs.page import RECTIFIED

REFRACTORY_S = 0.28  # no two beats are nearer
LAG_S = 0.008  # over which a row's steepness is taken
QRS_S = 0.025  # smoothing of the steepness, so that a beat is one peak
LEAST_PEAK = 0.4  # of the steepest beats: what still is one
PATCH_S = 0.15  # on either side of a beat, compared with another
SLACK_S = 0.025  # by which the middle of a beat may be off
NEIGHBOURS = 6  # beats on either side that a beat is compared with
UNLIKE = 0.4  # of what two strangers would differ: beats that differ more tell nothing of each other
LIKENESS = 0.1  # difference, likewise, over which a beat's weight falls to 1 / e
ZERO_LINE_S = 0.1  # smoothing of the zero line between two beats
ZERO_LINE_MV = 0.06  # its error where nothing around is sure
BEAT_MV = 0.025  # by which two beats of a lead differ at least
TIMING = 0.2  # columns: error of the shift between two beats
PRIOR_COLUMNS = 4.0  # of BEAT_MV, beside the columns that tell how much two beats differ
LEFT_OVER = 0.6  # of a single beat's variance, in the mean of several
STRAY = 0.3  # chance that a beat does what the others do not
CERTAIN = 0.9  # confidence from which on a column is left alone
SURE = 12.0  # nats: stage 2 is never surer than this against the other beats


class Match(NamedTuple):
    """The beat at column x looks like columns x + shift; `difference` is 0 for twins, 1 for strangers."""

    shift: float
    difference: float


def find_beats(y: np.ndarray) -> np.ndarray:
    """Columns where a beat is, from the steepness of all rows (R, W) px together."""
    lag = columns(LAG_S)
    rise = np.pad(np.abs(y[:, 2 * lag :] - y[:, : -2 * lag]), ((0, 0), (lag, lag)))
    steepest = np.maximum(np.percentile(rise, 98, axis=1, keepdims=True), 1e-3)
    activity = gaussian_filter1d(np.minimum(rise / steepest, 1).sum(axis=0), QRS_S * RECTIFIED.px_per_second)
    top = np.percentile(activity, 97)
    activity = np.pad(activity, 1)  # a beat may be cut off by either end
    found = find_peaks(
        activity, height=LEAST_PEAK * top, distance=columns(REFRACTORY_S), prominence=LEAST_PEAK / 2 * top
    )[0]
    return found - 1


def columns(seconds: float) -> int:
    return max(round(seconds * RECTIFIED.px_per_second), 1)


def cycle_bounds(beats: np.ndarray, width: int) -> np.ndarray:
    """Columns between N beats, (N + 1,): halfway, and as far beyond the first and the last."""
    if len(beats) < 2:
        return np.array([0, width])
    middles = (beats[1:] + beats[:-1]) // 2
    ends = 2 * beats[0] - middles[0], 2 * beats[-1] - middles[-1]
    return np.concatenate([ends[:1], middles, ends[1:]]).clip(0, width)


class Patches:
    """The slopes of all rows about each beat, to be compared; a lead is never compared with another."""

    def __init__(self, y: np.ndarray, confidence: np.ndarray, lead: np.ndarray, beats: np.ndarray):
        lag = columns(LAG_S / 2)
        slope = np.zeros_like(y)
        slope[:, lag:-lag] = y[:, 2 * lag :] - y[:, : -2 * lag]
        power = (slope**2 * confidence).sum(axis=1) / np.maximum(confidence.sum(axis=1), 1)
        slope /= np.maximum(np.sqrt(power), 1)[:, None]
        self.reach, self.slack = columns(PATCH_S), columns(SLACK_S)
        self.beats = beats
        margin = ((0, 0), (self.reach + self.slack + 1,) * 2)
        self.slope, self.weight = np.pad(slope, margin), np.pad(confidence, margin)
        self.lead = np.pad(lead, margin, constant_values=-1)

    def around(self, padded: np.ndarray, beat: int, slack: int) -> np.ndarray:
        """(R, 2 slack + 1, 2 reach + 1): a patch for each shift of a beat's middle."""
        middle = self.beats[beat] + self.reach + self.slack + 1
        span = padded[:, middle - self.reach - slack : middle + self.reach + slack + 1]
        return np.lib.stride_tricks.sliding_window_view(span, 2 * self.reach + 1, axis=1)

    def compare(self, beat: int, other: int) -> Match | None:
        """Where the other beat lies best on this one; None if there is too little to see or they differ."""
        one, many = (self.around(self.slope, b, s) for b, s in ((beat, 0), (other, self.slack)))
        weight = self.around(self.weight, beat, 0) * self.around(self.weight, other, self.slack)
        weight = weight * (self.around(self.lead, beat, 0) == self.around(self.lead, other, self.slack))
        total = weight.sum(axis=(0, 2))
        seen = total > 0.1 * self.reach
        apart = (weight * (one - many) ** 2).sum(axis=(0, 2))
        distance = np.where(seen, apart / np.maximum(total, 1e-9), np.inf)
        best = int(distance.argmin())
        size = (weight[:, best] * (one[:, 0] ** 2 + many[:, best] ** 2)).sum()
        difference = apart[best] / max(size, 1e-9)
        if not seen[best] or difference > UNLIKE:
            return None
        shift = float(best - self.slack)
        if 0 < best < 2 * self.slack and np.isfinite(distance[[best - 1, best + 1]]).all():
            before, least, after = distance[best - 1 : best + 2]
            if (curvature := before - 2 * least + after) > 1e-9:
                shift += float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))
        return Match(self.beats[other] - self.beats[beat] + shift, float(difference))


def expected_traces(
    y: np.ndarray, confidence: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """What the other beats say of each column: its height and the variance of that, px and px^2.

    Heights y, confidence in 0..1 and where a lead starts, all (R, W) over the signal's columns. Returns two
    of (R, W); the variance is infinite where no other beat shows the like.
    """
    beats = find_beats(y)
    lead = np.cumsum(starts, axis=1)
    patches = Patches(y, confidence, lead, beats)
    bounds = cycle_bounds(beats, y.shape[1])
    sums = np.zeros((4, *y.shape))  # of the weights, and by these of heights, their squares and variances
    for beat in range(len(beats)):
        for other in range(max(beat - NEIGHBOURS, 0), min(beat + NEIGHBOURS + 1, len(beats))):
            match = None if other == beat else patches.compare(beat, other)
            if match:
                reach = np.ceil(np.clip(bounds[[other, other + 1]], 0, y.shape[1] - 1) - match.shift)
                left = max(bounds[beat], int(reach[0]))
                right = min(bounds[beat + 1], int(reach[1]) - 1)  # neither speaks beyond its own cycle
                if right > left + 1:
                    inside = slice(left, right)
                    sums[:, :, inside] += transfer(y, confidence, lead, inside, match)
    weight, heights, squares, variances = sums
    known = weight > 0
    weight = np.where(known, weight, 1)
    mean = heights / weight
    variance = LEFT_OVER * variances / weight + np.maximum(squares / weight - mean**2, 0)
    return mean, np.where(known, variance, np.inf)


def transfer(
    y: np.ndarray, confidence: np.ndarray, lead: np.ndarray, inside: slice, match: Match
) -> np.ndarray:
    """One beat's say on the columns `inside` of another: (4, R, n), as expected_traces sums them up."""
    whole = int(np.floor(match.shift))
    source = slice(inside.start + whole, inside.stop + whole)
    after = slice(source.start + 1, source.stop + 1)
    shown = y[:, source] + (match.shift - whole) * (y[:, after] - y[:, source])
    same = lead[:, inside] == lead[:, source]
    sure = same * (confidence[:, inside] * confidence[:, source]) ** 2
    difference = y[:, inside] - shown
    width = ZERO_LINE_S * RECTIFIED.px_per_second
    support = gaussian_filter1d(sure, width, axis=1, mode="constant")
    zero_line = gaussian_filter1d(sure * difference, width, axis=1, mode="constant") / (support + 1e-3)
    least, drift = (BEAT_MV * RECTIFIED.px_per_mv) ** 2, (ZERO_LINE_MV * RECTIFIED.px_per_mv) ** 2
    telling = sure * (1 + np.abs(np.gradient(y[:, inside], axis=1)) / 4)
    spread = (telling * (difference - zero_line) ** 2).sum(axis=1) + PRIOR_COLUMNS * least
    spread = spread / (telling.sum(axis=1) + PRIOR_COLUMNS)
    timing = (TIMING * np.gradient(shown, axis=1)) ** 2
    variance = spread[:, None] + timing + least + drift / (1 + 20 * support)
    weight = same * (confidence[:, source] + 0.02) ** 2 / variance * np.exp(-match.difference / LIKENESS)
    height = shown + zero_line
    return np.stack([weight, weight * height, weight * height**2, weight * variance])


def combine_with_beats(
    log_probability: np.ndarray, confidence: np.ndarray, expected: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Log probabilities (N, H) of the heights of N columns, where unsure drawn to what is expected.

    Expected bins and their variance in bins^2, both (N,): a normal distribution beside which any height has
    the chance STRAY, raised to the power of 1 - confidence (N,). Columns of confidence 1 stay as they are.
    """
    lean = (1 - confidence.clip(0, 1))[:, None].astype(np.float32)
    bins = np.arange(log_probability.shape[1], dtype=np.float32)
    mean, spread = (part[:, None].astype(np.float32) for part in (expected, variance))
    like = np.exp(-((bins - mean) ** 2) / (2 * spread)) / np.sqrt(2 * np.pi * spread)
    chance = (1 - STRAY) * like + STRAY / len(bins)
    joint = np.maximum(log_probability, -SURE) + lean * np.log(chance)
    joint -= np.log(np.exp(joint).sum(axis=1, keepdims=True))
    return np.where(lean > 0, joint, log_probability)
