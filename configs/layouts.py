"""Layouts: which lead a page shows in which row and when, how fast and how tall; and signals by layout.

Signals are in mV. Leads are (12, L) in the order of configs.page.LEADS, where L samples span the page's
duration; rows are (R, L), counted from the top of the page: the rows of leads, then the rhythm strips.
A name says what a layout shows: `find_layout` knows "3x4+II", "6x2", "12x1", "3x4+V1+II+V5", "6x1-limb",
"6x1-chest", the same in Cabrera's order ("cabrera-6x2"), strips of some leads ("II", "V1+II+V5"), and
modules of a user's own (see `find_layout`).
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from itertools import pairwise
from typing import Any

import numpy as np

from configs.page import DURATION_S, LEADS, MM_PER_MV, MM_PER_SECOND

# Each limb lead as a combination of I and II (Einthoven: III = II - I; Goldberger's augmented leads).
LIMB_LEADS = {
    "I": (1.0, 0.0),
    "II": (0.0, 1.0),
    "III": (-1.0, 1.0),
    "aVR": (-0.5, -0.5),
    "aVL": (1.0, -0.5),
    "aVF": (-0.5, 1.0),
}
CHEST_LEADS = ("V1", "V2", "V3", "V4", "V5", "V6")
CABRERA = ("aVL", "I", "-aVR", "II", "aVF", "III")  # the limb leads by the angle of their axis
NAME_PATTERN = re.compile(r"(cabrera-)?(\d+)x(\d+)(-limb|-chest)?((?:\+[A-Za-z0-9]+)*)")
# Durations, paper speeds and gains beyond which a layout is taken for a mistake.
SECONDS_RANGE, SPEED_RANGE, GAIN_RANGE = (0.5, 120.0), (5.0, 200.0), (1.0, 80.0)
MIN_SHARE = 0.02  # share of a page's duration below which no lead is printed


@dataclass(frozen=True)
class Segment:
    """One lead as it is printed.

    row is counted from the top; the segment spans the `column`th of `columns` equal parts of the page's
    duration, or from one to the other of `edges`, shares of it, where the parts are uneven. A lead with sign
    -1 is printed upside down, as Cabrera's -aVR.
    """

    lead: str
    row: int
    column: int
    columns: int
    sign: int = 1
    edges: tuple[float, float] | None = None

    def bounds(self, length: int) -> tuple[int, int]:
        """The (start, stop) of its samples, of `length` on the page, cut at int(k * L / n)."""
        if self.edges is not None:
            return round(self.edges[0] * length), round(self.edges[1] * length)
        return self.column * length // self.columns, (self.column + 1) * length // self.columns

    def span(self, length: int) -> slice:
        """`bounds` as a slice."""
        return slice(*self.bounds(length))


@dataclass(frozen=True)
class Layout:
    """What a page shows. Raises ValueError for one that cannot be printed.

    rows: the leads of each row from left to right, as many in each; "-aVR" is printed upside down.
    rhythm: the leads of the strips below the rows, each over the whole duration.
    duration_s: seconds from the left end of a row to its right end.
    mm_per_second, mm_per_mv: paper speed and gain.
    boundaries: where the leads of a row meet, as shares of the duration; empty where all are equally long.
    """

    name: str
    rows: tuple[tuple[str, ...], ...]
    rhythm: tuple[str, ...] = ()
    duration_s: float = 10.0
    mm_per_second: float = 25.0
    mm_per_mv: float = 10.0
    boundaries: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        widths = {len(row) for row in self.rows}
        if len(widths) != 1 or 0 in widths:
            raise ValueError(f"layout {self.name}: rows of {sorted(widths)} leads, not of as many in each")
        printed = [lead.removeprefix("-") for row in self.rows for lead in row]
        if unknown := [lead for lead in (*printed, *self.rhythm) if lead not in LEADS]:
            raise ValueError(f"layout {self.name}: {unknown[0]!r} is not one of the leads {', '.join(LEADS)}")
        for leads, where in ((printed, "in its rows"), (self.rhythm, "among its rhythm strips")):
            if twice := [lead for lead in leads if list(leads).count(lead) > 1]:
                raise ValueError(f"layout {self.name}: {twice[0]} twice {where}")
        for value, (least, most), what in (
            (self.duration_s, SECONDS_RANGE, "duration_s"),
            (self.mm_per_second, SPEED_RANGE, "mm_per_second"),
            (self.mm_per_mv, GAIN_RANGE, "mm_per_mv"),
        ):
            if not least <= value <= most:
                raise ValueError(f"layout {self.name}: {what} {value}: must be from {least:g} to {most:g}")
        edges = (0.0, *self.boundaries, 1.0)
        if self.boundaries and (len(edges) != self.columns + 1 or np.diff(edges).min() < MIN_SHARE):
            raise ValueError(f"layout {self.name}: leads that meet at {self.boundaries} of the duration")

    @property
    def columns(self) -> int:
        """Number of leads side by side in a row."""
        return len(self.rows[0])

    @property
    def row_count(self) -> int:
        """Number of rows on the page, the rhythm strips included."""
        return len(self.rows) + len(self.rhythm)

    @cached_property
    def segments(self) -> tuple[Segment, ...]:
        """Every lead as it is printed, row by row; a lead with a rhythm strip may be printed twice."""
        ends = (0.0, *self.boundaries, 1.0)
        edges = list(pairwise(ends)) if self.boundaries else [None] * self.columns
        cells = [
            Segment(
                lead.removeprefix("-"), row, column, self.columns, -1 if lead[0] == "-" else 1, edges[column]
            )
            for row, leads in enumerate(self.rows)
            for column, lead in enumerate(leads)
        ]
        strips = [Segment(lead, len(self.rows) + index, 0, 1) for index, lead in enumerate(self.rhythm)]
        return (*cells, *strips)

    def row_segments(self, row: int) -> tuple[Segment, ...]:
        """The segments of a row, from left to right."""
        return tuple(segment for segment in self.segments if segment.row == row)

    @cached_property
    def longest(self) -> dict[str, Segment]:
        """Of each lead that is printed the segment that shows most of it, in the order of LEADS."""
        found: dict[str, Segment] = {}
        for segment in self.segments:
            if segment.lead not in found or segment.columns < found[segment.lead].columns:
                found[segment.lead] = segment
        return {lead: found[lead] for lead in LEADS if lead in found}

    def segment_of(self, lead: str) -> Segment:
        """The longest segment of a lead; ValueError for a lead that is not printed."""
        if lead not in self.longest:
            raise ValueError(f"{lead!r} is not one of the leads {', '.join(self.longest)}")
        return self.longest[lead]

    def cell_of(self, lead: str) -> Segment:
        """The segment of a lead among the rows, which is the short copy of a rhythm lead; else ValueError."""
        for segment in self.segments:
            if segment.lead == lead and segment.row < len(self.rows):
                return segment
        raise ValueError(f"{lead!r} is in none of the rows of {self.name}")

    def limb_groups(self) -> list[tuple[Segment, list[Segment], np.ndarray]]:
        """Where limb leads are printed at the same time: the shortest reading, all of them, their relation.

        The relation (n, 2) has the readings as combinations of I and II, their signs included. Parts of the
        page with two readings or fewer cannot contradict it and are left out.
        """
        groups = []
        for column in range(self.columns):
            readings = [
                segment
                for segment in self.segments
                if segment.lead in LIMB_LEADS and (segment.columns == 1 or segment.column == column)
            ]
            if len(readings) > 2:
                relation = np.array([np.multiply(LIMB_LEADS[s.lead], s.sign) for s in readings])
                groups.append((max(readings, key=lambda s: s.columns), readings, relation))
        return groups


COMPETITION = Layout(
    "3x4+II",
    (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6")),
    ("II",),
)


@dataclass(frozen=True)
class RowGroup:
    """Some rows of a layout that stage 2 reads at once, from the top of its page."""

    layout: Layout
    rows: tuple[int, ...]

    def spans(self, length: int) -> tuple[tuple[tuple[int, int], ...], ...]:
        """The (start, stop) samples of each row's leads, of `length` in ten seconds."""
        shown = round(self.layout.duration_s * length / DURATION_S)
        return tuple(
            tuple(segment.bounds(shown) for segment in self.layout.row_segments(row)) for row in self.rows
        )


COMPETITION_ROWS = RowGroup(COMPETITION, tuple(range(COMPETITION.row_count)))


def find_layout(name: str, **changes: Any) -> Layout:
    """The layout of a name: its grid of rows x columns and its rhythm strips, "3x4+V1+II+V5" for instance.

    Grids: 3x4, 6x2 and 12x1 of all leads; 6x1-limb, 6x1-chest, 3x2-limb and 3x2-chest of half of them. With
    "cabrera-" the limb leads come in Cabrera's order. "V1+II" is a strip of each lead. `changes` are fields
    of Layout: duration_s and so on. Any other name is that of a module configs/layout_<name>.py, which has
    such a `layout`; so is the layout's name. Raises ValueError.
    """
    matched = NAME_PATTERN.fullmatch(name)
    if matched:
        cabrera, rows, columns, part, strips = matched.groups()
        grid = lead_grid(int(rows), int(columns), (part or "").removeprefix("-"), bool(cabrera))
        if grid is not None:
            return Layout(name, grid, tuple(strips.split("+")[1:]), **changes)
    elif set(name.split("+")) <= set(LEADS):
        return Layout(name, tuple((lead,) for lead in name.split("+")), (), **changes)
    elif name.isidentifier():
        try:
            module = import_module(f"configs.layout_{name}")
        except ModuleNotFoundError as error:
            if error.name != f"configs.layout_{name}":  # the module is there, and what it imports is not
                raise
        else:
            if isinstance(layout := getattr(module, "layout", None), Layout):
                values: dict[str, Any] = {**changes}
                return replace(layout, name=name, **values)
    raise ValueError(
        f"layout {name!r}: neither a grid such as 3x4+II, 6x2, 12x1, 6x1-limb or cabrera-6x2, nor a module "
        "configs/layout_<name>.py that defines `layout`"
    )


def parse_layout(text: str) -> Layout:
    """The layout of NAME[:SPEED[:GAIN]]; above 25 mm/s its rows last five seconds. Raises ValueError."""
    name, *scales = text.split(":")
    try:
        speed, gain = (*map(float, scales), *(MM_PER_SECOND, MM_PER_MV)[len(scales) :])
    except ValueError:
        raise ValueError(f"layout {text!r}: not NAME, NAME:SPEED or NAME:SPEED:GAIN") from None
    seconds = DURATION_S / 2 if speed > MM_PER_SECOND else DURATION_S
    return find_layout(name, mm_per_second=speed, mm_per_mv=gain, duration_s=seconds)


def lead_grid(rows: int, columns: int, part: str, cabrera: bool) -> tuple[tuple[str, ...], ...] | None:
    """Leads in rows and columns, filled column by column; None for a grid that they do not fill.

    `part` is "limb", "chest" or "" for all of them.
    """
    limb = CABRERA if cabrera else ("I", "II", "III", "aVR", "aVL", "aVF")
    leads = {"": (*limb, *CHEST_LEADS), "limb": limb, "chest": CHEST_LEADS}[part]
    if rows * columns != len(leads) or rows < 3:
        return None
    return tuple(tuple(leads[column * rows + row] for column in range(columns)) for row in range(rows))


def rows_from_leads(leads: np.ndarray, layout: Layout = COMPETITION) -> np.ndarray:
    """Leads (12, L) to rows (R, L) as they are printed: segments side by side, signs included."""
    check_shape(leads, len(LEADS))
    rows = np.empty((layout.row_count, leads.shape[1]), leads.dtype)
    for segment in layout.segments:
        inside = segment.span(leads.shape[1])
        rows[segment.row, inside] = segment.sign * leads[LEADS.index(segment.lead), inside]
    return rows


def split_rows(rows: np.ndarray, layout: Layout = COMPETITION) -> dict[str, np.ndarray]:
    """Rows (R, L) to lead -> (n,), what its longest segment shows, as printed; other leads are absent."""
    check_shape(rows, layout.row_count)
    return {lead: rows[s.row, s.span(rows.shape[1])] for lead, s in layout.longest.items()}


def leads_from_rows(rows: np.ndarray, layout: Layout = COMPETITION) -> np.ndarray:
    """Rows (R, L) to leads (12, L) float32, upright, NaN outside the time in which a lead is printed."""
    leads = np.full((len(LEADS), rows.shape[1]), np.nan, np.float32)
    for lead, signal in split_rows(rows, layout).items():
        segment = layout.longest[lead]
        leads[LEADS.index(lead), segment.span(rows.shape[1])] = segment.sign * signal
    return leads


def mask_unprinted(leads: np.ndarray, layout: Layout = COMPETITION) -> np.ndarray:
    """A copy of leads (12, L) float with NaN outside the time in which a lead is printed."""
    check_shape(leads, len(LEADS))
    masked = np.full_like(leads, np.nan)
    for lead, segment in layout.longest.items():
        inside = segment.span(leads.shape[1])
        masked[LEADS.index(lead), inside] = leads[LEADS.index(lead), inside]
    return masked


def lead_slice(lead: str, length: int, layout: Layout = COMPETITION) -> slice:
    """The samples of `length` in which a lead is printed; ValueError for a lead that is not."""
    return layout.segment_of(lead).span(length)


def check_shape(signals: np.ndarray, count: int) -> None:
    """Raise ValueError unless the signals are (count, L)."""
    if signals.ndim != 2 or len(signals) != count:
        raise ValueError(f"signals of shape {signals.shape}, expected ({count}, L)")
