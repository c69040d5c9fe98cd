"""Stretches of a trace that the page hardly shows, imputed from the other beats of the same lead.

Where ink is missing or covered, stage 2's confidence is low, and most of the metric's noise comes from there.
The beats are found in all rows together and aligned with each other, which gives an expected trace
(`expected_traces`); stage 2's distribution is then combined with it, the more so the less confident stage 2
is (`combine_with_beats`).
"""

from typing import NamedTuple

import numpy as np
from scipy.ndimage import gaussian_filter1d

from configs.page import RECTIFIED
from digitization.signal.maxima import find_maxima

REFRACTORY_S = 0.28  # seconds, shortest interval between two beats
STEEPNESS_LAG_S = 0.008  # seconds over which the steepness of a row is measured
STEEPNESS_SMOOTHING_S = 0.025  # seconds, sigma of the Gaussian that makes the steepness of a beat one peak
MIN_PEAK_SHARE = 0.4  # height of the lowest peak that counts as a beat, as a share of the steepest beats'
PATCH_S = 0.15  # seconds on either side of a beat that are compared with another beat
MAX_SHIFT_S = 0.025  # seconds by which the detected middle of a beat may be off
NEIGHBOURS = 6  # number of beats on either side with which a beat is compared
MAX_DIFFERENCE = 0.4  # Match.difference above which two beats are not matched
DIFFERENCE_SCALE = 0.1  # Match.difference at which the weight of a beat has fallen to 1 / e
ZERO_LINE_S = 0.1  # seconds, sigma of the Gaussian that smooths the baseline difference of two beats
ZERO_LINE_SD_MV = 0.06  # mV, standard deviation of that difference where no column around is confident
MIN_BEAT_SD_MV = 0.025  # mV, least standard deviation between two beats of a lead
SHIFT_SD_COLUMNS = 0.2  # columns, standard deviation of the shift between two beats
PRIOR_COLUMNS = 4.0  # weight, in columns, of MIN_BEAT_SD_MV in the estimated variance between two beats
MEAN_VARIANCE_SHARE = 0.6  # share of a single beat's variance that remains in the mean of several
OUTLIER_PROBABILITY = 0.3  # probability that a beat does not follow the others
MIN_CONFIDENCE_UNCHANGED = 0.9  # confidence from which on a column is not combined with other beats
MAX_PENALTY_NATS = 12.0  # nats, limit of stage 2's penalty for a bin, so that other beats can outweigh it


class Match(NamedTuple):
    """An alignment of two beats of a page.

    shift: columns from a column of the one beat to the matching column of the other.
    difference: squared distance of their slopes over the sum of their powers; 0 for equal beats, 1 for
        unrelated ones.
    """

    shift: float
    difference: float


def find_beats(y: np.ndarray) -> np.ndarray:
    """The columns (N,) int of the beats, found on the steepness of all rows y (R, W) px together."""
    lag = columns(STEEPNESS_LAG_S)
    rise = np.pad(np.abs(y[:, 2 * lag :] - y[:, : -2 * lag]), ((0, 0), (lag, lag)))
    steepest = np.maximum(np.percentile(rise, 98, axis=1, keepdims=True), 1e-3)
    sigma = STEEPNESS_SMOOTHING_S * RECTIFIED.px_per_second
    activity = gaussian_filter1d(np.minimum(rise / steepest, 1).sum(axis=0), sigma)
    top = np.percentile(activity, 97)
    activity = np.pad(activity, 1)  # so that a beat cut off by either end is a peak too
    least = MIN_PEAK_SHARE * top
    distance = columns(REFRACTORY_S)
    return find_maxima(activity, least, distance, prominence=MIN_PEAK_SHARE / 2 * top) - 1


def columns(seconds: float) -> int:
    """A duration as a number of columns, at least one."""
    return max(round(seconds * RECTIFIED.px_per_second), 1)


def cycle_bounds(beats: np.ndarray, width: int) -> np.ndarray:
    """The columns (N + 1,) halfway between N beats, and as far before the first and after the last."""
    if len(beats) < 2:
        return np.array([0, width])
    middles = (beats[1:] + beats[:-1]) // 2
    ends = 2 * beats[0] - middles[0], 2 * beats[-1] - middles[-1]
    return np.concatenate([ends[:1], middles, ends[1:]]).clip(0, width)


class Patches:
    """The slopes of all rows around each beat, for comparing beats within their leads.

    y (R, W) px, confidence (R, W) in 0..1, lead (R, W) int a number of the lead in each column, beats (N,).
    """

    def __init__(self, y: np.ndarray, confidence: np.ndarray, lead: np.ndarray, beats: np.ndarray):
        lag = columns(STEEPNESS_LAG_S / 2)
        slope = np.zeros_like(y)
        slope[:, lag:-lag] = y[:, 2 * lag :] - y[:, : -2 * lag]
        power = (slope**2 * confidence).sum(axis=1) / np.maximum(confidence.sum(axis=1), 1)
        slope /= np.maximum(np.sqrt(power), 1)[:, None]
        self.reach, self.max_shift = columns(PATCH_S), columns(MAX_SHIFT_S)
        self.beats = beats
        margin = ((0, 0), (self.reach + self.max_shift + 1,) * 2)
        self.slope, self.weight = np.pad(slope, margin), np.pad(confidence, margin)
        self.lead = np.pad(lead, margin, constant_values=-1)

    def around(self, padded: np.ndarray, beat: int, max_shift: int) -> np.ndarray:
        """The patch of a beat at each shift of its middle: (R, 2 max_shift + 1, 2 reach + 1)."""
        middle = self.beats[beat] + self.reach + self.max_shift + 1
        span = padded[:, middle - self.reach - max_shift : middle + self.reach + max_shift + 1]
        return np.lib.stride_tricks.sliding_window_view(span, 2 * self.reach + 1, axis=1)

    def compare(self, beat: int, other: int) -> Match | None:
        """The best alignment of the other beat with this one; None if too little is seen or they differ."""
        one, many = (self.around(self.slope, b, s) for b, s in ((beat, 0), (other, self.max_shift)))
        weight = self.around(self.weight, beat, 0) * self.around(self.weight, other, self.max_shift)
        weight = weight * (self.around(self.lead, beat, 0) == self.around(self.lead, other, self.max_shift))
        total = weight.sum(axis=(0, 2))
        seen = total > 0.1 * self.reach
        squared_distance = (weight * (one - many) ** 2).sum(axis=(0, 2))
        distance = np.where(seen, squared_distance / np.maximum(total, 1e-9), np.inf)
        best = int(distance.argmin())
        power = (weight[:, best] * (one[:, 0] ** 2 + many[:, best] ** 2)).sum()
        difference = squared_distance[best] / max(power, 1e-9)
        if not seen[best] or difference > MAX_DIFFERENCE:
            return None
        shift = float(best - self.max_shift)
        if 0 < best < 2 * self.max_shift and np.isfinite(distance[[best - 1, best + 1]]).all():
            before, lowest, after = distance[best - 1 : best + 2]
            if (curvature := before - 2 * lowest + after) > 1e-9:
                shift += float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))
        return Match(self.beats[other] - self.beats[beat] + shift, float(difference))


def expected_traces(
    y: np.ndarray, confidence: np.ndarray, starts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The trace that the other beats predict in each column: its y and the variance of that, px and px^2.

    y (R, W) px, confidence (R, W) in 0..1, starts (R, W) bool where a lead begins, all over the signal's
    columns. Both results are (R, W); the variance is infinite in columns without a matching beat.
    """
    beats = find_beats(y)
    lead = np.cumsum(starts, axis=1)
    patches = Patches(y, confidence, lead, beats)
    bounds = cycle_bounds(beats, y.shape[1])
    sums = np.zeros((4, *y.shape))  # sums of the weights, and of y, y^2 and variances times these
    for beat in range(len(beats)):
        for other in range(max(beat - NEIGHBOURS, 0), min(beat + NEIGHBOURS + 1, len(beats))):
            match = None if other == beat else patches.compare(beat, other)
            if match:  # each beat is used within its own cycle only
                usable = np.ceil(np.clip(bounds[[other, other + 1]], 0, y.shape[1] - 1) - match.shift)
                left = max(bounds[beat], int(usable[0]))
                right = min(bounds[beat + 1], int(usable[1]) - 1)
                if right > left + 1:
                    inside = slice(left, right)
                    sums[:, :, inside] += predict_from_beat(y, confidence, lead, inside, match)
    weight, weighted_y, squares, variances = sums
    known = weight > 0
    weight = np.where(known, weight, 1)
    mean = weighted_y / weight
    variance = MEAN_VARIANCE_SHARE * variances / weight + np.maximum(squares / weight - mean**2, 0)
    return mean, np.where(known, variance, np.inf)


def predict_from_beat(
    y: np.ndarray, confidence: np.ndarray, lead: np.ndarray, inside: slice, match: Match
) -> np.ndarray:
    """The prediction of the columns `inside` of one beat by another: (4, R, n), the terms of expected_traces.

    The matched beat is shifted onto these columns and moved by the smoothed difference of the baselines.
    """
    whole = int(np.floor(match.shift))
    source = slice(inside.start + whole, inside.stop + whole)
    after = slice(source.start + 1, source.stop + 1)
    shown = y[:, source] + (match.shift - whole) * (y[:, after] - y[:, source])
    same = lead[:, inside] == lead[:, source]
    joint_confidence = same * (confidence[:, inside] * confidence[:, source]) ** 2
    difference = y[:, inside] - shown
    width = ZERO_LINE_S * RECTIFIED.px_per_second
    support = gaussian_filter1d(joint_confidence, width, axis=1, mode="constant")
    smoothed = gaussian_filter1d(joint_confidence * difference, width, axis=1, mode="constant")
    zero_line = smoothed / (support + 1e-3)
    beat_variance = (MIN_BEAT_SD_MV * RECTIFIED.px_per_mv) ** 2
    zero_line_variance = (ZERO_LINE_SD_MV * RECTIFIED.px_per_mv) ** 2
    slope_weight = joint_confidence * (1 + np.abs(np.gradient(y[:, inside], axis=1)) / 4)
    spread = (slope_weight * (difference - zero_line) ** 2).sum(axis=1) + PRIOR_COLUMNS * beat_variance
    spread = spread / (slope_weight.sum(axis=1) + PRIOR_COLUMNS)
    timing = (SHIFT_SD_COLUMNS * np.gradient(shown, axis=1)) ** 2
    variance = spread[:, None] + timing + beat_variance + zero_line_variance / (1 + 20 * support)
    similarity = np.exp(-match.difference / DIFFERENCE_SCALE)
    weight = same * (confidence[:, source] + 0.02) ** 2 / variance * similarity
    predicted = shown + zero_line
    return np.stack([weight, weight * predicted, weight * predicted**2, weight * variance])


def combine_with_beats(
    log_probability: np.ndarray, confidence: np.ndarray, expected: np.ndarray, variance: np.ndarray
) -> np.ndarray:
    """Log probabilities (N, H) over the bins of N columns, multiplied by the prior that other beats give.

    The prior is a normal distribution with mean `expected` (N,) bins and `variance` (N,) bins^2, mixed with a
    uniform one of weight OUTLIER_PROBABILITY, and raised to the power of 1 - confidence (N,), so that columns
    of confidence 1 stay as they are.
    """
    exponent = (1 - confidence.clip(0, 1))[:, None].astype(np.float32)
    bins = np.arange(log_probability.shape[1], dtype=np.float32)
    mean, spread = (part[:, None].astype(np.float32) for part in (expected, variance))
    density = np.exp(-((bins - mean) ** 2) / (2 * spread)) / np.sqrt(2 * np.pi * spread)
    prior = (1 - OUTLIER_PROBABILITY) * density + OUTLIER_PROBABILITY / len(bins)
    joint = np.maximum(log_probability, -MAX_PENALTY_NATS) + exponent * np.log(prior)
    joint -= np.log(np.exp(joint).sum(axis=1, keepdims=True))
    return np.where(exponent > 0, joint, log_probability)
