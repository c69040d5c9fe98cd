"""A page of any layout in an image: first the paper, then its landmarks, from these the layout."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from configs.landmarks import PX_PER_SQUARE
from configs.layouts import COMPETITION, Layout
from configs.page import MM_PER_MV, MM_PER_SECOND, RECTIFIED, SQUARE_MM
from configs.stage0 import ORIENTATIONS
from digitization.geometry.locate import PageNotFound
from digitization.geometry.orientation import points_to_upright, undo_orientation
from digitization.geometry.paper import PaperGrid, find_paper
from digitization.geometry.rectify import outline_of
from digitization.geometry.row_strips import lattice_points
from digitization.geometry.straight_paper import StraightPaper, straighten_paper
from digitization.layout.landmarks import Landmarks, Pulse, find_landmarks
from digitization.layout.match import LayoutMatch, match_layout
from digitization.layout.scales import ASSUMED, MIN_PULSE_PROBABILITY, Scale, find_gain, find_speed

UPRIGHT_LEGIBILITY = 4.0  # labels that have to be legible for no other orientation to be tried
LEAST_LAYOUT_SCORE = 0.2  # score below which lead names would be guesses
MIN_LAYOUT_SCORE = 0.6  # score below which the layout is doubtful
MIN_LAYOUT_LEAD = 0.1  # lead over the next layout below which it is
NOMINAL_SECONDS = (2.5, 5.0, 10.0, 20.0)  # durations of rows that are met
DURATION_TOLERANCE = 0.02  # share by which a row's width may be off such a duration
MAX_DURATION_S = 10.0  # longest row that stage 2's page holds
MUCH_LONGER = 1.15  # times that duration up to which a row is rather one of that duration, measured wrongly
INVERTED_PX_PER_SQUARE = 10.0  # px per square of the paper on which the ink is compared with the ground
DARK_PAPER = 110.0  # grey value of paper above which its ink cannot be lighter by much
BESIDE_ROWS, INTO_ROWS = 4.0, 0.4  # squares outside and inside the rows' ends at which a pulse may be
PULSE_SHARE = 1 / 3  # share of the rows on which a pulse has to be seen, at least two
PULSE_ON_ROW = 1.0  # squares from a row within which a pulse's foot gives its zero line


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


class LayoutFinder:
    """Finds pages of any layout with stage 1's network and that of the landmarks."""

    def __init__(
        self, stage1_net: torch.nn.Module, landmarks_net: torch.nn.Module, device: torch.device | str = "cpu"
    ):
        self.device = torch.device(device)
        self.stage1_net = stage1_net.eval().to(self.device)
        self.landmarks_net = landmarks_net.eval().to(self.device)

    def see(self, upright: np.ndarray, gridpoint_xy: np.ndarray) -> Landmarks:
        """The landmarks on the paper of an upright image (H, W, 3) uint8 RGB with this lattice (R, C, 2)."""
        paper = straighten_paper(upright, gridpoint_xy, PX_PER_SQUARE)
        return find_landmarks(paper, self.landmarks_net, self.device)

    def find(self, image: np.ndarray, known: Known = NOTHING_KNOWN) -> tuple[np.ndarray, LayoutPage]:
        """The upright image, dark on light, and the page on an (H, W, 3) uint8 RGB image.

        Raises PageNotFound.
        """
        grid = find_paper(image, self.stage1_net, self.device)
        if is_inverted(image, grid):
            image = 255 - image
        orientation, upright, grid, landmarks = self.turn(image, grid)
        match = match_layout(landmarks, known.layout)
        if match is None:
            what = "no rows of traces are seen on the paper"
            if known.layout is not None and landmarks.rows:
                what = (
                    f"{len(landmarks.rows)} rows are seen, {known.layout.name} has {known.layout.row_count}"
                )
            raise PageNotFound(what)
        if known.layout is None and match.score < LEAST_LAYOUT_SCORE:
            raise PageNotFound("hardly any lead labels are seen that say what the rows show")
        return upright, place_layout(orientation, grid, landmarks, match, known)

    def turn(self, image: np.ndarray, grid: PaperGrid) -> tuple[int, np.ndarray, PaperGrid, Landmarks]:
        """The orientation in which most labels are legible, the upright image, its grid and its landmarks."""
        paper = straighten_paper(image, grid.gridpoint_xy, PX_PER_SQUARE)
        best, landmarks = 0, find_landmarks(paper, self.landmarks_net, self.device)
        if landmarks.legibility < UPRIGHT_LEGIBILITY:
            for orientation in range(1, ORIENTATIONS):
                turned = turn_paper(paper, orientation)
                seen = find_landmarks(turned, self.landmarks_net, self.device)
                if seen.legibility > landmarks.legibility + 1:
                    best, landmarks = orientation, seen
        if not best:
            return 0, image, grid, landmarks
        lattice = points_to_upright(grid.gridpoint_xy, best, image.shape)
        grid = replace(
            grid, gridpoint_xy=undo_orientation(lattice, best), seen=undo_orientation(grid.seen, best)
        )
        upright = undo_orientation(image, best)
        return best, upright, grid, self.see(upright, grid.gridpoint_xy)


def is_inverted(image: np.ndarray, grid: PaperGrid) -> bool:
    """Whether the paper is dark and its ink is light, as some programs show it."""
    paper = straighten_paper(image, grid.gridpoint_xy, INVERTED_PX_PER_SQUARE)
    grey = paper.image.mean(axis=2)[paper.inside]
    dark, middle, light = np.percentile(grey, [2, 50, 98])
    return bool(middle < DARK_PAPER and light - middle > 2 * (middle - dark))


def turn_paper(paper: StraightPaper, orientation: int) -> StraightPaper:
    """Straightened paper with an orientation undone, its corner left as it is: to see, not to measure."""
    return replace(
        paper,
        image=undo_orientation(paper.image, orientation),
        inside=undo_orientation(paper.inside, orientation),
    )


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
    durations = (*NOMINAL_SECONDS, *(() if known.layout is None else (known.layout.duration_s,)))
    nominal = min(durations, key=lambda usual: abs(np.log(seconds / usual)))
    doubts = list_doubts(match, speed, gain, known)
    if abs(seconds / nominal - 1) <= DURATION_TOLERANCE:
        seconds = nominal
    else:
        doubts.append(f"rows of {seconds:.2f} s, which is unusual")
    if seconds > MAX_DURATION_S * MUCH_LONGER:
        raise PageNotFound(f"rows of {seconds:.1f} s: rows above {MAX_DURATION_S:g} s are not read yet")
    seconds = min(seconds, MAX_DURATION_S)
    layout = replace(layout, duration_s=round(seconds, 3), mm_per_second=speed.value, mm_per_mv=gain.value)
    return LayoutPage(
        orientation,
        grid.gridpoint_xy,
        grid.seen,
        grid.probability,
        layout,
        zero_lines_of(match.zero_lines, pulses),
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


def zero_lines_of(rows: Sequence[float], pulses: Sequence[Pulse]) -> np.ndarray:
    """The zero line of each row: the foot of its calibration pulse if there is one, else as it was seen."""
    zero_lines = np.array(rows)
    for index, row in enumerate(rows):
        feet = [pulse for pulse in pulses if abs(pulse.y - row) < PULSE_ON_ROW]
        if feet:
            zero_lines[index] = max(feet, key=lambda pulse: pulse.probability).y
    return zero_lines


def list_doubts(match: LayoutMatch, speed: Scale, gain: Scale, known: Known) -> list[str]:
    """Reasons why the layout, its speed or its gain may be others."""
    doubts = []
    if known.layout is None:
        if match.score < MIN_LAYOUT_SCORE:
            doubts.append(f"layout {match.layout.name}: few lead labels agree with it ({match.score:.2f})")
        elif match.lead < MIN_LAYOUT_LEAD:
            doubts.append(f"layout {match.layout.name}: another one agrees nearly as well")
    for scale, what, unit in ((speed, "paper speed", "mm/s"), (gain, "gain", "mm/mV")):
        if scale.source == ASSUMED:
            doubts.append(f"{what} not seen, {scale.value:g} {unit} is assumed")
        elif scale.contradiction:
            doubts.append(f"{what} {scale.value:g} {unit} by its {scale.source}, but {scale.contradiction}")
    return doubts
