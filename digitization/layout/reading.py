"""The traces of a page of any layout: its rows, four at a time, read by stage 2 as the competition's."""

from dataclasses import replace

import numpy as np

from configs.layouts import Layout, RowGroup
from configs.page import DURATION_S, MM_PER_MV, SQUARES_PER_SECOND
from digitization.geometry.row_strips import lay_out_rows, row_groups
from digitization.layout.page import LayoutPage
from digitization.layout.strips import name_strips
from digitization.signal.decode import rows_from_traces
from digitization.signal.limb_leads import reconcile_limbs
from digitization.signal.quality import confidence_at
from digitization.signal.tracer import Tracer, TraceResult

MIN_STRIP_LABEL = 0.8  # probability from which the label of a rhythm strip is believed, whatever its trace
MIN_CONTRADICTION = 0.05  # contradiction of the limb leads, as a share of their rms, that is of no concern
MAX_FREE_SHARE = 0.5  # share of it that other factors leave, below which the leads have scales of their own


def read_page(
    tracer: Tracer, upright: np.ndarray, page: LayoutPage, fs: int
) -> tuple[LayoutPage, TraceResult]:
    """The traces of a page on the upright (H, W, 3) uint8 RGB image, its rows at `fs` Hz.

    Also returns the page, its rhythm strips named by their traces unless the layout was given. Raises
    ValueError when the output of a network is not finite.
    """
    layout, length = page.layout, int(DURATION_S * fs)
    squares_per_column = page.squares_per_second / SQUARES_PER_SECOND
    rows, readings = [], []
    for numbers in row_groups(layout.row_count):
        group = RowGroup(layout, tuple(numbers))
        strips = lay_out_rows(
            upright, page.gridpoint_xy, page.zero_lines[numbers], page.start, squares_per_column
        )
        readings.append(tracer.read_all(strips, group))
        rows.append(rows_from_traces(readings[-1].y, length, group) * (MM_PER_MV / layout.mm_per_mv))
    y, confidence, imputed = (np.concatenate(parts) for parts in zip(*readings, strict=True))
    seen = confidence_at(confidence, length)[:, : rows[0].shape[1]]
    read = np.concatenate(rows)
    page = name_strips_of(page, read)
    layout = page.layout
    reconciled, residuals = reconcile_limbs(read, seen, layout)
    if not relations_hold(read, layout):
        reconciled = read
    return page, TraceResult(reconciled, y, confidence, imputed, residuals)


def name_strips_of(page: LayoutPage, rows: np.ndarray) -> LayoutPage:
    """The page with its rhythm strips named by label and trace, and doubts where neither says for sure."""
    if not page.strip_labels:
        return page
    layout = page.layout
    names, confirmed = name_strips(rows, layout)
    doubts = [
        f"layout {layout.name}: neither label nor trace says for sure which lead strip {number} shows"
        for number, (label, same) in enumerate(zip(page.strip_labels, confirmed, strict=True), start=1)
        if label < MIN_STRIP_LABEL and not same
    ]
    grid = layout.name.split("+")[0]
    layout = replace(layout, name="+".join([grid, *names]), rhythm=names)
    return replace(page, layout=layout, doubts=(*page.doubts, *doubts))


def relations_hold(rows: np.ndarray, layout: Layout) -> bool:
    """Whether the limb leads of rows (R, L) mV may be fitted to their relations.

    On some pages every lead has a scale of its own, and fitted to each other they would only get worse. Then
    other factors than those of Einthoven and Goldberger explain each lead by the others much better.
    """
    bound, free, power = 0.0, 0.0, 0.0
    for (column, columns), segments, relation in layout.limb_groups():
        inside = slice(column * rows.shape[1] // columns, (column + 1) * rows.shape[1] // columns)
        readings = rows[[segment.row for segment in segments], inside].astype(np.float64)
        readings -= readings.mean(axis=1, keepdims=True)
        for index in range(len(readings)):
            own, others = readings[index], np.delete(readings, index, axis=0)
            factors = relation[index] @ np.linalg.pinv(np.delete(relation, index, axis=0))
            bound += float(((own - factors @ others) ** 2).sum())
            free += float(((own - np.linalg.lstsq(others.T, own, rcond=None)[0] @ others) ** 2).sum())
            power += float((own**2).sum())
    return bound <= MIN_CONTRADICTION**2 * power or free >= MAX_FREE_SHARE * bound
