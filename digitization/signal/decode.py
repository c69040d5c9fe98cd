"""Stage 2 decoded: from the maps of the four rows to the y-coordinates of their traces and to millivolts."""

from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import maximum_filter1d, median_filter, minimum_filter1d

from configs.layouts import COMPETITION_ROWS, RowGroup
from configs.page import RECTIFIED
from configs.stage2 import CROP_TOP, STEEP_REACH, Stage2Config
from digitization.signal.beats import MIN_CONFIDENCE_UNCHANGED, combine_with_beats, expected_traces
from digitization.signal.limb_leads import reconcile_limbs
from digitization.signal.path import SPIKE_COLUMNS, SPIKE_MASS, find_path, follow_spikes, refine
from digitization.signal.quality import MAX_CONFIDENCE_GAP, confidence_at
from digitization.signal.row_ends import hidden_ends, hold_nearest, make_uniform
from digitization.signal.traces import TIMELINE, rows_from_columns, segment_columns
from utils.rescaling import rescale

HALF_CONFIDENCE_MV = 0.05  # mV (0.5 mm), excess standard deviation of y at which confidence is halved
TIMING_SD_COLUMNS = 0.9  # columns (2 ms), uncertainty of a stroke's x even where it is seen well
MIN_SPIKE_MV = 0.1  # mV by which a pacing spike stands out from its surroundings at least
MAX_CONFIDENCE_IMPUTED = 0.5  # confidence below which a column is imputed: other beats may move the path
MERGES = ("mean", "median")  # ways to merge the traces of several networks or views
PIXEL_BACKGROUND = 0.05  # probability below which a pixel counts as 0; hundreds would outweigh the trace
DEFAULT_CONFIG = Stage2Config()  # configuration assumed for maps whose network is not given


def lead_starts(first: int, last: int, group: RowGroup = COMPETITION_ROWS) -> np.ndarray:
    """The columns first <= x < last in which a lead begins within its row: (R, last - first) bool."""
    starts = np.zeros((len(group.rows), last - first), bool)
    for begins, spans in zip(starts, group.spans(TIMELINE), strict=True):
        for start, stop in spans[1:]:
            begins[segment_columns(start, stop, TIMELINE, RECTIFIED)[0] - first] = True
    return starts


def rate_columns(
    bins: np.ndarray,
    mass: np.ndarray,
    variance: np.ndarray,
    row_stride: int,
    config: Stage2Config = DEFAULT_CONFIG,
) -> np.ndarray:
    """Confidence (R, W) in 0..1: the probability mass near the path, reduced where y is uncertain.

    bins (R, W) are the y-coordinates, mass (R, W) and variance (R, W) bins^2 as `refine` gives them. Only the
    variance in excess of the training target's (`config`) and of `stroke_variance` reduces the confidence:
    where a trace is steep its y is uncertain, but the trace is not. HALF_CONFIDENCE_MV halves it.
    """
    expected_variance = config.target_sigma**2 + stroke_variance(bins)
    half_confidence = HALF_CONFIDENCE_MV * RECTIFIED.px_per_mv / row_stride  # bins
    return mass.clip(0, 1) / (1 + (variance - expected_variance).clip(0) / half_confidence**2)


def stroke_variance(y: np.ndarray) -> np.ndarray:
    """Variance of y (R, W), NaN where unknown, due to TIMING_SD_COLUMNS and slope, in y's unit squared."""
    window = 2 * STEEP_REACH + 1
    unknown = np.isnan(y)
    high = maximum_filter1d(np.where(unknown, -np.inf, y), window, axis=1, mode="nearest")
    low = minimum_filter1d(np.where(unknown, np.inf, y), window, axis=1, mode="nearest")
    return (TIMING_SD_COLUMNS * np.maximum(high - low, 0) / (2 * STEEP_REACH)) ** 2


def bridge(y: np.ndarray, known: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """y (R, W) with the columns outside `known` (R, W) bool interpolated by a shape-preserving cubic.

    Each lead, from one of `starts` (R, W) bool to the next, is interpolated by itself.
    """
    bridged = y.copy()
    for row in range(len(y)):
        bounds = [0, *([] if starts is None else np.flatnonzero(starts[row])), y.shape[1]]
        for left, right in pairwise(bounds):
            columns = np.arange(left, right)
            nodes = columns[known[row, left:right]]
            if 2 <= len(nodes) < len(columns):
                inner = np.clip(columns, nodes[0], nodes[-1])
                bridged[row, left:right] = PchipInterpolator(nodes, y[row, nodes])(inner)
    return bridged


def find_spikes(
    log_probability: np.ndarray, bins: np.ndarray, row_stride: int, config: Stage2Config = DEFAULT_CONFIG
) -> np.ndarray:
    """Columns of log probabilities (R, H, W) that clearly show a pacing spike: (R, W) bool.

    The y of the trace there, `bins` (R, W), is more than MIN_SPIKE_MV off the median of its surroundings, and
    SPIKE_MASS of the probability lies within three standard deviations of the training target (`config`)
    about the likeliest bin.
    """
    around = median_filter(bins, size=(1, 2 * SPIKE_COLUMNS + 1), mode="nearest")
    spikes = np.abs(bins - around) > MIN_SPIKE_MV * RECTIFIED.px_per_mv / row_stride
    row, column = np.nonzero(spikes)
    reach = 3 * np.sqrt(config.target_sigma**2 + stroke_variance(bins)[row, column])
    tall = log_probability[row, :, column]  # (N, H)
    near = np.abs(np.arange(tall.shape[1]) - tall.argmax(axis=1)[:, None]) <= reach[:, None]
    spikes[row, column] = (np.exp(tall) * near).sum(axis=1) >= SPIKE_MASS
    return spikes


def impute_from_beats(
    log_probability: np.ndarray,
    path: np.ndarray,
    bins: np.ndarray,
    confidence: np.ndarray,
    starts: np.ndarray,
    row_stride: int,
    config: Stage2Config = DEFAULT_CONFIG,
) -> tuple[np.ndarray, np.ndarray]:
    """The y-coordinates (R, W) in bins, refined again where other beats of the lead match.

    log_probability (R, H, W); path, bins and confidence (R, W); starts (R, W) bool. Also returns the imputed
    columns (R, W) bool: those of a confidence below MAX_CONFIDENCE_IMPUTED.
    """
    expected, variance = expected_traces(bins * row_stride, confidence, starts)
    matched = np.isfinite(variance) & (confidence < MIN_CONFIDENCE_UNCHANGED)
    row, column = np.nonzero(matched)
    own_confidence = np.where(find_spikes(log_probability, bins, row_stride, config), 1, confidence)[matched]
    expected, variance = expected[matched] / row_stride, variance[matched] / row_stride**2
    combined = combine_with_beats(log_probability[row, :, column], own_confidence, expected, variance)
    centre = np.where(confidence[matched] < MAX_CONFIDENCE_IMPUTED, combined.argmax(axis=1), path[matched])
    imputed_bins = bins.copy()
    imputed_bins[matched] = refine(combined.T[None], centre[None])[0][0]
    return imputed_bins, matched & (confidence < MAX_CONFIDENCE_IMPUTED)


def signal_columns(group: RowGroup = COMPETITION_ROWS) -> slice:
    """The columns of the rectified page that show the signal; stage 2 is not trained on any others."""
    stop = max(stop for spans in group.spans(TIMELINE) for _, stop in spans)
    columns = segment_columns(0, stop, TIMELINE, RECTIFIED)
    return slice(int(columns[0]), int(columns[-1]) + 1)


def log_probabilities(logits: torch.Tensor, loss: str = DEFAULT_CONFIG.loss) -> np.ndarray:
    """Logits (4, H, W) to the logarithm of each column's distribution over its bins, (4, H, W) float32.

    With the loss "bce" the pixels are independent: probabilities below PIXEL_BACKGROUND are set to 0, and a
    column is divided by its sum where that is above 1, so that a column without a trace keeps a low mass.
    """
    if loss != "bce":
        return torch.log_softmax(logits.float(), dim=1).cpu().numpy()
    pixels = logits.float().sigmoid()
    pixels = torch.where(pixels > PIXEL_BACKGROUND, pixels, 0.0)
    return (pixels / pixels.sum(dim=1, keepdim=True).clamp(min=1)).clamp(min=1e-9).log().cpu().numpy()


class RowTraces(NamedTuple):
    """The traces of one page's rows, R of them.

    y: (R, W) px of the rectified page, NaN beyond the signal.
    confidence: (R, W) in 0..1, from the page alone; 0 beyond the signal and where other ink hides it.
    imputed: (R, W) bool, where y comes from other beats of the lead rather than from the page.
    """

    y: np.ndarray
    confidence: np.ndarray
    imputed: np.ndarray


def decode_maps(
    logits: torch.Tensor,
    row_stride: int,
    config: Stage2Config = DEFAULT_CONFIG,
    impute: bool = True,
    group: RowGroup = COMPETITION_ROWS,
) -> RowTraces:
    """Logits (4, H, W) of one page, of bins `row_stride` px high, to the trace of each row, gaps bridged.

    `config` is that of the network. With `impute`, columns of low confidence are imputed from other beats.
    `group` are the rows that the page shows, from the top; the result has as many.
    """
    inside = signal_columns(group)
    log_probability = log_probabilities(logits[: len(group.rows), :, inside], config.loss)
    starts = lead_starts(inside.start, inside.stop, group)
    path = follow_spikes(find_path(log_probability, starts), log_probability)
    bins, mass, variance = refine(log_probability, path)
    confidence = rate_columns(bins, mass, variance, row_stride, config)
    bins = bridge(bins, mass > MAX_CONFIDENCE_GAP, starts)
    hidden = hidden_ends(bins, confidence, row_stride)
    log_probability, confidence = make_uniform(log_probability, hidden), np.where(hidden, 0, confidence)
    bins = hold_nearest(bins, hidden)
    imputed = np.zeros(bins.shape, bool)
    if impute:
        bins, imputed = impute_from_beats(log_probability, path, bins, confidence, starts, row_stride, config)
    y = rescale(bins, row_stride) + CROP_TOP
    margins = ((0, 0), (inside.start, logits.shape[2] - inside.stop))
    return RowTraces(
        np.pad(y, margins, constant_values=np.nan), np.pad(confidence, margins), np.pad(imputed, margins)
    )


def rows_from_traces(y: np.ndarray, length: int, group: RowGroup = COMPETITION_ROWS) -> np.ndarray:
    """y (R, W) px, NaN beyond the signal, to rows (R, L) mV; `length` samples are ten seconds.

    Raises ValueError if no column is known in all rows.
    """
    known = np.flatnonzero(np.isfinite(y).all(axis=0))
    if not len(known):
        raise ValueError("no column has a y-coordinate in all rows")
    y = y[:, known[0] : known[-1] + 1]
    return rows_from_columns(
        np.pad(y, ((0, 0), (known[0], RECTIFIED.width - known[0] - y.shape[1])), mode="edge"),
        length,
        group=group,
    )


def merge_traces(y: np.ndarray, confidence: np.ndarray, method: str = "mean") -> np.ndarray:
    """Several traces y (N, 4, W) px of the same rows merged to (4, W) px, weighted by confidence (N, 4, W).

    `method` is one of MERGES, else ValueError. The median of two is their mean. Where all confidences are 0,
    the traces count alike. NaN stays NaN.
    """
    if method not in MERGES:
        raise ValueError(f"method {method!r}: must be {' or '.join(MERGES)}")
    weight = np.maximum(confidence, 1e-6)
    if method == "mean" or len(y) < 3:
        return (weight * y).sum(axis=0) / weight.sum(axis=0)
    order = np.argsort(y, axis=0)
    share = np.cumsum(np.take_along_axis(weight, order, axis=0), axis=0)
    half = share[-1] / 2
    middle = np.stack([(share < half).sum(axis=0), (share <= half).sum(axis=0)])  # they differ only on a tie
    median = np.take_along_axis(np.take_along_axis(y, order, axis=0), middle, axis=0).mean(axis=0)
    return np.where(np.isfinite(y).all(axis=0), median, np.nan)


def merge_confidence(y: np.ndarray, confidence: np.ndarray, merged: np.ndarray) -> np.ndarray:
    """Confidence (4, W) of the trace `merged` (4, W) from y (N, 4, W): their mean, reduced by disagreement.

    As in `rate_columns`, a standard deviation of HALF_CONFIDENCE_MV among the traces halves it.
    """
    weight = np.maximum(confidence, 1e-6)
    disagreement = np.nan_to_num((weight * (y - merged) ** 2).sum(axis=0) / weight.sum(axis=0))
    excess = (disagreement - stroke_variance(merged)).clip(0)
    return confidence.mean(axis=0) / (1 + excess / (HALF_CONFIDENCE_MV * RECTIFIED.px_per_mv) ** 2)


def finish_rows(y: np.ndarray, confidence: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """y and confidence (4, W) to rows (4, length) mV, and the limb leads' residuals (4, 2) mV rms."""
    return reconcile_limbs(rows_from_traces(y, length), confidence_at(confidence, length))


def decode_rows(
    logits: torch.Tensor, row_stride: int, length: int, config: Stage2Config = DEFAULT_CONFIG
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (4, H, W) of one page to rows (4, length) mV over ten seconds, and confidence (4, W) in 0..1."""
    y, confidence, _ = decode_maps(logits, row_stride, config)
    return finish_rows(y, confidence, length)[0], confidence
