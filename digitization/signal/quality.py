"""Quality of digitized leads without ground truth: confidence, gaps, and which samples are imputed."""

from collections.abc import Iterator

import numpy as np

from configs.layouts import COMPETITION, Layout, lead_slice, split_rows
from configs.page import DURATION_S, LEADS, RECTIFIED
from digitization.signal.traces import TIMELINE, segment_columns

MIN_GAP_S = 0.02  # seconds, shortest gap that is reported
MAX_CONFIDENCE_GAP = 0.05  # confidence up to which a column counts as a gap


def sample_columns(length: int) -> np.ndarray:
    """x of each of `length` samples of ten seconds on the rectified page: (length,) float64, columns."""
    seconds = np.arange(length) * (DURATION_S / length)
    return RECTIFIED.signal_start + seconds * RECTIFIED.px_per_second


def confidence_at(confidence: np.ndarray, length: int) -> np.ndarray:
    """Confidence (R, W) of the columns to that of `length` samples of ten seconds, (R, length)."""
    places = sample_columns(length)
    return np.stack([np.interp(places, np.arange(len(row)), row) for row in confidence])


def imputed_at(imputed: np.ndarray, length: int, layout: Layout = COMPETITION) -> np.ndarray:
    """The samples of the leads that come from imputed columns (R, W) bool: (12, L) bool.

    `length` is the number of samples in ten seconds, L in the duration of the layout.
    """
    shown = round(layout.duration_s * length / DURATION_S)
    places = np.round(sample_columns(length)[:shown]).astype(int).clip(0, imputed.shape[1] - 1)
    leads = np.zeros((len(LEADS), shown), bool)
    for lead, flags in split_rows(imputed[:, places], layout).items():
        leads[LEADS.index(lead), lead_slice(lead, shown, layout)] = flags
    return leads


def rate_leads(confidence: np.ndarray, layout: Layout = COMPETITION) -> np.ndarray:
    """Confidence (R, W) of the columns to that of the leads, (12,): the mean over each lead's own time.

    NaN for leads that the layout does not print.
    """
    rated = {
        lead: float(confidence[row, segment_columns(*span, TIMELINE, RECTIFIED)].mean())
        for lead, row, span in lead_spans(layout)
    }
    return np.array([rated.get(lead, np.nan) for lead in LEADS])


def find_gaps(confidence: np.ndarray, layout: Layout = COMPETITION) -> dict[str, list[tuple[float, float]]]:
    """The gaps, in which a lead could hardly be seen, from confidence (R, W): lead -> [(start, stop)] in s.

    Gaps shorter than MIN_GAP_S do not count; a lead without gaps is left out.
    """
    gaps = {}
    for lead, row, span in lead_spans(layout):
        columns = segment_columns(*span, TIMELINE, RECTIFIED)
        unseen = np.concatenate([[0], confidence[row, columns] <= MAX_CONFIDENCE_GAP, [0]]).astype(np.int8)
        edges = np.flatnonzero(np.diff(unseen)).reshape(-1, 2)
        seconds = (columns[0] + edges - RECTIFIED.signal_start) / RECTIFIED.px_per_second
        if found := [(float(a), float(b)) for a, b in seconds.clip(0, DURATION_S) if b - a >= MIN_GAP_S]:
            gaps[lead] = found
    return gaps


def lead_spans(layout: Layout) -> Iterator[tuple[str, int, tuple[int, int]]]:
    """Each lead with its row and the (start, stop) samples of TIMELINE in which it is printed."""
    for lead, segment in layout.longest.items():
        yield lead, segment.row, segment.bounds(round(layout.duration_s * TIMELINE / DURATION_S))
