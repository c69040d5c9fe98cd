"""The traces of a page of any layout: its rows, four at a time, read by stage 2 as the competition's."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import uniform_filter1d

from configs.layouts import Layout, RowGroup
from configs.page import DURATION_S, MM_PER_MV, RECTIFIED, SQUARES_PER_SECOND
from digitization.geometry.row_strips import lattice_points, row_groups
from digitization.geometry.straight_paper import is_inside
from digitization.layout.page import LayoutPage
from digitization.layout.slant import find_slant
from digitization.layout.strips import name_strips
from digitization.signal.decode import RowTraces, rows_from_traces, signal_columns
from digitization.signal.limb_leads import reconcile_limbs
from digitization.signal.quality import MAX_CONFIDENCE_GAP, confidence_at, sample_columns
from digitization.signal.tracer import Tracer, TraceResult

MIN_STRIP_LABEL = 0.8  # probability from which the label of a rhythm strip is believed, whatever its trace
MIN_SLANT_SQUARES = 0.04  # squares (8 ms) from the first row to the last that are worth reading again
NEAR_EDGE_SQUARES = 3.2  # squares from its zero line, of its strip's 3.6, from which a row may go beyond it
# Columns (46 ms) in a row in which it has to: peaks that are cut off last 20 ms and are read no better alone.
COLUMNS_ALONG_EDGE = 20
TALL_SQUARES = 7.2  # squares below its zero line that the strip of such a row shows, read by itself
MIN_CONFIDENCE_KEPT = 0.9  # share of its confidence that it has to keep then
EDGE_SQUARES = 0.1  # squares (20 ms) beyond the image that the traces' last values still stand for
MAX_CUT_SHARE = 0.04  # share of the rows (0.4 s of ten) that may lie beyond the image without a doubt
MIN_STRIP_CONFIDENCE = 0.4  # mean confidence of its trace below which a strip without a label is none
MIN_CONTRADICTION = 0.05  # contradiction of the limb leads, as a share of their rms, that is of no concern
MAX_FREE_SHARE = 0.5  # share of it that other factors leave, below which the leads have scales of their own
# Changes the traces of some rows of a page, given these rows and the strips (H, W, 3) uint8 that show them.
TraceEdit = Callable[[LayoutPage, list[int], np.ndarray, RowTraces], RowTraces]


def unchanged(page: LayoutPage, rows: list[int], strips: np.ndarray, traces: RowTraces) -> RowTraces:
    """The edit of traces that changes nothing."""
    return traces


def read_page(
    tracer: Tracer, upright: np.ndarray, page: LayoutPage, fs: int, edit: TraceEdit = unchanged
) -> tuple[LayoutPage, TraceResult]:
    """The traces of a page on the upright (H, W, 3) uint8 RGB image, its rows at `fs` Hz.

    `edit` changes the traces as stage 2 reads them, before they become millivolts; where it leaves NaN the
    rows are NaN too, and nothing is compared. Also returns the page, its rhythm strips named by their traces
    unless the layout was given. Raises ValueError when the output of a network is not finite.
    """
    traces, read = read_rows(tracer, upright, page, fs, edit)
    layout = name_strips_of(page, read).layout
    slant = find_slant(read, layout, page.zero_lines, page.squares_per_second)
    if abs(slant) * np.ptp(page.zero_lines) >= MIN_SLANT_SQUARES:
        page = replace(page, slant=page.slant + slant)
        traces, read = read_rows(tracer, upright, page, fs, edit)
    page, kept = without_empty_strips(page, traces)
    traces, read = RowTraces(*(part[kept] for part in traces)), read[kept]
    page = name_strips_of(page, read)
    layout = page.layout
    seen = confidence_at(traces.confidence, int(DURATION_S * fs))[:, : read.shape[1]]
    outside = np.stack([beyond_image(page, row, upright.shape, read.shape[1]) for row in range(len(read))])
    if outside.mean() > MAX_CUT_SHARE:
        cut = f"{outside.mean():.0%} of the rows lie beyond the edge of the image"
        page = replace(page, doubts=(*page.doubts, cut))
    unread = unread_samples(traces.y, read.shape[1], layout)
    unread |= np.stack([beyond_paper(page, row, part) for row, part in enumerate(seen)])
    hidden = outside | unread
    compared = np.where(hidden.any(axis=0), 0, read)  # where a lead is not shown nothing contradicts it
    reconciled, residuals = reconcile_limbs(compared, seen, layout)
    if outside.any() or not relations_hold(compared, layout):
        reconciled = read
    reconciled = np.where(unread.any(axis=0), read, reconciled)
    return page, TraceResult(np.where(hidden, np.nan, reconciled), *traces, residuals)


def unread_samples(y: np.ndarray, length: int, layout: Layout) -> np.ndarray:
    """Which of `length` samples of each row lie where its trace (R, W) px is NaN: (R, length) bool."""
    columns = sample_columns(round(length * DURATION_S / layout.duration_s))[:length]
    inside = signal_columns(RowGroup(layout, tuple(range(layout.row_count))))
    places = np.round(columns).astype(int).clip(inside.start, inside.stop - 1)
    return np.isnan(y[:, places])


def fill_unread(y: np.ndarray) -> np.ndarray:
    """Traces (R, W) px with straight lines over the NaN between known columns, for what has to be finite."""
    filled, columns = y.copy(), np.flatnonzero(np.isfinite(y).any(axis=0))
    if not len(columns):
        return filled
    inside = np.arange(columns[0], columns[-1] + 1)
    for row in filled:
        known = np.flatnonzero(np.isfinite(row))
        if len(known):
            row[inside] = np.interp(inside, known, row[known])
    return filled


def beyond_image(page: LayoutPage, row: int, shape: tuple[int, ...], length: int) -> np.ndarray:
    """Which samples (length,) of a row lie outside an upright image of this shape, at its zero line.

    Those within EDGE_SQUARES of its edge do not count: a page is often cut where its rows begin and end.
    """
    x = page.starts[row] + page.width * np.arange(length) / length
    xy = lattice_points(page.gridpoint_xy, np.full(length, page.zero_lines[row]), x)
    beyond = ~is_inside(xy, shape)
    near = int(np.ceil(EDGE_SQUARES * length / page.width))
    for side in (beyond, beyond[::-1]):  # views of one array
        if not side.all() and int(side.argmin()) <= near:
            side[: int(side.argmin())] = False
    return beyond


def beyond_paper(page: LayoutPage, row: int, confidence: np.ndarray) -> np.ndarray:
    """Which samples of a row with a confidence (L,) are beyond its grid, from the first one not seen on."""
    x = page.starts[row] + page.width * np.arange(len(confidence)) / len(confidence)
    unseen = confidence <= MAX_CONFIDENCE_GAP
    before = unseen & (x < -EDGE_SQUARES)
    after = unseen & (x > page.gridpoint_xy.shape[1] - 1 + EDGE_SQUARES)
    return np.logical_or.accumulate(before[::-1])[::-1] | np.logical_or.accumulate(after)


def read_rows(
    tracer: Tracer, upright: np.ndarray, page: LayoutPage, fs: int, edit: TraceEdit = unchanged
) -> tuple[RowTraces, np.ndarray]:
    """The traces of a page's rows, edited, and these as (R, L) mV at `fs` Hz."""
    layout, length = page.layout, int(DURATION_S * fs)
    squares_per_column = page.squares_per_second / SQUARES_PER_SECOND
    rows, readings = [], []

    def lay_out(numbers: list[int], *how: Any) -> np.ndarray:
        places = page.zero_lines[numbers], page.starts[numbers]
        return tracer.lay_out(upright, page.gridpoint_xy, *places, squares_per_column, *how)

    for numbers in row_groups(layout.row_count):
        group = RowGroup(layout, tuple(numbers))
        strips = lay_out(numbers)
        traces = tracer.read_all(strips, group)
        for index in np.flatnonzero(reaches_edge(traces.y)):
            alone = tracer.read_all(
                lay_out([numbers[index]], RECTIFIED, TALL_SQUARES), RowGroup(layout, (numbers[index],))
            )
            traces = with_row(traces, int(index), alone)
        readings.append(edit(page, numbers, strips, traces))
        rows.append(
            rows_from_traces(fill_unread(readings[-1].y), length, group) * (MM_PER_MV / layout.mm_per_mv)
        )
    traces = RowTraces(*(np.concatenate(parts) for parts in zip(*readings, strict=True)))
    return traces, np.concatenate(rows)


def reaches_edge(y: np.ndarray) -> np.ndarray:
    """Which rows of traces y (R, W) px run along the edges of their strips, and may have left them: (R,)."""
    off = np.abs(y - np.array(RECTIFIED.zero_lines)[: len(y), None]) / RECTIFIED.square_height
    along = uniform_filter1d((off > NEAR_EDGE_SQUARES).astype(np.float32), COLUMNS_ALONG_EDGE, axis=1)
    return (along > 1 - 0.5 / COLUMNS_ALONG_EDGE).any(axis=1)


def with_row(traces: RowTraces, index: int, alone: RowTraces) -> RowTraces:
    """Traces with a row as it was read by itself, at the top of its page, unless it is seen worse so."""
    seen, seen_alone = (float(np.nanmean(each)) for each in (traces.confidence[index], alone.confidence[0]))
    if seen_alone < MIN_CONFIDENCE_KEPT * seen:
        return traces
    y, confidence, imputed = (part.copy() for part in traces)
    y[index] = alone.y[0] + RECTIFIED.zero_lines[index] - RECTIFIED.zero_lines[0]
    confidence[index], imputed[index] = alone.confidence[0], alone.imputed[0]
    return RowTraces(y, confidence, imputed)


def without_empty_strips(page: LayoutPage, traces: RowTraces) -> tuple[LayoutPage, list[int]]:
    """The page without rhythm strips that have neither label nor trace, and the rows that are kept.

    What looked like their rows were edges of the paper or lines of text.
    """
    layout, first = page.layout, len(page.layout.rows)
    columns = signal_columns(RowGroup(layout, tuple(range(layout.row_count))))
    seen = traces.confidence[:, columns].mean(axis=1)
    kept = [
        index
        for index, label in enumerate(page.strip_labels)
        if label >= MIN_STRIP_LABEL or seen[first + index] >= MIN_STRIP_CONFIDENCE
    ]
    if len(kept) == len(page.strip_labels):
        return page, list(range(layout.row_count))
    rows = [*range(first), *(first + index for index in kept)]
    rhythm = tuple(layout.rhythm[index] for index in kept)
    layout = replace(layout, name="+".join([layout.name.split("+")[0], *rhythm]), rhythm=rhythm)
    labels = tuple(page.strip_labels[index] for index in kept)
    return replace(page, layout=layout, zero_lines=page.zero_lines[rows], strip_labels=labels), rows


def name_strips_of(page: LayoutPage, rows: np.ndarray) -> LayoutPage:
    """The page with its rhythm strips named by label and trace, and doubts where neither says for sure."""
    if not page.strip_labels:
        return page
    layout = page.layout
    legible = [label >= MIN_STRIP_LABEL for label in page.strip_labels]
    found = name_strips(rows, layout, legible)
    doubts = []
    for number, (strip, is_legible) in enumerate(zip(found, legible, strict=True), start=1):
        if strip.repeats:
            doubts.append(f"strip {number} is read as {strip.lead}, but shows the trace of {strip.repeats}")
        elif not is_legible and not strip.is_confirmed:
            doubts.append(
                f"layout {layout.name}: neither label nor trace says for sure which lead strip {number} shows"
            )
    grid, rhythm = layout.name.split("+")[0], tuple(strip.lead for strip in found)
    layout = replace(layout, name="+".join([grid, *rhythm]), rhythm=rhythm)
    return replace(page, layout=layout, doubts=(*page.doubts, *doubts))


def relations_hold(rows: np.ndarray, layout: Layout) -> bool:
    """Whether the limb leads of rows (R, L) mV may be fitted to their relations.

    On some pages every lead has a scale of its own, and fitted to each other they would only get worse. Then
    other factors than those of Einthoven and Goldberger explain each lead by the others much better.
    """
    bound, free, power = 0.0, 0.0, 0.0
    for part, segments, relation in layout.limb_groups():
        inside = part.span(rows.shape[1])
        readings = rows[[segment.row for segment in segments], inside].astype(np.float64)
        readings -= readings.mean(axis=1, keepdims=True)
        for index in range(len(readings)):
            own, others = readings[index], np.delete(readings, index, axis=0)
            factors = relation[index] @ np.linalg.pinv(np.delete(relation, index, axis=0))
            bound += float(((own - factors @ others) ** 2).sum())
            free += float(((own - np.linalg.lstsq(others.T, own, rcond=None)[0] @ others) ** 2).sum())
            power += float((own**2).sum())
    return bound <= MIN_CONTRADICTION**2 * power or free >= MAX_FREE_SHARE * bound
