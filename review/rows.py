"""The rows of a page as a person has them: layout, speed and gain, zero lines, ends, boundaries, names."""

from dataclasses import replace

import numpy as np

from configs.layouts import COMPETITION, Layout, find_layout
from configs.page import (
    DURATION_S,
    MM_PER_MV,
    MM_PER_SECOND,
    SIGNAL_START_SQUARES,
    SQUARE_MM,
    SQUARES_PER_SECOND,
    TRACE_SHIFT_MM,
    ZERO_LINE_ROWS,
)
from digitization.geometry.locate import PageNotFound
from digitization.geometry.paper import PaperGrid
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.finder import LayoutFinder
from digitization.layout.landmarks import Landmarks
from digitization.layout.page import (
    DURATION_TOLERANCE,
    MAX_DURATION_S,
    NOTHING_KNOWN,
    Known,
    LayoutPage,
    usual_duration,
)
from digitization.layout.scales import ASSUMED, GIVEN, Scale
from review.corrections import Corrections
from review.places import Places

EDGE_SQUARES = 2.0  # squares from the edge of the grid at which rows are put that are not seen
MIN_SECONDS = 0.5  # shortest duration of a row, see configs.layouts.SECONDS_RANGE
# How doubts begin that the page's finder has, and what settles them: fields of Corrections.
SETTLED_BY = {
    "layout ": ("layout", "names"),
    "strip ": ("layout", "names"),
    "paper speed ": ("speed",),
    "gain ": ("gain",),
    "0 mV of a row": ("zero_lines",),
    "rows of ": ("speed", "start", "end"),
    "where the leads begin": ("start", "end"),
}
CUT_ROWS = "of the rows lie beyond the edge"  # part of the doubt that every reading comes to anew


def as_layout_page(page: RectifiedPage) -> LayoutPage:
    """A page of the competition as one of any layout, with its own lattice; a slip is not part of it."""
    shift = TRACE_SHIFT_MM / SQUARE_MM
    doubts = [] if page.slip is None else ["the slip of the paper is left out"]
    return LayoutPage(
        page.orientation,
        page.gridpoint_xy,
        page.seen,
        page.page_score,
        COMPETITION,
        np.array(ZERO_LINE_ROWS) + shift,
        SIGNAL_START_SQUARES + shift,
        0.0,
        DURATION_S * SQUARES_PER_SECOND,
        1.0,
        1.0,
        (),
        Scale(MM_PER_SECOND, "the competition's page"),
        Scale(MM_PER_MV, "the competition's page"),
        tuple(doubts),
    )


def place_rows(
    finder: LayoutFinder, upright: np.ndarray, orientation: int, grid: PaperGrid, landmarks: Landmarks,
    known: Known,
) -> LayoutPage:  # fmt: skip
    """The page with its rows where its landmarks have them for what is known of it.

    Where the layout is known and another number of rows is seen, its rows are spread evenly over those seen.
    """
    try:
        return finder.place(upright, orientation, grid, landmarks, known, searches_scales=False)
    except PageNotFound:
        if known.layout is None:
            raise
    return spread_rows(orientation, grid, landmarks, known.layout, known.speed, known.gain)


def spread_rows(
    orientation: int,
    grid: PaperGrid,
    landmarks: Landmarks,
    layout: Layout,
    speed: float | None,
    gain: float | None,
) -> LayoutPage:
    """The page with the rows of a layout spread evenly between the first and the last row seen."""
    height, width = (count - 1 for count in grid.gridpoint_xy.shape[:2])
    seen = [row.y for row in landmarks.rows]
    first, last = (seen[0], seen[-1]) if len(seen) > 1 else (EDGE_SQUARES, height - EDGE_SQUARES)
    start = float(np.median([row.first for row in landmarks.rows])) if seen else EDGE_SQUARES
    end = float(np.median([row.last for row in landmarks.rows])) if seen else width - EDGE_SQUARES
    scales = [
        Scale(usual, ASSUMED) if given is None else Scale(given, GIVEN)
        for given, usual in ((speed, MM_PER_SECOND), (gain, MM_PER_MV))
    ]
    page = LayoutPage(
        orientation,
        grid.gridpoint_xy,
        grid.seen,
        grid.probability,
        layout,
        np.linspace(first, last, layout.row_count),
        start,
        0.0,
        end - start,
        0.0,
        0.0,
        (),
        scales[0],
        scales[1],
        ("the rows are not seen where they are put",),
    )
    return set_scales(page, scales[0], scales[1], nominal=True)


def set_scales(page: LayoutPage, speed: Scale, gain: Scale, nominal: bool) -> LayoutPage:
    """The page at another speed and gain; its rows keep their width, so they last longer or shorter.

    With `nominal` they last as long as rows usually do if their width is nearly that. Raises ValueError for
    rows that are too short or too long to be read.
    """
    seconds = page.width * SQUARE_MM / speed.value
    usual = usual_duration(seconds, NOTHING_KNOWN)
    if nominal and abs(seconds / usual - 1) <= DURATION_TOLERANCE:
        seconds = usual
    if not MIN_SECONDS <= seconds <= MAX_DURATION_S * (1 + DURATION_TOLERANCE):
        raise ValueError(
            f"rows of {seconds:.1f} s at {speed.value:g} mm/s: only {MIN_SECONDS:g} to {MAX_DURATION_S:g} s "
            "are read"
        )
    layout = replace(
        page.layout,
        duration_s=round(min(seconds, MAX_DURATION_S), 3),
        mm_per_second=speed.value,
        mm_per_mv=gain.value,
    )
    return replace(page, layout=layout, speed=speed, gain=gain)


def correct_rows(page: LayoutPage, corrections: Corrections, shape: tuple[int, ...]) -> LayoutPage:
    """The page with the zero lines, ends, boundaries and names given, on an image (height, width).

    Raises ValueError for corrections that do not fit its layout.
    """
    places = Places.of(page, shape)
    zero_lines = np.array(page.zero_lines, np.float64)
    for row, point in corrections.zero_lines:
        if row >= len(zero_lines):
            raise ValueError(f"there is no row {row + 1} in the layout {page.layout.name}")
        zero_lines[row] = places.to_squares([point])[0, 1]
    if (np.diff(zero_lines) <= 0).any():
        raise ValueError("the rows would no longer be one below another")
    slant_shift = page.slant * (zero_lines.mean() - page.zero_lines.mean())
    page = replace(page, zero_lines=zero_lines, start=page.start + slant_shift)
    start, end = page.start, page.start + page.width
    if corrections.start is not None:
        start = float(places.to_squares([corrections.start])[0, 0])
    if corrections.end is not None:
        end = float(places.to_squares([corrections.end])[0, 0])
    moved = corrections.start is not None or corrections.end is not None
    page = replace(page, start=start, width=end - start)
    speed = page.speed if corrections.speed is None else Scale(corrections.speed, GIVEN)
    gain = page.gain if corrections.gain is None else Scale(corrections.gain, GIVEN)
    if moved or corrections.speed is not None or corrections.gain is not None:
        page = set_scales(page, speed, gain, nominal=corrections.end is None)
    layout = page.layout
    if corrections.boundaries:
        layout = set_boundaries(page, corrections, places)
    if corrections.names:
        layout = set_names(layout, corrections.names)
    page = replace(page, layout=layout, doubts=doubts_left(page.doubts, corrections))
    if corrections.layout is not None or corrections.names:
        page = replace(page, strip_labels=())
    return page


def set_boundaries(page: LayoutPage, corrections: Corrections, places: Places) -> Layout:
    """The page's layout with the boundaries given; the others stay where leads of one length meet."""
    layout = page.layout
    shares = list(layout.boundaries or (np.arange(1, layout.columns) / layout.columns).tolist())
    for number, point in corrections.boundaries:
        if not 1 <= number <= len(shares):
            raise ValueError(f"there is no boundary {number} in the layout {layout.name}")
        x = float(places.to_squares([point])[0, 0])
        shares[number - 1] = round((x - page.start) / page.width, 6)
    return replace(layout, boundaries=tuple(shares))


def set_names(layout: Layout, names: tuple[tuple[int, int, str], ...]) -> Layout:
    """A layout with other leads in some places."""
    rows, rhythm = [list(row) for row in layout.rows], list(layout.rhythm)
    for row, column, lead in names:
        if row < len(rows) and column < layout.columns:
            rows[row][column] = lead
        elif len(rows) <= row < layout.row_count and column == 0 and not lead.startswith("-"):
            rhythm[row - len(rows)] = lead
        else:
            raise ValueError(f"row {row + 1}, column {column + 1}: not in the layout {layout.name}")
    return replace(layout, rows=tuple(map(tuple, rows)), rhythm=tuple(rhythm))


def doubts_left(doubts: tuple[str, ...], corrections: Corrections) -> tuple[str, ...]:
    """The doubts about a page that corrections do not settle, without those that reading it again renews."""
    left = []
    for doubt in doubts:
        fields = next((names for start, names in SETTLED_BY.items() if doubt.startswith(start)), ())
        if CUT_ROWS not in doubt and not any(getattr(corrections, name) for name in fields):
            left.append(doubt)
    return tuple(left)


def known_of(corrections: Corrections, known: Known, page: LayoutPage | None) -> Known:
    """What is known of a page whose rows are placed anew: as corrected, else as given, else as it was found.

    Speed and gain that were only assumed, or follow from the width of the leads, are not kept.
    """
    layout = known.layout if corrections.layout is None else find_layout(corrections.layout)
    speed, gain = corrections.speed or known.speed, corrections.gain or known.gain
    if page is not None and page.gain.source != ASSUMED:
        gain = gain or page.gain.value
    return Known(layout, speed, gain)
