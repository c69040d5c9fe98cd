"""A page of any layout, what may be known of it, and its place, scales and zero lines by its landmarks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from configs.layouts import COMPETITION, Layout
from configs.page import MM_PER_MV, MM_PER_SECOND, RECTIFIED, SQUARE_MM
from digitization.geometry.locate import PageNotFound
from digitization.geometry.paper import PaperGrid
from digitization.geometry.rectify import outline_of
from digitization.geometry.row_strips import lattice_points
from digitization.layout.landmarks import Landmarks, Pulse
from digitization.layout.match import LayoutMatch, stray_row_label
from digitization.layout.scales import ASSUMED, MIN_PULSE_PROBABILITY, Scale, find_gain, find_speed
from digitization.layout.zero_lines import uneven_by, zero_lines_of

MIN_LAYOUT_SCORE = 0.6  # score below which the layout is doubtful
MIN_LAYOUT_LEAD = 0.1  # lead over the next layout below which it is
# Lower score with which it is not, if its lead is so much: of 146 drawn pages those whose layout was found
# wrongly had at most 0.33 and 0.2.
LOWER_SCORE, GREATER_LEAD = 0.4, 0.3
NOMINAL_SECONDS = (2.5, 5.0, 10.0, 20.0)  # durations of rows that are met
DURATION_TOLERANCE = 0.02  # share by which a row's width may be off such a duration
MAX_DURATION_S = 10.0  # longest row that stage 2's page holds
MUCH_LONGER = 1.15  # times that duration up to which a row is rather one of that duration, measured wrongly
BESIDE_ROWS, INTO_ROWS = 4.0, 0.4  # squares outside and inside the rows' ends at which a pulse may be
PULSE_SHARE = 1 / 3  # share of the rows on which a pulse has to be seen, at least two


@dataclass(frozen=True)
class LayoutPage:
    """A page of any layout as it was found. The upright image is the image with its orientation undone.

    orientation: 0..7, see digitization/geometry/orientation.py.
    gridpoint_xy: (R, C, 2) float32 px of the upright image; seen: (R, C) bool, the points that were seen.
    page_score: 0..1, the mean probability of these points.
    layout: with the speed, gain and duration found.
    zero_lines: y of 0 mV of each row, in squares below the lattice's first row.
    start: x at which the rows begin, in squares right of its first column, at their middle height.
    slant: squares by which they begin further right per square down.
    width: squares from there to the rows' end.
    score, lead: how well the layout agrees with the landmarks, and by how much better than the next one.
    strip_labels: how well the label of each rhythm strip is read, 0..1; empty where the layout is given.
    speed, gain: with how they are known.
    doubts: reasons why the layout may be another, as sentences.
    """

    orientation: int
    gridpoint_xy: np.ndarray
    seen: np.ndarray
    page_score: float
    layout: Layout
    zero_lines: np.ndarray
    start: float
    slant: float
    width: float
    score: float
    lead: float
    strip_labels: tuple[float, ...]
    speed: Scale
    gain: Scale
    doubts: tuple[str, ...]

    aspect = None  # is not measured: the squares of the lattice are taken for squares
    slip = None  # is not looked for

    @property
    def squares_per_second(self) -> float:
        return self.width / self.layout.duration_s

    @property
    def starts(self) -> np.ndarray:
        """x at which each row begins, (R,) squares."""
        return self.start + self.slant * (self.zero_lines - self.zero_lines.mean())

    @property
    def outline(self) -> np.ndarray:
        """The edge of the grid as points (N, 2) px of the upright image."""
        return outline_of(self.gridpoint_xy)

    def trace_points(self, row: int, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) px of the strip that stage 2 sees of a row, in px of the upright image."""
        expected = RECTIFIED.zero_lines[row % len(RECTIFIED.zero_lines)]
        down = self.zero_lines[row] + (points[:, 1] - expected) / RECTIFIED.square_height
        seconds = (points[:, 0] - RECTIFIED.signal_start) / RECTIFIED.px_per_second
        return lattice_points(self.gridpoint_xy, down, self.starts[row] + seconds * self.squares_per_second)


@dataclass(frozen=True)
class Known:
    """What the user knows of a page: its layout, its speed in mm/s, its gain in mm/mV; None where not.

    `competition` says that the page is the competition's, whatever is seen on it.
    """

    layout: Layout | None = None
    speed: float | None = None
    gain: float | None = None
    competition: bool = False

    @property
    def is_open(self) -> bool:
        """Whether the page may be the competition's, as far as is known."""
        given = (self.layout or COMPETITION, self.speed or MM_PER_SECOND, self.gain or MM_PER_MV)
        return given == (COMPETITION, MM_PER_SECOND, MM_PER_MV)


NOTHING_KNOWN = Known()


def place_layout(
    orientation: int, grid: PaperGrid, landmarks: Landmarks, match: LayoutMatch, known: Known
) -> LayoutPage:
    """The layout found with its speed, gain, duration and zero lines."""
    layout = match.layout
    lead_squares = match.width / layout.columns
    pulses = pulses_beside_rows(landmarks.pulses, match)
    speed = find_speed(pulses, landmarks.scales, lead_squares, layout.columns, known.speed)
    gain = find_gain(pulses, landmarks.scales, known.gain)
    seconds = match.width * SQUARE_MM / speed.value
    doubts = list_doubts(match, speed, gain, known)
    if known.layout is None and (label := stray_row_label(landmarks, match)):
        doubts.append(f"layout {layout.name}: a label {label} is seen where none of its rows begins")
    zero_lines = zero_lines_of(match.zero_lines, pulses, len(layout.rows))
    if off := uneven_by(zero_lines[: len(layout.rows)], pulses):
        off *= SQUARE_MM / gain.value
        doubts.append(f"0 mV of a row may be off by {off:.1f} mV: it is not evenly spaced, and has no pulse")
    if seconds > MAX_DURATION_S * MUCH_LONGER:
        raise PageNotFound(f"rows of {seconds:.1f} s: rows above {MAX_DURATION_S:g} s are not read yet")
    layout = replace(
        layout, duration_s=min(seconds, MAX_DURATION_S), mm_per_second=speed.value, mm_per_mv=gain.value
    )
    return LayoutPage(
        orientation,
        grid.gridpoint_xy,
        grid.seen,
        grid.probability,
        layout,
        zero_lines,
        match.start,
        0.0,
        match.width,
        match.score,
        match.lead,
        match.strip_labels,
        speed,
        gain,
        tuple(doubts),
    )


def usual_duration(seconds: float, known: Known) -> float:
    """The duration in s that rows of about so many s rather have."""
    durations = (*NOMINAL_SECONDS, *(() if known.layout is None else (known.layout.duration_s,)))
    return min(durations, key=lambda usual: abs(np.log(seconds / usual)))


def pulses_beside_rows(pulses: Sequence[Pulse], match: LayoutMatch) -> list[Pulse]:
    """The pulses to the left or right of the rows, if so many rows have one: they are printed on each.

    A rise in the middle of a row is rather a QRS complex, and so is a single one at its beginning.
    """
    end = match.start + match.width
    beside = [
        pulse
        for pulse in pulses
        if match.start - BESIDE_ROWS <= pulse.x <= match.start + INTO_ROWS
        or end - INTO_ROWS <= pulse.x <= end + BESIDE_ROWS
    ]
    seen = sum(pulse.probability >= MIN_PULSE_PROBABILITY for pulse in beside)
    return beside if seen >= min(max(2, len(match.zero_lines) * PULSE_SHARE), len(match.zero_lines)) else []


def list_doubts(match: LayoutMatch, speed: Scale, gain: Scale, known: Known) -> list[str]:
    """Reasons why the layout, its speed or its gain may be others."""
    doubts = []
    if known.layout is None:
        is_clear = match.score >= LOWER_SCORE and match.lead >= GREATER_LEAD
        if match.score < MIN_LAYOUT_SCORE and not is_clear:
            doubts.append(f"layout {match.layout.name}: few lead labels agree with it ({match.score:.2f})")
        elif match.lead < MIN_LAYOUT_LEAD:
            doubts.append(f"layout {match.layout.name}: another one agrees nearly as well")
    for scale, what, unit in ((speed, "paper speed", "mm/s"), (gain, "gain", "mm/mV")):
        if scale.source == ASSUMED:
            doubts.append(f"{what} not seen, {scale.value:g} {unit} is assumed")
        elif scale.contradiction:
            doubts.append(f"{what} {scale.value:g} {unit} by its {scale.source}, but {scale.contradiction}")
    return doubts
