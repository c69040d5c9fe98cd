"""The traces of a PDF page in rows and columns, and the layout that they make."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from configs.layouts import Layout, find_layout
from digitization.layout import page as layout_page
from digitization.vector.curves import Trace
from digitization.vector.lead_names import Label

NOMINAL_SECONDS = (*layout_page.NOMINAL_SECONDS, 30.0, 60.0)  # durations of rows that are met in files
DURATION_TOLERANCE = 0.02  # share by which the rows may be shorter or longer than one of these
STRIP_SHARE = 1.5  # widths of a lead of a column from which on a trace is a strip over several
COLUMN_SHARE = 0.3  # share of a column's width within which its leads begin
ROW_SHARE = 0.5  # share of the distance of rows by which the leads of a row may be apart
MAX_LATE_S = 0.2  # s by which a column may begin beside its place: ecgtizer's fourth is 0.06 s early
SMALL_STEP = 0.4  # steps between points by which a lead's first point may lie before its boundary


class CurvesUnread(ValueError):
    """There are curves on a page, and why they are not read."""


@dataclass(frozen=True)
class Piece:
    """A lead's part of a page: points (N, 2) mm; `lead` is "" where no name stands beside it.

    begin is x of its time 0 in mm, middle y about which its whole row runs.
    """

    lead: str
    sign: int
    points: np.ndarray
    begin: float
    middle: float

    @property
    def width(self) -> float:
        return float(self.points[-1, 0] - self.points[0, 0])


@dataclass(frozen=True)
class PlacedPiece:
    """A piece in the layout: row from the top, strips below the others; its time 0 is first_s."""

    piece: Piece
    row: int
    column: int
    first_s: float


@dataclass(frozen=True)
class Arrangement:
    """The layout of a page and the pieces in it."""

    layout: Layout
    pieces: tuple[PlacedPiece, ...]


def cut_rows(traces: Sequence[Trace], labels: Sequence[Sequence[Label]], mm_per_second: float) -> list[Piece]:
    """The leads of the traces: one that several names stand beside is a whole row, and cut in equal parts.

    Raises CurvesUnread where the names do not stand at such parts.
    """
    pieces = []
    for trace, own in zip(traces, labels, strict=True):
        if len(own) < 2:
            lead, sign = (own[0].lead, own[0].sign) if own else ("", 1)
            pieces.append(Piece(lead, sign, trace.points, trace.start, trace.middle))
            continue
        steps = np.diff(trace.points[:, 0])
        step = float(np.min(steps[steps > 1e-4], initial=trace.width))
        seconds = nominal_seconds((trace.width + step) / mm_per_second)
        width = seconds * mm_per_second / len(own)
        for number, label in enumerate(own):
            begin = trace.start + number * width
            if not begin - COLUMN_SHARE * width <= label.x < begin + (1 - COLUMN_SHARE) * width:
                raise CurvesUnread(f"the name {label.lead} is not where a lead of its row begins")
            last = np.inf if number == len(own) - 1 else begin + width - SMALL_STEP * step
            inside = (trace.points[:, 0] >= begin - SMALL_STEP * step) & (trace.points[:, 0] < last)
            if inside.sum() < 2:
                raise CurvesUnread(f"a row ends before its lead {label.lead}")
            pieces.append(Piece(label.lead, label.sign, trace.points[inside], begin, trace.middle))
    return pieces


def nominal_seconds(seconds: float) -> float:
    """The usual duration that one is within DURATION_TOLERANCE of, else itself to the ms."""
    nominal = min(NOMINAL_SECONDS, key=lambda usual: abs(np.log(seconds / usual)))
    return nominal if abs(seconds / nominal - 1) <= DURATION_TOLERANCE else round(float(seconds), 3)


def split_strips(pieces: Sequence[Piece]) -> tuple[list[list[Piece]], list[Piece]]:
    """The columns of leads from left to right, each from the top, and the strips, also from the top.

    A strip runs over several columns, or repeats a lead of the only one. Raises CurvesUnread for a lead
    without a name, which only strips may lack.
    """
    narrowest = min(piece.width for piece in pieces)
    narrow = [piece for piece in pieces if piece.width < STRIP_SHARE * narrowest]
    starts: list[float] = []
    for begin in sorted(piece.begin for piece in narrow):
        if not starts or begin - starts[-1] > COLUMN_SHARE * narrowest:
            starts.append(begin)
    cells = narrow if len(starts) > 1 else list(pieces)
    strips = [piece for piece in pieces if not any(piece is cell for cell in cells)]
    columns: list[list[Piece]] = [[] for _ in starts]
    for piece in cells:
        columns[int(np.argmin([abs(piece.begin - start) for start in starts]))].append(piece)
    columns = [sorted(column, key=lambda piece: piece.middle) for column in columns]
    if len(columns) == 1:
        columns[0], strips = first_of_each(columns[0])
    if unnamed := sum(not piece.lead for piece in cells):
        raise CurvesUnread(f"{unnamed} of {len(cells)} curves have no name beside them")
    return columns, sorted(strips, key=lambda piece: piece.middle)


def arrange(
    columns: Sequence[Sequence[Piece]],
    strips: Sequence[Piece],
    mm_per_second: float,
    speed: float,
    gain: float,
) -> Arrangement:
    """The layout of columns and strips of named pieces, and their places in it.

    `speed` and `gain` are those of the paper, mm_per_second that of the page. Raises CurvesUnread where the
    pieces make no rows and columns.
    """
    check_columns(columns)
    pieces = [*(piece for column in columns for piece in column), *strips]
    begin, end = min(p.begin for p in pieces), max(float(p.points[-1, 0]) for p in pieces)
    seconds = nominal_seconds((end - begin) / mm_per_second)
    own = nominal_seconds(float(np.median([p.width for column in columns for p in column])) / mm_per_second)
    is_apart = seconds not in NOMINAL_SECONDS and own * len(columns) in NOMINAL_SECONDS  # with gaps between
    if is_apart:
        seconds = own * len(columns)
    rows = tuple(
        tuple(("-" if piece.sign < 0 else "") + piece.lead for piece in row)
        for row in zip(*columns, strict=True)
    )
    placed = []
    for number, column in enumerate(columns):
        start = min(piece.begin for piece in column)
        first = number * seconds / len(columns)
        late = (start - begin) / mm_per_second - first
        if abs(late) > MAX_LATE_S and not is_apart:
            raise CurvesUnread(f"the leads of column {number + 1} begin {late:+.2f} s beside their place")
        placed += [
            PlacedPiece(piece, row, number, first + (piece.begin - start) / mm_per_second)
            for row, piece in enumerate(column)
        ]
    placed += [
        PlacedPiece(piece, len(rows) + index, 0, (piece.begin - begin) / mm_per_second)
        for index, piece in enumerate(strips)
    ]
    try:
        layout = make_layout(rows, tuple(piece.lead for piece in strips), seconds, speed, gain)
    except ValueError as error:
        raise CurvesUnread(str(error)) from None
    return Arrangement(layout, tuple(placed))


def first_of_each(column: Sequence[Piece]) -> tuple[list[Piece], list[Piece]]:
    """The pieces of leads that come for the first time, and the others."""
    seen: set[str] = set()
    first: list[Piece] = []
    more: list[Piece] = []
    for piece in column:
        (more if piece.lead in seen else first).append(piece)
        seen.add(piece.lead)
    return first, more


def check_columns(columns: Sequence[Sequence[Piece]]) -> None:
    """Raise CurvesUnread unless all columns have as many leads, side by side."""
    if len({len(column) for column in columns}) > 1:
        raise CurvesUnread(f"columns of {', '.join(str(len(column)) for column in columns)} leads")
    middles = np.array([[piece.middle for piece in column] for column in columns])
    if middles.shape[1] > 1:
        distance = float(np.median(np.diff(middles, axis=1)))
        if np.ptp(middles, axis=0).max() > ROW_SHARE * distance:
            raise CurvesUnread("the leads of a row are not side by side")


def make_layout(
    rows: tuple[tuple[str, ...], ...], rhythm: tuple[str, ...], seconds: float, speed: float, gain: float
) -> Layout:
    """The layout of rows and strips under the name that find_layout has for it, if there is one."""
    count, columns = len(rows), len(rows[0])
    strips = "".join(f"+{lead}" for lead in rhythm)
    for name in (
        f"{count}x{columns}",
        f"{count}x{columns}-limb",
        f"{count}x{columns}-chest",
        f"cabrera-{count}x{columns}",
        f"cabrera-{count}x{columns}-limb",
    ):
        try:
            found = find_layout(f"{name}{strips}")
        except ValueError:
            continue
        if found.rows == rows:
            return replace(found, duration_s=seconds, mm_per_second=speed, mm_per_mv=gain)
    own = "+".join(row[0] for row in rows) if columns == 1 else f"{count}x{columns} of its own"
    return Layout(f"{own}{strips}", rows, rhythm, seconds, speed, gain)
