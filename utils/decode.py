"""Stage 2's maps to millivolts: a path through each row's map, refined to a fraction of a pixel."""

from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import cv2
import numpy as np
import torch
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import maximum_filter1d, median_filter, minimum_filter1d

from configs.page import DURATION_S, LEADS, RECTIFIED, RHYTHM_LEAD, ROWS
from configs.stage2 import CROP_TOP, STEEP_REACH, Stage2Config
from utils.beats import CERTAIN, expected_heights, lean_on_beats
from utils.ends import forget, hidden_ends, hold_ends
from utils.leads import lead_place, lead_slice, split_rows
from utils.limbs import reconcile_limbs
from utils.trace import rows_from_columns, segment_columns, segments

STEP_COST = 0.15  # per bin and column: the price of a jump, in nats
LEAP = 24  # bins between columns, half of CENTROID_REACH: a shorter step hardly changes what is read about it
FLOOR = 6.0  # nats: no column is worse than this, so that a hole does not bend the path
UNSEEN = 3.0  # nats: a column whose likeliest bin costs more, a probability of 0.05, shows no trace by itself
CENTROID_REACH = 48  # bins on either side of the path
HALF_SURE_MV = 0.05  # half a small square: confidence is 0.5 where a trace's height is left open by so much
EARLY_OR_LATE = 0.9  # columns, 2 ms: a stroke's place in time is not that sure even where it is well seen
SPIKE_COLUMNS = 4  # 10 ms: no pacing spike is wider
SPIKE_MV = 0.1  # by which it stands out at least
SPIKE_MASS = 0.9  # of a column's probability about one height, from which on it is not moved
TIMELINE = 10_000  # samples of ten seconds, fine enough to say which column belongs to which lead
GAP_S = 0.02  # shorter ones are not worth a word
UNCLEAR = 0.5  # confidence below which other beats may move the path itself
MERGES = ("mean", "median")  # how several readings become one
UNSURE = 0.05  # confidence up to which a column counts as a gap
PIXEL_BACKGROUND = 0.05  # probability of a pixel: hundreds of unlikely ones would outweigh the trace
AS_SHIPPED = Stage2Config()  # what the maps were trained to be, unless a network says otherwise


def lead_starts(first: int, last: int) -> np.ndarray:
    """Which columns first <= x < last begin a lead, in each of the four rows: (4, last - first) bool."""
    starts = np.zeros((len(ROWS) + 1, last - first), bool)
    for row, begins in enumerate(starts):
        for start, stop in segments(TIMELINE, row)[1:]:
            begins[segment_columns(start, stop, TIMELINE, RECTIFIED)[0] - first] = True
    return starts


def track(cost: np.ndarray, starts: np.ndarray | None = None) -> np.ndarray:
    """The cheapest path through (R, H, W) costs with STEP_COST per bin of a jump: (R, W) bins.

    Viterbi's recursion; with a linear price the minimum over all predecessors is two running minima. A jump
    into a column where a new lead starts, (R, W) bool, costs nothing.
    """
    starts = np.zeros((cost.shape[0], cost.shape[2]), bool) if starts is None else starts
    rows, height, width = cost.shape
    cost = np.ascontiguousarray(cost.transpose(2, 0, 1))  # (W, R, H)
    slope = (STEP_COST * np.arange(height)).astype(np.float32)
    total = np.empty_like(cost)
    total[0] = cost[0]
    for x in range(1, width):
        up = np.minimum.accumulate(total[x - 1] - slope, axis=1) + slope
        down = np.minimum.accumulate((total[x - 1] + slope)[:, ::-1], axis=1)[:, ::-1] - slope
        np.minimum(up, down, out=up)
        if starts[:, x].any():
            up[starts[:, x]] = total[x - 1][starts[:, x]].min(axis=1, keepdims=True)
        np.add(up, cost[x], out=total[x])
    path = np.empty((rows, width), np.int64)
    path[:, -1] = total[-1].argmin(axis=1)
    distance = STEP_COST * np.abs(np.subtract.outer(np.arange(height), np.arange(height)))
    for x in range(width - 2, -1, -1):
        jump = distance[path[:, x + 1]]
        jump[starts[:, x + 1]] = 0
        path[:, x] = (total[x] + jump).argmin(axis=1)
    return path


def find_path(log_probability: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """The bins (R, W) about which (R, H, W) log probabilities are read: each column's likeliest, as a rule.

    Where these leap or are hardly likelier than others, a blot or another row's trace may outshine the trace:
    there, and as far about as columns can stray before that costs more than to leap away and back, the path
    is the cheapest of `track`. A lead begins at any height in `starts` (R, W) bool.
    """
    path = log_probability.argmax(axis=1)
    height, width = log_probability.shape[1:]
    reach = int(2 * STEP_COST * height / (FLOOR - UNSEEN))
    doubtful = log_probability.max(axis=1) < -UNSEEN
    doubtful[:, 1:] |= (np.abs(np.diff(path, axis=1)) > LEAP) & ~starts[:, 1:]
    about = np.ones((1, 2 * reach + 1), np.uint8)
    for row, near in enumerate(cv2.dilate(doubtful.astype(np.uint8), about) > 0):
        for start, stop in runs(near):
            first, last = max(start - 1, 0), min(stop + 1, width - 1)  # columns off any leap hold the ends
            cost = np.minimum(-log_probability[row, :, first : last + 1], FLOOR)
            for column in {first, last} - {0, width - 1}:
                cost[:, column - first] = np.inf
                cost[path[row, column], column - first] = 0
            inside = slice(first, last + 1)
            path[row, inside] = track(cost[None], starts[row : row + 1, inside])[0]
    return path


def refine(log_probability: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The centroid of (R, H, W) log probabilities about a path (R, W), in bins, its mass and its variance."""
    offsets = np.arange(-CENTROID_REACH, CENTROID_REACH + 1)
    bins = path[:, None] + offsets[:, None]  # (R, 2 reach + 1, W)
    height = log_probability.shape[1]
    weight = np.exp(np.take_along_axis(log_probability, bins.clip(0, height - 1), axis=1))
    weight *= (bins >= 0) & (bins < height)
    powers = np.stack([np.ones_like(offsets), offsets, offsets**2]).astype(weight.dtype)
    mass, first, second = np.moveaxis(powers @ weight, 1, 0)  # (R, W) each
    total = np.maximum(mass, 1e-12)
    return path + first / total, mass, np.maximum(second / total - (first / total) ** 2, 0)


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


def follow_spikes(path: np.ndarray, log_probability: np.ndarray) -> np.ndarray:
    """The path (R, W) bins led to the tops of spikes, which the price of a jump keeps it from.

    A spike is a run of up to SPIKE_COLUMNS columns that are sure of a height beyond CENTROID_REACH: nearer
    ones are in the path's own centroid.
    """
    peak = log_probability.argmax(axis=1)
    sure = np.abs(peak - path) > CENTROID_REACH
    followed = path.copy()
    for row in np.flatnonzero(sure.any(axis=1)):
        columns = np.flatnonzero(sure[row])
        mass = refine(log_probability[row : row + 1, :, columns], peak[row : row + 1, columns])[1][0]
        sure[row, columns] = mass >= SPIKE_MASS
        for start, stop in runs(sure[row]):
            if stop - start <= SPIKE_COLUMNS:
                followed[row, start:stop] = peak[row, start:stop]
    return followed


def runs(flags: np.ndarray) -> list[tuple[int, int]]:
    """(start, stop) of each run of True in (N,) bool."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(np.int8), [0]])))
    return [(int(start), int(stop)) for start, stop in edges.reshape(-1, 2)]


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
    expected, variance = expected_heights(bins * row_stride, confidence, starts)
    told = np.isfinite(variance) & (confidence < CERTAIN)
    row, column = np.nonzero(told)
    own = np.where(find_spikes(log_probability, bins, row_stride, config), 1, confidence)[told]
    expected, variance = expected[told] / row_stride, variance[told] / row_stride**2
    leaning = lean_on_beats(log_probability[row, :, column], own, expected, variance)
    about = np.where(confidence[told] < UNCLEAR, leaning.argmax(axis=1), path[told])
    completed = bins.copy()
    completed[told] = refine(leaning.T[None], about[None])[0][0]
    return completed, told & (confidence < UNCLEAR)


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


class Heights(NamedTuple):
    """The traces of one page's rows.

    y: (4, W) px of the rectified page, NaN beyond the signal.
    confidence: (4, W) in 0..1, what the page alone gives; 0 beyond the signal and where other ink hides it.
    imputed: (4, W) bool, where the height was taken from the other beats of the lead more than from the page.
    """

    y: np.ndarray
    confidence: np.ndarray
    imputed: np.ndarray


def read_heights(
    logits: torch.Tensor, row_stride: int, config: Stage2Config = AS_SHIPPED, impute: bool = True
) -> Heights:
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
    y = (bins + 0.5) * row_stride - 0.5 + CROP_TOP
    margins = ((0, 0), (inside.start, logits.shape[2] - inside.stop))
    return Heights(
        np.pad(y, margins, constant_values=np.nan), np.pad(confidence, margins), np.pad(imputed, margins)
    )


def rows_from_heights(y: np.ndarray, length: int) -> np.ndarray:
    """Heights (4, W) px, NaN beyond the signal, to rows (4, length) mV over ten seconds."""
    known = np.flatnonzero(np.isfinite(y).all(axis=0))
    if not len(known):
        raise ValueError("no column of the rows has a height")
    y = y[:, known[0] : known[-1] + 1]
    return rows_from_columns(
        np.pad(y, ((0, 0), (known[0], RECTIFIED.width - known[0] - y.shape[1])), mode="edge"), length
    )


def merge_heights(y: np.ndarray, confidence: np.ndarray, method: str = "mean") -> np.ndarray:
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
    return reconcile_limbs(rows_from_heights(y, length), confidence_at(confidence, length))


def decode_rows(
    logits: torch.Tensor, row_stride: int, length: int, config: Stage2Config = AS_SHIPPED
) -> tuple[np.ndarray, np.ndarray]:
    """Logits (4, H, W) of one page to rows (4, length) mV over ten seconds, and confidence (4, W) in 0..1."""
    y, confidence, _ = read_heights(logits, row_stride, config)
    return finish_rows(y, confidence, length)[0], confidence


def sample_columns(length: int) -> np.ndarray:
    """The columns of the rectified page, (length,) float64, at which samples of ten seconds lie."""
    seconds = np.arange(length) * (DURATION_S / length)
    return RECTIFIED.signal_start + seconds * RECTIFIED.px_per_second


def confidence_at(confidence: np.ndarray, length: int) -> np.ndarray:
    """Confidence (4, W) of columns to (4, length) of samples."""
    places = sample_columns(length)
    return np.stack([np.interp(places, np.arange(len(row)), row) for row in confidence])


def imputed_at(imputed: np.ndarray, length: int) -> np.ndarray:
    """Which samples of the leads come of imputed columns (4, W) bool: (12, length) bool."""
    places = np.round(sample_columns(length)).astype(int).clip(0, imputed.shape[1] - 1)
    leads = np.zeros((len(LEADS), length), bool)
    for lead, flags in split_rows(imputed[:, places]).items():
        leads[LEADS.index(lead), lead_slice(lead, length)] = flags
    return leads


def rate_leads(confidence: np.ndarray) -> np.ndarray:
    """Confidence (4, W) of the rows' columns to (12,) of the leads: the mean over a lead's own time."""
    rated = {
        lead: float(confidence[row, segment_columns(*span, TIMELINE, RECTIFIED)].mean())
        for lead, row, span in lead_spans()
    }
    return np.array([rated[lead] for lead in LEADS])


def find_gaps(confidence: np.ndarray) -> dict[str, list[tuple[float, float]]]:
    """Where leads could hardly be seen: lead -> [(start, stop)] in s of the ten seconds.

    Only gaps of GAP_S and more count; a lead without any is left out.
    """
    gaps = {}
    for lead, row, span in lead_spans():
        columns = segment_columns(*span, TIMELINE, RECTIFIED)
        unsure = np.concatenate([[0], confidence[row, columns] <= UNSURE, [0]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(unsure)).reshape(-1, 2)
        seconds = (columns[0] + edges - RECTIFIED.signal_start) / RECTIFIED.px_per_second
        if found := [(float(a), float(b)) for a, b in seconds.clip(0, DURATION_S) if b - a >= GAP_S]:
            gaps[lead] = found
    return gaps


def lead_spans() -> Iterator[tuple[str, int, tuple[int, int]]]:
    """Each lead with its row, and its first and last sample of TIMELINE."""
    for lead in LEADS:
        inside = lead_slice(lead, TIMELINE)
        yield lead, len(ROWS) if lead == RHYTHM_LEAD else lead_place(lead)[0], (inside.start, inside.stop)
