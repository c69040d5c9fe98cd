"""The layout of a page by agreement: which leads lie where, given the landmarks on its straightened paper."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from configs.layouts import CABRERA, Layout, lead_grid
from digitization.layout.columns import Columns, fit_columns, likeness
from digitization.layout.landmarks import Keypoint, Landmarks, Row

LEFT_OF_START, LEFT_OF_BOUNDARY = 5.0, 1.2  # squares by which a label may lie left of its lead's beginning
INTO_LEAD = 7.0  # squares right of its lead's beginning at which a label may lie at most
STRAY_SHARE = 0.5  # what a legible label between two beginnings takes off the score, as a share of a cell's
MAX_LABEL_OFFSET = 0.75  # greatest distance of labels from their rows' zero lines, in row pitches
ROW_TOLERANCE = 0.4  # row pitches by which a label may be off its place above or below its row
CONFLICT_PROBABILITY = 0.5  # probability from which a label that does not belong where it is counts
STRAY = -1  # column of a label that is at no beginning of a lead
MAX_STRIPS = 3  # most rhythm strips below the rows of leads
UNREAD_STRIP = 0.3  # probability below which a rhythm strip's label counts as unread
DEFAULT_STRIP = "II"  # lead assumed of a rhythm strip whose label is not read
LEFT_OUT, LEFT_OUT_MARK = 0.03, 0.05  # what a row left out takes off the score, and each mark of a row on it
ROW_MARK = 0.5  # squares from a row within which a mark is its
WEAK_ROW = 0.75  # share of the median row's length below which a row may be none


@dataclass(frozen=True)
class LayoutMatch:
    """A layout in its place on the paper.

    layout: with a nominal duration of ten seconds, 25 mm/s and 10 mm/mV; see digitization/layout/scales.py.
    zero_lines: y of 0 mV of each row in squares.
    start, width: x at which the rows begin, and their width, in squares.
    score: 0..1, the share of the labels that are where the layout has them, less those that contradict it.
    lead: by how much the score exceeds that of the best other layout.
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
    second = ranked[1].score if len(ranked) > 1 else 0.0
    return replace(ranked[0], lead=ranked[0].score - second)


def row_choices(landmarks: Landmarks) -> Iterator[tuple[float, tuple[Row, ...]]]:
    """Which of the rows seen may be the page's, each with what it takes off the score.

    All of them; without the first or the last, which may be an edge or a line of text; without the weakest;
    and with one put between two rows that are twice as far apart as others.
    """
    rows = landmarks.rows
    yield 0.0, rows
    if len(rows) > 1:
        yield row_evidence(landmarks, rows[0]), rows[1:]
        yield row_evidence(landmarks, rows[-1]), rows[:-1]
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
        offset = best_offset(landmarks.labels, rows, place)
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


def label_cells(
    labels: Sequence[Keypoint], rows: tuple[Row, ...], columns: int, place: Columns, offset: float
) -> Iterator[tuple[Keypoint, int, int]]:
    """Each label that lies on one of the rows, with its row and the column at whose beginning it is.

    `offset` is how many squares below the zero line of their row the labels lie. The column is STRAY where
    there is no beginning of a lead.
    """
    heights = np.array([row.y for row in rows]) + offset
    tolerance = ROW_TOLERANCE * pitch_of(rows)
    width = place.width / columns
    for label in labels:
        row = int(np.abs(heights - label.y).argmin())
        right = label.x - place.start
        column = max(int(np.floor((right + LEFT_OF_BOUNDARY) / width)), 0)
        into = right - column * width
        begins = -(LEFT_OF_BOUNDARY if column else LEFT_OF_START) <= into <= min(INTO_LEAD, 0.6 * width)
        if abs(heights[row] - label.y) <= tolerance and column < columns:
            yield label, row, column if begins else STRAY


def pitch_of(rows: tuple[Row, ...]) -> float:
    """The median distance of neighbouring rows in squares; 6 for a single row."""
    return float(np.median(np.diff([row.y for row in rows]))) if len(rows) > 1 else 6.0


def offsets(labels: Sequence[Keypoint], rows: tuple[Row, ...]) -> np.ndarray:
    """Distances, in squares below a zero line, at which labels may lie: (N,)."""
    heights, most = np.array([row.y for row in rows]), MAX_LABEL_OFFSET * pitch_of(rows)
    found = np.array([label.y for label in labels])[:, None] - heights
    found = np.unique(np.round(found[np.abs(found) <= most], 1))
    return found if len(found) else np.zeros(1)


def best_offset(labels: Sequence[Keypoint], rows: tuple[Row, ...], place: Columns) -> float:
    """The distance below zero lines at which most labels lie at the beginning of a row."""

    def count(offset: float) -> float:
        heights = np.array([row.y for row in rows]) + offset
        near = [(np.abs(heights - label.y).min(), label) for label in labels]
        return sum(label.probability.max() * likeness(off, 0.5) for off, label in near)

    return float(max(offsets(labels, rows), key=lambda offset: (count(offset), -abs(offset))))


def rate_cells(
    labels: Sequence[Keypoint], rows: tuple[Row, ...], grid: tuple[tuple[str, ...], ...], place: Columns
) -> CellRating:
    """How well the labels agree with a grid of leads in the first rows, at the best offset."""
    columns, best = len(grid[0]), CellRating(-np.inf, 0.0)
    for offset in offsets(labels, rows):
        agreement = np.zeros((len(grid), columns))
        conflict, stray = np.zeros((len(grid), columns)), 0.0
        for label, row, column in label_cells(labels, rows, columns, place, offset):
            if column == STRAY:
                stray += float(label.probability.max()) * (label.probability.max() > CONFLICT_PROBABILITY)
            elif row < len(grid):
                expected = label.of(grid[row][column])
                agreement[row, column] = max(agreement[row, column], expected)
                other = float(label.probability.max())
                if other > CONFLICT_PROBABILITY and expected < other:
                    conflict[row, column] = max(conflict[row, column], other)
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
    heights = [row.y for row in strips]
    for label, row, column in label_cells(labels, rows, 1, place, offset):
        if rows[row].y in heights and column != STRAY:
            index = heights.index(rows[row].y)
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
