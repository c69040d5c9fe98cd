"""Detection of a slip of the scanner: slices of the paper that passed the sensor without being scanned.

On a page rectified with a smooth surface the vertical lines right of such a slice lie too far left. They are
measured on the darkness averaged over all rows: the displacement of the lines gives the width of the slice,
and the 1 mm lines (or the stipple in place of them) its position within a square.
"""

from functools import cache

import numpy as np

from configs.page import (
    GRID_COLUMNS,
    GRID_ROWS,
    SIGNAL_START_SQUARES,
    SQUARE_MM,
    Canvas,
)
from digitization.geometry.line_profiles import (
    BANDS,
    FIRST,
    LAST,
    MAD_TO_SIGMA,
    MEASURING,
    PAGE_SAMPLES,
    REACH,
    SAMPLES,
    line_profiles,
    locate_lines,
    whole_pixel_pattern,
)
from digitization.geometry.slip import MIDDLE_ROW, Slip

MIN_STEP = 0.1 / SQUARE_MM  # squares, least slice: a third of the smallest slip measured on a scan (0.3 mm)
MIN_SLIP = 0.17 / SQUARE_MM  # squares, least for the largest slice elsewhere; curled paper lacks 0.15 mm
MAX_STEP = 1 / SQUARE_MM  # squares, widest slice: twice what scans lose; 1 mm would go unseen on 1 mm lines
USUAL_COLUMNS = (42.5, 47.5)  # grid columns in which nine of nine scans of the competition slipped
USUAL_SMOOTHING = 3.0  # FEED_SMOOTHING for noisy lines: pools lines over 1.3 squares
USUAL_SLIP = 0.25 / SQUARE_MM  # squares, least slice in USUAL_COLUMNS where lines are noisy
USUAL_SIGMAS = 3.6  # the same in standard deviations; steady pages shrunk to 400 px have up to 2.8
MIN_EVIDENCE = -2.0  # log likelihood ratio below which paper that ran ahead is e² = 7 times likelier
SPREAD_SQUARES = 2  # squares on either side of the largest slice in which the others of a slip lie
STEP_SIGMAS = 6.0  # narrowing of a square with a slice, in standard deviations over the page's squares
NEAR_SQUARES = 0.15  # squares around a slice within which a line is unreliable: a slanted slice may cross it
NEAR_WEIGHT = 0.05  # weight of such a line relative to others
MAX_SLICES = 3  # greatest number of slices in a slip
BAND_SHARE = 0.8  # share of the bands that have to show at least half of a step
FEED_SMOOTHING = 0.03  # smoothing of the lines' positions apart from the slip; wiggles of a square remain


def find_slip(
    rectified: np.ndarray, sheet: np.ndarray, slant: float, canvas: Canvas = MEASURING
) -> tuple[Slip, np.ndarray] | None:
    """The slip on a page that was rectified with a smooth surface, and the positions of the columns with it.

    rectified (canvas height, canvas width) uint8, grey; sheet (57,) float64, the positions of the grid's
    columns on that surface, in squares of an even page; `slant` as in Slip. Returns the slip and the
    positions of the columns in each row, (44, 57) float64 squares of that even page, or None without a slip.
    """
    profiles = line_profiles(rectified, canvas)
    template, seen = locate_lines(profiles.mean(axis=0))
    lines = np.arange(GRID_COLUMNS)

    def places(displaced: np.ndarray) -> np.ndarray:
        return np.interp(lines + displaced, lines, sheet)

    pattern = whole_pixel_pattern(places(seen))
    step = find_steps(places(seen) - pattern)
    if not step.any():  # as on most pages
        return None
    bands = [places(locate_lines(profile, template)[1]) - pattern for profile in profiles]
    step[~is_common(step, np.stack(bands))] = 0
    placed = {n: place_slice(profiles, template, seen, n, slant) for n in np.flatnonzero(step).tolist()}
    step[[n for n, (_, _, evidence) in placed.items() if evidence < MIN_EVIDENCE]] = 0
    step[~is_beside(step >= np.where(usual_squares(), MIN_STEP, MIN_SLIP))] = 0
    if not step.any():
        return None
    steps = np.sort(np.argsort(-step)[: min(np.count_nonzero(step), MAX_SLICES)])
    columns, uncertainty, _ = np.array([placed[n] for n in steps.tolist()]).T
    weight = np.where((lines >= FIRST) & (lines <= LAST), 1.0, 0.0)
    begins = lines[:, None] - columns
    weight[((begins > -NEAR_SQUARES) & (begins < REACH + NEAR_SQUARES)).any(axis=1)] = NEAR_WEIGHT
    lost, rest = fit_feed(places(seen) - pattern, weight, (begins > 0).astype(float))
    kept = lost > MIN_STEP
    if not kept.any():
        return None
    slip = Slip(columns[kept], lost[kept], slant, uncertainty[kept])
    rest -= (begins > 0)[:, ~kept] @ lost[~kept]
    rows = np.stack([slip.scanned_columns(lines, row) for row in range(GRID_ROWS)])
    return slip, rest - lines + rows


def fit_feed(
    places: np.ndarray, weight: np.ndarray, behind: np.ndarray, smoothing: float = FEED_SMOOTHING
) -> tuple[np.ndarray, np.ndarray]:
    """Positions of lines (57,) with weights (57,) split into steps (n,) and a smooth rest (57,), in squares.

    behind (57, n) is 1 right of the nth step and 0 left of it; a step moves the lines right of it left.
    Least squares with `smoothing` times the squared second differences of the rest.
    """
    bending = np.diff(np.eye(len(places)), n=2, axis=0)
    basis = np.hstack([np.eye(len(places)), -behind])
    penalty = np.zeros((basis.shape[1], basis.shape[1]))
    penalty[: len(places), : len(places)] = smoothing * bending.T @ bending
    normal = basis.T @ (weight[:, None] * basis) + penalty
    solved = np.linalg.solve(normal, (basis.T * weight) @ places)
    return solved[len(places) :], solved[: len(places)]


def find_steps(places: np.ndarray) -> np.ndarray:
    """The significant narrowing of each square between lines at `places` (57,): (56,) squares, 0 for most.

    The threshold is lower for the largest step in USUAL_COLUMNS, measured on the lines of several squares.
    """
    step = narrowing(places)
    noise = MAD_TO_SIGMA * np.median(np.abs(step[FIRST:LAST]))
    significant = step > max(MIN_STEP, STEP_SIGMAS * noise)
    significant[: SIGNAL_START_SQUARES + 1] = False  # the edge of the paper curls, and no scan slipped there
    usual = step_operator() @ places
    noise = MAD_TO_SIGMA * np.median(np.abs(usual[FIRST:LAST]))
    largest = np.where(usual_squares(), usual, 0).argmax()
    if not significant.any() and usual[largest] > max(USUAL_SLIP, USUAL_SIGMAS * noise):
        step, significant[largest] = usual, True
    return np.where(significant & (step < MAX_STEP), step, 0.0)


@cache
def step_operator() -> np.ndarray:
    """The matrix (56, 57) float64 from lines' positions to the step in each square, by fit_feed."""
    lines = np.arange(GRID_COLUMNS)
    weight = np.where((lines >= FIRST) & (lines <= LAST), 1.0, 0.0)
    operator = np.zeros((GRID_COLUMNS - 1, GRID_COLUMNS))
    for line in range(FIRST, LAST):
        behind = (lines > line).astype(float)[:, None]
        operator[line] = fit_feed(np.eye(GRID_COLUMNS), weight, behind, USUAL_SMOOTHING)[0]
    return operator


def usual_squares() -> np.ndarray:
    """Whether each square overlaps USUAL_COLUMNS: (56,) bool."""
    left = np.arange(GRID_COLUMNS - 1)
    return (left + 1 > USUAL_COLUMNS[0]) & (left < USUAL_COLUMNS[1])


def is_beside(large: np.ndarray) -> np.ndarray:
    """Whether each square lies within SPREAD_SQUARES of one that is `large` (56,) bool: (56,) bool."""
    return np.convolve(large, np.ones(2 * SPREAD_SQUARES + 1), "same") > 0


def is_common(step: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Whether each step (56,) shows in BAND_SHARE of the bands, given their lines (BANDS, 57): (56,) bool.

    It may show in the same square or the one beside it, as a slanted slice crosses lines.
    """
    bands = np.pad(np.stack([narrowing(lines) for lines in places]), ((0, 0), (1, 1)))
    bands = np.maximum(np.maximum(bands[:, :-2], bands[:, 1:-1]), bands[:, 2:])
    return (bands > step / 2).mean(axis=0) >= BAND_SHARE


def narrowing(places: np.ndarray) -> np.ndarray:
    """The narrowing of each square between lines (57,) relative to the median of four around it: (56,)."""
    change = np.pad(np.diff(places)[FIRST:LAST], 2, mode="edge")
    around = np.stack([change[:-4], change[1:-3], change[3:-1], change[4:]])
    return np.pad(np.median(around, axis=0) - change[2:-2], (FIRST, GRID_COLUMNS - 1 - LAST))


def place_slice(
    profiles: np.ndarray, template: np.ndarray, displaced: np.ndarray, line: int, slant: float
) -> tuple[float, float, float]:
    """The grid column of a slice between `line` and the next, its standard deviation, and its evidence.

    Left of the slice the profiles (BANDS, GRID_COLUMNS - 1, SAMPLES) are expected to have the displacement of
    the left line, right of it that of the right line. The column is the mean over all columns, weighted by
    the likelihood of the squared differences. The evidence is the log likelihood ratio to a square that
    shrinks evenly, as where the paper runs ahead or bends without loss.
    """
    places = np.arange((line - 0.5) * SAMPLES, (line + 1.5) * SAMPLES) / SAMPLES
    repeated = np.append(template, template[0])

    def expected(columns: np.ndarray, displacement: np.ndarray | float) -> np.ndarray:
        phase = (columns - displacement + 0.5) % 1
        return np.interp(phase * SAMPLES, np.arange(SAMPLES + 1), repeated)

    rows = (np.arange(BANDS) + 0.5) / BANDS * (GRID_ROWS - 1) - MIDDLE_ROW
    ends = line + displaced[line], line + 1 + displaced[line + 1]
    even = np.interp(places, ends, displaced[line : line + 2])
    left_excess, even_excess, noise = np.zeros(len(places)), np.zeros(len(places)), 0.0
    for profile, row in zip(profiles.reshape(BANDS, -1), rows, strict=True):
        along = places + slant * row
        seen = np.interp((along + 0.5) * SAMPLES, np.arange(len(profile)), profile)
        left, right = ((seen - expected(along, displaced[n])) ** 2 for n in (line, line + 1))
        left_excess += left - right
        even_excess += (seen - expected(along, even)) ** 2 - right
        noise += float(np.minimum(left, right).mean()) / BANDS
    inside = (places >= ends[0]) & (places <= ends[1])
    excess, places = np.cumsum(left_excess[inside]), places[inside]
    scale = 2 * (noise + 1e-3) * SAMPLES / PAGE_SAMPLES
    likelihood = np.exp(-(excess - excess.min()) / scale)
    evidence = float(np.log(likelihood.mean()) + (even_excess[inside].sum() - excess.min()) / scale)
    likelihood /= likelihood.sum()
    mean = float((likelihood * places).sum())
    deviation = float(np.sqrt((likelihood * (places - mean) ** 2).sum()))
    return mean - float(displaced[line]), deviation, evidence
