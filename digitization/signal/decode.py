"""Stage 2's maps to millivolts: a path through each row's map, refined to a fraction of a pixel."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import maximum_filter1d, median_filter, minimum_filter1d

from configs.page import RECTIFIED, ROWS
from configs.stage2 import CROP_TOP, STEEP_REACH, Stage2Config
from digitization.signal.beats import CERTAIN, combine_with_beats, expected_traces
from digitization.signal.limb_leads import reconcile_limbs
from digitization.signal.path import SPIKE_COLUMNS, SPIKE_MASS, find_path, follow_spikes, refine
from digitization.signal.quality import UNSURE, confidence_at
from digitization.signal.row_ends import forget, hidden_ends, hold_ends
from digitization.signal.traces import TIMELINE, rows_from_columns, segment_columns, segments
from utils.rescaling import rescale

HALF_SURE_MV = 0.05  # half a small square: confidence is 0.5 where a trace's height is left open by so much
EARLY_OR_LATE = 0.9  # columns, 2 ms: a stroke's place in time is not that sure even where it is well seen
SPIKE_MV = 0.1  # by which it stands out at least
UNCLEAR = 0.5  # confidence below which other beats may move the path itself
MERGES = ("mean", "median")  # how several readings become one
PIXEL_BACKGROUND = 0.05  # probability of a pixel: hundreds of unlikely ones would outweigh the trace
AS_SHIPPED = Stage2Config()  # what the maps were trained to be, unless a network says otherwise


def lead_starts(first: int, last: int) -> np.ndarray:
    """Which columns first <= x < last begin a lead, in each of the four rows: (4, last - first) bool."""
    starts = np.zeros((len(ROWS) + 1, last - first), bool)
    for row, begins in enumerate(starts):
        for start, stop in segments(TIMELINE, row)[1:]:
            begins[segment_columns(start, stop, TIMELINE, RECTIFIED)[0] - first] = True
    return starts


def rate_columns(
    bins: np.ndarray,
    mass: np.ndarray,
    variance: np.ndarray,
    row_stride: int,
    config: Stage2Config = AS_SHIPPED,
) -> np.ndarray:
    """Confidence (R, W) in 0..1: the mass about the path, less where it leaves the height open.

    `variance` (R, W) bins^2 counts as far as it exceeds that of the target which `config` trained the network
    for, and what EARLY_OR_LATE makes of a stroke: where the trace is steep its height is open, but not the
    trace. 0.5 at HALF_SURE_MV.
    """
    meant = config.target_sigma**2 + stroke_variance(bins)
    half = HALF_SURE_MV * RECTIFIED.px_per_mv / row_stride  # bins
    return mass.clip(0, 1) / (1 + (variance - meant).clip(0) / half**2)


def stroke_variance(heights: np.ndarray) -> np.ndarray:
    """How far EARLY_OR_LATE leaves heights (R, W) open, in their unit squared."""
    window = 2 * STEEP_REACH + 1
    unknown = np.isnan(heights)
    high = maximum_filter1d(np.where(unknown, -np.inf, heights), window, axis=1, mode="nearest")
    low = minimum_filter1d(np.where(unknown, np.inf, heights), window, axis=1, mode="nearest")
    return (EARLY_OR_LATE * np.maximum(high - low, 0) / (2 * STEEP_REACH)) ** 2


def bridge(y: np.ndarray, sure: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """Columns of (R, W) that are not sure, bridged by a shape-preserving cubic between those that are.

    A lead, from one of `starts` (R, W) bool to the next, knows nothing of its neighbours.
    """
    bridged = y.copy()
    for row in range(len(y)):
        bounds = [0, *([] if starts is None else np.flatnonzero(starts[row])), y.shape[1]]
        for left, right in pairwise(bounds):
            columns = np.arange(left, right)
            known = columns[sure[row, left:right]]
            if 2 <= len(known) < len(columns):
                inner = np.clip(columns, known[0], known[-1])
                bridged[row, left:right] = PchipInterpolator(known, y[row, known])(inner)
    return bridged


def find_spikes(
    log_probability: np.ndarray, bins: np.ndarray, row_stride: int, config: Stage2Config = AS_SHIPPED
) -> np.ndarray:
    """Which columns of (R, H, W) are surely a spike's, (R, W) bool, given the heights `bins` (R, W).

    They stand out by SPIKE_MV from the median of their surroundings, and hold SPIKE_MASS about their highest
    value, as far about it as three standard deviations of what training makes of such a trace.
    """
    around = median_filter(bins, size=(1, 2 * SPIKE_COLUMNS + 1), mode="nearest")
    spikes = np.abs(bins - around) > SPIKE_MV * RECTIFIED.px_per_mv / row_stride
    row, column = np.nonzero(spikes)
    reach = 3 * np.sqrt(config.target_sigma**2 + stroke_variance(bins)[row, column])
    tall = log_probability[row, :, column]  # (N, H)
    near = np.abs(np.arange(tall.shape[1]) - tall.argmax(axis=1)[:, None]) <= reach[:, None]
    spikes[row, column] = (np.exp(tall) * near).sum(axis=1) >= SPIKE_MASS
    return spikes


def complete(
    log_probability: np.ndarray,
    path: np.ndarray,
    bins: np.ndarray,
    confidence: np.ndarray,
    starts: np.ndarray,
    row_stride: int,
    config: Stage2Config = AS_SHIPPED,
) -> tuple[np.ndarray, np.ndarray]:
    """The rows' heights (R, W) in bins, read about the path again where other beats have a say.

    With them comes where these say more than the page itself, (R, W) bool: below a confidence of UNCLEAR.
    """
    expected, variance = expected_traces(bins * row_stride, confidence, starts)
    known_from_beats = np.isfinite(variance) & (confidence < CERTAIN)
    row, column = np.nonzero(known_from_beats)
    own = np.where(find_spikes(log_probability, bins, row_stride, config), 1, confidence)[known_from_beats]
    expected, variance = expected[known_from_beats] / row_stride, variance[known_from_beats] / row_stride**2
    leaning = combine_with_beats(log_probability[row, :, column], own, expected, variance)
    about = np.where(confidence[known_from_beats] < UNCLEAR, leaning.argmax(axis=1), path[known_from_beats])
    completed = bins.copy()
    completed[known_from_beats] = refine(leaning.T[None], about[None])[0][0]
    return completed, known_from_beats & (confidence < UNCLEAR)


def signal_columns() -> slice:
    """The columns of the rectified page that show the signal: stage 2 has learnt nothing beyond."""
    columns = segment_columns(0, TIMELINE, TIMELINE, RECTIFIED)
    return slice(int(columns[0]), int(columns[-1]) + 1)


def log_probabilities(logits: torch.Tensor, loss: str = AS_SHIPPED.loss) -> np.ndarray:
    """Logits (4, H, W) as the logarithm of each column's distribution over its bins, float32.

    Maps of the loss "bce" judge each pixel by itself: what is below PIXEL_BACKGROUND is left out, and columns
    are divided by their sum where that is above 1, so that a column without a trace stays without.
    """
    if loss != "bce":
        return torch.log_softmax(logits.float(), dim=1).cpu().numpy()
    pixels = logits.float().sigmoid()
    pixels = torch.where(pixels > PIXEL_BACKGROUND, pixels, 0.0)
    return (pixels / pixels.sum(dim=1, keepdim=True).clamp(min=1)).clamp(min=1e-9).log().cpu().numpy()


class RowTraces(NamedTuple):
    """The traces of one page's rows.

    y: (4, W) px of the rectified page, NaN beyond the signal.
    confidence: (4, W) in 0..1, what the page alone gives; 0 beyond the signal and where other ink hides it.
    imputed: (4, W) bool, where the height was taken from the other beats of the lead more than from the page.
    """

    y: np.ndarray
    confidence: np.ndarray
    imputed: np.ndarray


def decode_maps(
    logits: torch.Tensor, row_stride: int, config: Stage2Config = AS_SHIPPED, impute: bool = True
) -> RowTraces:
    """Logits (4, H, W) of one page to the height of each row's trace, gaps bridged.

    `config` is that of the network. With `impute` what the page hardly shows is completed from other beats.
    """
    inside = signal_columns()
    log_probability = log_probabilities(logits[:, :, inside], config.loss)
    starts = lead_starts(inside.start, inside.stop)
    path = follow_spikes(find_path(log_probability, starts), log_probability)
    bins, mass, variance = refine(log_probability, path)
    confidence = rate_columns(bins, mass, variance, row_stride, config)
    bins = bridge(bins, mass > UNSURE, starts)
    hidden = hidden_ends(bins, confidence, row_stride)
    log_probability, confidence = forget(log_probability, hidden), np.where(hidden, 0, confidence)
    bins = hold_ends(bins, hidden)
    imputed = np.zeros(bins.shape, bool)
    if impute:
        bins, imputed = complete(log_probability, path, bins, confidence, starts, row_stride, config)
    y = rescale(bins, row_stride) + CROP_TOP
    margins = ((0, 0), (inside.start, logits.shape[2] - inside.stop))
    return RowTraces(
        np.pad(y, margins, constant_values=np.nan), np.pad(confidence, margins), np.pad(imputed, margins)
    )


def rows_from_traces(y: np.ndarray, length: int) -> np.ndarray:
    """Heights (4, W) px, NaN beyond the signal, to rows (4, length) mV over ten seconds."""
    known = np.flatnonzero(np.isfinite(y).all(axis=0))
    if not len(known):
        raise ValueError("no column of the rows has a height")
    y = y[:, known[0] : known[-1] + 1]
    return rows_from_columns(
        np.pad(y, ((0, 0), (known[0], RECTIFIED.width - known[0] - y.shape[1])), mode="edge"), length
    )


def merge_traces(y: np.ndarray, confidence: np.ndarray, method: str = "mean") -> np.ndarray:
    """Several readings (N, 4, W) of the same rows to one (4, W), by confidence (N, 4, W).

    `method` is one of MERGES, weighted; where no reading is sure at all, they count alike. The median of two
    is their mean. NaN stays NaN.
    """
    if method not in MERGES:
        raise ValueError(f"method {method!r}: {' or '.join(MERGES)}")
    weight = np.maximum(confidence, 1e-6)
    if method == "mean" or len(y) < 3:
        return (weight * y).sum(axis=0) / weight.sum(axis=0)
    order = np.argsort(y, axis=0)
    share = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0)
    half = share[-1] / 2
    middle = np.stack([(share < half).sum(axis=0), (share <= half).sum(axis=0)])  # alike unless halves tie
    median = np.take_along_axis(np.take_along_axis(y, order, axis=0), middle, axis=0).mean(axis=0)
    return np.where(np.isfinite(y).all(axis=0), median, np.nan)


def merge_confidence(y: np.ndarray, confidence: np.ndarray, merged: np.ndarray) -> np.ndarray:
    """The confidence (4, W) of heights `merged` from several: the mean of theirs, less where they lie apart.

    Like `rate_columns`: 0.5 where their standard deviation is HALF_SURE_MV.
    """
    weight = np.maximum(confidence, 1e-6)
    apart = np.nan_to_num((weight * (y - merged) ** 2).sum(axis=0) / weight.sum(axis=0))
    excess = (apart - stroke_variance(merged)).clip(0)
    return confidence.mean(axis=0) / (1 + excess / (HALF_SURE_MV * RECTIFIED.px_per_mv) ** 2)


def finish_rows(y: np.ndarray, confidence: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Heights and confidence (4, W) to rows (4, length) mV, and the limb leads' residuals (4, 2) mV."""
    return reconcile_limbs(rows_from_traces(y, length), confidence_at(confidence, length))


def decode_rows(
    logits: torch.Tensor, row_stride: int, length: int, config: Stage2Config = AS_SHIPPED
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (4, H, W) of one page to rows (4, length) mV over ten seconds, and confidence (4, W) in 0..1."""
    y, confidence, _ = decode_maps(logits, row_stride, config)
    return finish_rows(y, confidence, length)[0], confidence
