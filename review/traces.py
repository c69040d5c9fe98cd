"""The traces of a page with stretches that a person redrew or declared unreadable."""

from collections.abc import Sequence

import numpy as np

from configs.page import RECTIFIED
from digitization.geometry.straighten import RectifiedPage
from digitization.signal.decode import RowTraces
from review.corrections import INK, UNREADABLE, Stretch
from review.ink import follow_ink, straight_line
from review.places import FoundPage, Places

ROWS_AT_ONCE = len(RECTIFIED.zero_lines)  # rows that stage 2 sees on one page


def strip_places(page: FoundPage, row: int, squares: np.ndarray) -> np.ndarray:
    """Places (N, 2) in squares of the paper to px of the strip that stage 2 sees of a row, (N, 2)."""
    if isinstance(page, RectifiedPage):
        return squares * (RECTIFIED.square_width, RECTIFIED.square_height)
    seconds = (squares[:, 0] - page.starts[row]) / page.squares_per_second
    down = squares[:, 1] - page.zero_lines[row]
    return np.stack(
        [
            RECTIFIED.signal_start + seconds * RECTIFIED.px_per_second,
            RECTIFIED.zero_lines[row % ROWS_AT_ONCE] + down * RECTIFIED.square_height,
        ],
        axis=1,
    )


def paper_places(page: FoundPage, row: int, xy: np.ndarray) -> np.ndarray:
    """The inverse of `strip_places`."""
    if isinstance(page, RectifiedPage):
        return xy / (RECTIFIED.square_width, RECTIFIED.square_height)
    seconds = (xy[:, 0] - RECTIFIED.signal_start) / RECTIFIED.px_per_second
    down = (xy[:, 1] - RECTIFIED.zero_lines[row % ROWS_AT_ONCE]) / RECTIFIED.square_height
    return np.stack(
        [page.starts[row] + seconds * page.squares_per_second, page.zero_lines[row] + down], axis=1
    )


def places_on_strip(page: FoundPage, stretch: Stretch, shape: tuple[int, ...]) -> np.ndarray:
    """The points of a stretch on its row's strip, from left to right, one in a column: (N, 2) px."""
    xy = strip_places(page, stretch.row, Places.of(page, shape).to_squares(stretch.points))
    xy = xy[np.argsort(xy[:, 0], kind="stable")]
    return xy[np.concatenate([[True], np.diff(np.round(xy[:, 0])) > 0])]


def cut_to_signal(xy: np.ndarray, known: np.ndarray) -> np.ndarray | None:
    """The part of a line through points (N, 2) px that lies in the columns of a signal, (W,) bool.

    None where that is less than two columns.
    """
    columns = np.flatnonzero(known)
    if not len(columns):
        return None
    first, last = max(xy[0, 0], columns[0]), min(xy[-1, 0], columns[-1])
    if last - first < 1:
        return None
    inner = xy[(xy[:, 0] > first + 0.5) & (xy[:, 0] < last - 0.5)]
    ends = [(x, np.interp(x, xy[:, 0], xy[:, 1])) for x in (first, last)]
    return np.array([ends[0], *inner, ends[1]], np.float64)


class Redrawing:
    """An edit of traces, see digitization.layout.reading.TraceEdit: the stretches of a page's corrections.

    shape: (height, width) of the image.
    """

    def __init__(self, stretches: Sequence[Stretch], shape: tuple[int, ...]):
        self.stretches, self.shape = stretches, shape

    def __call__(
        self, page: FoundPage, rows: Sequence[int], strips: np.ndarray, traces: RowTraces
    ) -> RowTraces:
        """The traces of some rows, redrawn on the strips (H, W, 3) that show them, or NaN if unreadable."""
        mine = [stretch for stretch in self.stretches if stretch.row in rows]
        if not mine:
            return traces
        known = np.isfinite(traces.y)
        y, confidence, imputed = (part.copy() for part in traces)
        for stretch in mine:
            row = list(rows).index(stretch.row)
            points = cut_to_signal(places_on_strip(page, stretch, self.shape), known[row])
            if points is None:
                continue
            inside = slice(round(points[0, 0]), round(points[-1, 0]) + 1)
            imputed[row, inside] = False
            confidence[row, inside] = 0.0 if stretch.kind == UNREADABLE else 1.0
            if stretch.kind == UNREADABLE:
                y[row, inside] = np.nan
            elif stretch.kind == INK:
                y[row, inside] = follow_ink(strips, points)
            else:
                y[row, inside] = straight_line(points)
        return RowTraces(y, confidence, imputed)
