"""Where the rows of a page begin, how wide they are, and where one lead ends and the next begins."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from digitization.layout.landmarks import Landmarks, Row

# Squares of a row from its beginning to its end: 10, 5 and 20 s at 25 mm/s.
NOMINAL_WIDTHS = (50.0, 25.0, 100.0)
PLACE_SD = 0.25  # squares, standard deviation of a beginning, end or boundary found
# Standard deviation of a row's width about a nominal one, as a share of it: recorders keep time far better
# than beginnings and ends are seen, and 0.1 % are 10 ms in ten seconds.
WIDTH_SD = 1e-5
NEAR_NOMINAL = 0.02  # log of the ratio to a nominal width within which a row is of that width
EXTENT_SD = 0.6  # squares, standard deviation of the first and the last x at which a row is seen
EXTENT_SHARE = 0.25  # quantile of the rows' first and last x that is taken for that of all rows
AT_EDGE = 0.25  # squares from the left edge of the image within which rows begin at it: nothing is before
MAX_OFF = 2.0  # squares by which they may be off at most
EDGE_SQUARES = 1.0  # squares from the edge of the image within which a row may be cut off


@dataclass(frozen=True)
class Columns:
    """Where the rows begin and how wide they are, in squares, and how well the landmarks agree."""

    start: float
    width: float
    agreement: float


def fit_columns(landmarks: Landmarks, rows: tuple[Row, ...], count: int) -> Columns | None:
    """Where rows of `count` leads begin and how wide they are, by the landmarks on them; None if nowhere."""
    firsts, lasts = (np.array([getattr(row, end) for row in rows if row.seen]) for end in ("first", "last"))
    first, last = np.median(firsts), np.median(lasts)
    # Of many a row the beginning is not seen, of one or two something beside it is taken for it.
    earliest, latest = np.quantile(firsts, EXTENT_SHARE), np.quantile(lasts, 1 - EXTENT_SHARE)
    left, right = landmarks.edges
    cut_left, cut_right = first < left + EDGE_SQUARES, last > right - EDGE_SQUARES
    starts, ends, boundaries = landmarks.starts, landmarks.ends, landmarks.boundaries
    widths = set(NOMINAL_WIDTHS)
    anchors = [(first, 0)] if not cut_left else []
    anchors += [(last, count)] if not cut_right else []
    anchors += [(x, 0) for x in clusters(starts)] + [(x, count) for x in clusters(ends)]
    anchors += [(x, k) for x in clusters(boundaries) for k in range(1, count)]
    widths |= {(b - a) * count / (k - j) for a, j in anchors for b, k in anchors if k > j and 4 < b - a < 130}
    places = np.array(
        [
            (anchor - k * width / count, width)
            for anchor, k in anchors or [(first, 0)]
            for width in sorted(widths)
        ]
    )
    start, width = places.T
    ends_at = start + width
    # A row may begin or end outside the image, but not where the paper shows nothing; and all of it is one.
    possible = (start <= first + MAX_OFF) & (ends_at >= last - MAX_OFF)
    if not cut_left:
        possible &= start >= earliest - MAX_OFF
    if not cut_right:
        possible &= ends_at <= latest + MAX_OFF
    if not possible.any():
        return None
    agreement = rate_columns(start, width, count, starts, ends, boundaries)
    if not cut_left:
        agreement += 0.5 * likeness(start[:, None] - firsts, EXTENT_SD).sum(axis=1)
    if not cut_right:
        agreement += 0.5 * likeness(ends_at[:, None] - lasts, EXTENT_SD).sum(axis=1)
    off_nominal = np.log(width[:, None] / np.array(NOMINAL_WIDTHS))
    nearest = np.abs(off_nominal).min(axis=1)
    agreement += 0.5 * len(rows) * likeness(nearest, NEAR_NOMINAL / 2)
    index = int(np.where(possible, agreement, -np.inf).argmax())
    best = Columns(float(start[index]), float(width[index]), float(agreement[index]))
    refined = refine_columns(best, count, starts, ends, boundaries)
    if abs(refined.start - left) < AT_EDGE:
        return replace(refined, start=left)
    return refined


def clusters(points: np.ndarray) -> list[float]:
    """The x around which points (N, 3) gather: means of runs whose neighbours are within a few PLACE_SD."""
    if not len(points):
        return []
    order = points[np.argsort(points[:, 0])]
    bounds = [0, *(np.flatnonzero(np.diff(order[:, 0]) > 3 * PLACE_SD) + 1), len(order)]
    return [float(np.average(order[a:b, 0], weights=order[a:b, 2])) for a, b in pairwise(bounds)]


def likeness(off: np.ndarray | float, deviation: float) -> np.ndarray:
    """A Gaussian of peak 1."""
    return np.exp(-0.5 * (np.asarray(off) / deviation) ** 2)


def rate_columns(
    start: np.ndarray,
    width: np.ndarray,
    count: int,
    starts: np.ndarray,
    ends: np.ndarray,
    boundaries: np.ndarray,
) -> np.ndarray:
    """How many of the beginnings, ends and boundaries (N, 3) are where columns of leads have them.

    The columns begin at `start` (P,) and are `width` (P,) wide: (P,).
    """
    rated = likeness(starts[:, 0] - start[:, None], PLACE_SD) @ starts[:, 2]
    rated += likeness(ends[:, 0] - (start + width)[:, None], PLACE_SD) @ ends[:, 2]
    if len(boundaries) and count > 1:
        inner = start[:, None] + width[:, None] * np.arange(1, count) / count  # (P, count - 1)
        off = np.abs(boundaries[:, 0, None] - inner[:, None]).min(axis=2)  # (P, N)
        rated += (1.5 * likeness(off, PLACE_SD) - 0.5) @ boundaries[:, 2]
    elif len(boundaries):
        rated -= 0.5 * boundaries[:, 2].sum()
    return rated


def refine_columns(
    place: Columns, count: int, starts: np.ndarray, ends: np.ndarray, boundaries: np.ndarray
) -> Columns:
    """Start and width by least squares over the landmarks that agree with them."""
    points = [(0, starts), (count, ends), *((k, boundaries) for k in range(1, count))]
    design, targets, weights = [], [], []
    for k, found in points:
        for x, _, probability in found:
            if abs(x - place.start - k * place.width / count) < 3 * PLACE_SD:
                design.append((1.0, k / count))
                targets.append(x)
                weights.append(probability / PLACE_SD**2)
    nominal = min(NOMINAL_WIDTHS, key=lambda known: abs(np.log(place.width / known)))
    if abs(np.log(place.width / nominal)) < NEAR_NOMINAL:
        design.append((0.0, 1.0))
        targets.append(nominal)
        weights.append(1 / (WIDTH_SD * nominal) ** 2)
    design.append((1.0, 0.0))  # so that the start is determined where no landmark agrees
    targets.append(place.start)
    weights.append(1 / EXTENT_SD**2)
    matrix, weight = np.array(design), np.sqrt(np.array(weights))[:, None]
    solution = np.linalg.lstsq(weight * matrix, weight[:, 0] * np.array(targets), rcond=None)[0]
    if len(targets) < 3 or not 0.9 < solution[1] / place.width < 1.1:
        return place
    return Columns(float(solution[0]), float(solution[1]), place.agreement)
