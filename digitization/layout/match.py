"""The layout of a page by agreement: which leads lie where, given the landmarks on its straightened paper."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from configs.landmarks import KEYPOINTS
from configs.layouts import CABRERA, Layout, lead_grid
from digitization.layout.columns import Columns, fit_columns, likeness
from digitization.layout.landmarks import Keypoint, Landmarks, Row

LEFT_OF_START, LEFT_OF_BOUNDARY = 5.0, 1.2  # squares by which a label may lie left of its lead's beginning
INTO_LEAD = 7.0  # squares right of its lead's beginning at which a label may lie at most
STRAY_SHARE = 0.5  # what a legible label between two beginnings takes off the score, as a share of a cell's
MAX_LABEL_OFFSET = 0.75  # greatest distance of labels from their rows' zero lines, in row pitches
ROW_TOLERANCE = 0.4  # row pitches by which a label may be off its place above or below its row
CONFLICT_PROBABILITY = 0.5  # probability from which a label that does not belong where it is counts
MAX_STRIPS = 3  # most rhythm strips below the rows of leads
UNREAD_STRIP = 0.3  # probability below which a rhythm strip's label counts as unread
DEFAULT_STRIP = "II"  # lead assumed of a rhythm strip whose label is not read
SINGLE_PITCH = 6.0  # squares, room of a single row
FAR_FROM_ROWS = 0.65  # row pitches from all rows at which a label belongs to none: they stand up to 0.5 off
SURE_LABEL = 0.9  # probability from which such a label is a reason for doubt
MAX_LEFT_OUT = 3  # most rows left out at the top or at the bottom
LEFT_OUT, LEFT_OUT_MARK = 0.03, 0.05  # what a row left out takes off the score, and each mark of a row on it
LONG_ROW = 0.08  # what it takes off further where it is at the bottom and long: its trace will tell
ROW_MARK = 0.5  # squares from a row within which a mark is its
WEAK_ROW = 0.75  # share of the median row's length below which a row may be none


@dataclass(frozen=True)
class LayoutMatch:
    """A layout in its place on the paper.

    layout: with a nominal duration of ten seconds, 25 mm/s and 10 mm/mV; see digitization/layout/scales.py.
    zero_lines: y of 0 mV of each row in squares.
    start, width: x at which the rows begin, and their width, in squares.
    score: 0..1, the share of the labels that are where the layout has them, less those that contradict it.
    lead: by how much the score exceeds that of the best layout with another grid of leads.
    strip_labels: how well the label of each rhythm strip is read, 0..1.
    """

    layout: Layout
    zero_lines: tuple[float, ...]
    start: float
    width: float
    score: float
    lead: float = 0.0
    strip_labels: tuple[float, ...] = ()


def match_layout(landmarks: Landmarks, given: Layout | None = None) -> LayoutMatch | None:
    """The layout that agrees best with the landmarks, None where there are no rows.

    `given` is the layout where the user knows it: it is only put in its place.
    """
    best: dict[str, LayoutMatch] = {}
    for penalty, rows in row_choices(landmarks):
        for match in fit_layouts(landmarks, rows, given):
            match = replace(match, score=match.score - penalty)
            if match.layout.name not in best or match.score > best[match.layout.name].score:
                best[match.layout.name] = match
    ranked = sorted(best.values(), key=lambda match: -match.score)
    if not ranked:
        return None
    # Whether there is one more rhythm strip or one less says its trace, see digitization/layout/reading.py.
    grid = grid_name(ranked[0].layout)
    second = max((match.score for match in ranked if grid_name(match.layout) != grid), default=0.0)
    return replace(ranked[0], lead=ranked[0].score - second)


def stray_row_label(landmarks: Landmarks, match: LayoutMatch) -> str:
    """A legible label where a row would begin but far from all rows, which may be too few; else ""."""
    rows = np.array(match.zero_lines)
    pitch = pitch_of(rows)
    for label in landmarks.labels:
        begins = match.start - LEFT_OF_START <= label.x <= match.start + INTO_LEAD
        far = np.abs(rows - label.y).min() > FAR_FROM_ROWS * pitch
        if begins and far and label.probability.max() >= SURE_LABEL:
            return label.name
    return ""


def grid_name(layout: Layout) -> str:
    """The name of a layout without its rhythm strips; of strips alone all of it."""
    return layout.name.split("+")[0] if "x" in layout.name else layout.name


def row_choices(landmarks: Landmarks) -> Iterator[tuple[float, tuple[Row, ...]]]:
    """Which of the rows seen may be the page's, each with what it takes off the score.

    All of them; without some at the top and at the bottom, which may be edges or lines of text; without the
    weakest; and with one put between two rows that are twice as far apart as others.
    """
    rows = landmarks.rows
    typical = float(np.median([row.seen for row in rows])) if rows else 0.0
    evidence = [row_evidence(landmarks, row) * min(row.seen / typical, 1.0) for row in rows]
    for first, after in product(range(MAX_LEFT_OUT + 1), repeat=2):
        if kept := rows[first : len(rows) - after]:
            long = sum(row.seen >= WEAK_ROW * typical for row in rows[len(rows) - after :])
            penalty = sum(evidence[:first]) + sum(evidence[len(rows) - after :]) + LONG_ROW * long
            yield penalty, kept
    if len(rows) > 1:
        weakest = min(range(len(rows)), key=lambda index: rows[index].seen)
        if rows[weakest].seen < WEAK_ROW * np.median([row.seen for row in rows]):
            yield 0.02, rows[:weakest] + rows[weakest + 1 :]
    gaps = np.diff([row.y for row in rows])
    for index, gap in enumerate(gaps):
        if len(gaps) > 1 and 1.7 < gap / np.median(np.delete(gaps, index)) < 2.3:
            above, below = rows[index], rows[index + 1]
            between = replace(above, y=(above.y + below.y) / 2, seen=0.0)
            yield 0.1, (*rows[: index + 1], between, *rows[index + 1 :])


def row_evidence(landmarks: Landmarks, row: Row) -> float:
    """What leaving out a row takes off the score: more if it begins, ends, or has a calibration pulse."""

    def near(heights: np.ndarray) -> bool:
        return bool((np.abs(heights - row.y) < ROW_MARK).any())

    marks = near(landmarks.starts[:, 1]) + near(landmarks.ends[:, 1])
    marks += 2 * near(np.array([pulse.y for pulse in landmarks.pulses]))
    return LEFT_OUT + LEFT_OUT_MARK * marks


def grids(count: int) -> Iterator[tuple[str, tuple[tuple[str, ...], ...], int]]:
    """The layouts of `count` rows: their names without strips, their rows of leads, how many strips."""
    for prefix, cabrera in (("", False), ("cabrera-", True)):
        for rows, columns, part in (
            *((3, 4, ""), (6, 2, ""), (12, 1, ""), (6, 1, "limb"), (3, 2, "limb")),
            *(((6, 1, "chest"), (3, 2, "chest")) if not cabrera else ()),
        ):
            strips = count - rows
            if 0 <= strips <= (MAX_STRIPS if not part else 0):
                grid = lead_grid(rows, columns, part, cabrera)
                assert grid is not None
                yield f"{prefix}{rows}x{columns}" + (f"-{part}" if part else ""), grid, strips


def fit_layouts(landmarks: Landmarks, rows: tuple[Row, ...], given: Layout | None) -> Iterator[LayoutMatch]:
    """Every layout with as many rows in its best place, or the given one."""
    if not rows:
        return
    fitted: dict[int, Columns | None] = {}

    def columns(count: int) -> Columns | None:
        if count not in fitted:
            fitted[count] = fit_columns(landmarks, rows, count)
        return fitted[count]

    if given is not None:
        place = columns(given.columns)
        if given.row_count == len(rows) and place:
            cells = rate_cells(landmarks.labels, rows, given.rows, place)
            yield placed(given, rows, place, cells.score)
        return
    for name, grid, strips in grids(len(rows)):
        if not (place := columns(len(grid[0]))):
            continue
        cells = rate_cells(landmarks.labels, rows, grid, place)
        leads, probabilities = read_strips(landmarks.labels, rows[len(grid) :], rows, place, cells.offset)
        full = "+".join([name, *leads])
        count = len(grid) * len(grid[0])
        score = (count * cells.score + sum(probabilities)) / (count + strips)
        match = placed(Layout(full, grid, tuple(leads)), rows, place, score)
        yield replace(match, strip_labels=tuple(probabilities))
    place = columns(1)
    if len(rows) <= MAX_STRIPS and place:
        offset = best_offset(landmarks.labels, rows)
        leads, probabilities = read_strips(landmarks.labels, rows, rows, place, offset)
        if len(set(leads)) == len(leads):
            # A strip says less than a grid of leads: of two that explain the page alike the grid is taken.
            cells = rate_cells(landmarks.labels, rows, tuple((lead,) for lead in leads), place)
            score = 0.9 * min(float(np.mean(probabilities)), cells.score)
            strips_layout = Layout("+".join(leads), tuple((lead,) for lead in leads))
            yield placed(strips_layout, rows, place, score)


def placed(layout: Layout, rows: tuple[Row, ...], place: Columns, score: float) -> LayoutMatch:
    return LayoutMatch(layout, tuple(row.y for row in rows), place.start, place.width, float(score))


@dataclass(frozen=True)
class CellRating:
    """How well labels agree with the cells of a layout: a score, and how far they lie below zero lines."""

    score: float
    offset: float


def label_columns(x: np.ndarray, columns: int, place: Columns) -> tuple[np.ndarray, np.ndarray]:
    """The column in which each label at x (N,) lies, and whether it is where a lead begins: (N,) each."""
    width = place.width / columns
    right = x - place.start
    column = np.maximum(np.floor((right + LEFT_OF_BOUNDARY) / width).astype(int), 0)
    into = right - column * width
    before = np.where(column > 0, LEFT_OF_BOUNDARY, LEFT_OF_START)
    return column, (-before <= into) & (into <= min(INTO_LEAD, 0.6 * width))


def pitch_of(heights: Sequence[float] | np.ndarray) -> float:
    """The median distance of rows of these heights in squares; SINGLE_PITCH for a single row."""
    return float(np.median(np.diff(heights))) if len(heights) > 1 else SINGLE_PITCH


def offsets(labels: Sequence[Keypoint], rows: tuple[Row, ...]) -> np.ndarray:
    """Distances, in squares below a zero line, at which labels may lie: (N,)."""
    heights = np.array([row.y for row in rows])
    most = MAX_LABEL_OFFSET * pitch_of(heights)
    found = np.array([label.y for label in labels])[:, None] - heights
    found = np.unique(np.round(found[np.abs(found) <= most], 1))
    return found if len(found) else np.zeros(1)


def best_offset(labels: Sequence[Keypoint], rows: tuple[Row, ...]) -> float:
    """The distance below zero lines at which most labels lie."""
    choices = offsets(labels, rows)
    heights = np.array([row.y for row in rows]) + choices[:, None]  # (offsets, rows)
    y, probability = np.array([label.y for label in labels]), strengths(labels)
    near = np.abs(heights[:, None] - y[:, None]).min(axis=2)  # (offsets, labels)
    return float(choices[np.lexsort((np.abs(choices), -(likeness(near, 0.5) @ probability)))[0]])


def strengths(labels: Sequence[Keypoint]) -> np.ndarray:
    """The probability of the likeliest lead of each label, (N,)."""
    return np.array([label.probability.max() for label in labels])


def rate_cells(
    labels: Sequence[Keypoint], rows: tuple[Row, ...], grid: tuple[tuple[str, ...], ...], place: Columns
) -> CellRating:
    """How well the labels agree with a grid of leads in the first rows, at the best offset."""
    count = len(grid[0])
    choices = offsets(labels, rows)
    if not labels:
        return CellRating(0.0, 0.0)
    column, begins = label_columns(np.array([label.x for label in labels]), count, place)
    y, strength = np.array([label.y for label in labels]), strengths(labels)
    probability = np.array([label.probability for label in labels])  # (labels, KEYPOINTS)
    classes = np.array([[KEYPOINTS.index(lead) for lead in leads] for leads in grid])
    heights = np.array([row.y for row in rows])
    tolerance = ROW_TOLERANCE * pitch_of(heights)
    legible = strength > CONFLICT_PROBABILITY
    best = CellRating(-np.inf, 0.0)
    for offset in choices:
        distance = np.abs(heights + offset - y[:, None])
        row = distance.argmin(axis=1)
        on_row = (distance.min(axis=1) <= tolerance) & (column < count)
        stray = float(strength[on_row & ~begins & legible].sum())
        inside = np.flatnonzero(on_row & begins & (row < len(grid)))
        cells = row[inside], column[inside]
        expected = probability[inside, classes[cells]]
        agreement, conflict = np.zeros((2, *classes.shape))
        np.maximum.at(agreement, cells, expected)
        np.maximum.at(
            conflict, cells, np.where(legible[inside] & (expected < strength[inside]), strength[inside], 0.0)
        )
        conflict = np.where(agreement > CONFLICT_PROBABILITY, 0, conflict)
        score = float((agreement - conflict).mean()) - 1e-4 * abs(offset)
        score -= STRAY_SHARE * stray / agreement.size
        if score > best.score:
            best = CellRating(score, float(offset))
    return best


def read_strips(
    labels: Sequence[Keypoint], strips: tuple[Row, ...], rows: tuple[Row, ...], place: Columns, offset: float
) -> tuple[list[str], list[float]]:
    """The leads of rhythm strips, each read once, with the probabilities of their labels."""
    found: list[Keypoint | None] = [None] * len(strips)
    heights = np.array([row.y for row in rows])
    at_start = label_columns(np.array([label.x for label in labels]), 1, place)
    for label, column, begins in zip(labels, *at_start, strict=True):
        distance = np.abs(heights + offset - label.y)
        index = int(distance.argmin()) - (len(rows) - len(strips))
        if index < 0 or column or not begins or distance.min() > ROW_TOLERANCE * pitch_of(heights):
            continue
        held = found[index]
        if held is None or label.probability.max() > held.probability.max():
            found[index] = label
    leads: list[str] = []
    probabilities: list[float] = []
    for read in found:
        name = None if read is None else read.name.removeprefix("-")
        if read is None or name is None or name in leads or read.probability.max() < UNREAD_STRIP:
            assumed = (DEFAULT_STRIP, "V1", "V5", *CABRERA)
            name = next(lead for lead in assumed if lead not in leads and not lead.startswith("-"))
            probabilities.append(0.0)
        else:
            probabilities.append(float(read.probability.max()))
        leads.append(name)
    return leads, probabilities
