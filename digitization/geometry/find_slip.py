"""A slip of the scanner: slices of the paper that were moved past the sensor without being scanned.

On a page straightened by a smooth sheet the vertical lines right of such a slice come too early. They are
seen on the page's darkness, averaged over all rows: how far each line lies from its place says how much was
lost, and the 1 mm lines (or the stipple that was made of them) say where within a square.
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

MIN_STEP = 0.1 / SQUARE_MM  # squares: a third of the least slip that was measured on a scan (0.3 mm)
MIN_SLIP = 0.17 / SQUARE_MM  # of the largest slice elsewhere: on photos of curled paper squares lack 0.15 mm
MAX_STEP = 1 / SQUARE_MM  # twice what scans lose; a whole mm, and the 1 mm lines would lie as before
USUAL_COLUMNS = (42.5, 47.5)  # grid columns, where nine of nine scans of the competition slipped
USUAL_SMOOTHING = 3.0  # as FEED_SMOOTHING, of what is smooth over 1.3 squares: it pools lines that are noisy
USUAL_SLIP = 0.25 / SQUARE_MM  # squares that are to be lost at the usual place, where lines are noisy
USUAL_SIGMAS = 3.6  # of such steps elsewhere on the page; steady pages shrunk to 400 px have up to 2.8
MIN_EVIDENCE = -2.0  # of a slice, below which paper that ran ahead is clearly likelier, by e² = 7 times
SPREAD_SQUARES = 2  # squares over which the slices of one slip are spread, with that of the largest between
STEP_SIGMAS = 6.0  # standard deviations of a page's squares that a narrow one must exceed
NEAR_SQUARES = 0.15  # about a slice: a line that lies in it, or in it in some rows, says little
NEAR_WEIGHT = 0.05  # of such a line against another
MAX_SLICES = 3
BAND_SHARE = 0.8  # of the bands that have to show at least half of a step
FEED_SMOOTHING = 0.03  # of what a slip leaves of the lines' places; wiggles of a square stay


def find_slip(
    rectified: np.ndarray, sheet: np.ndarray, slant: float, canvas: Canvas = MEASURING
) -> tuple[Slip, np.ndarray] | None:
    """The slip seen on a page that was straightened by a smooth sheet, and where it puts the grid's columns.

    rectified (canvas height, canvas width) uint8, grey; sheet (57,) float64, where the sheet has the grid's
    columns, in squares of an even page; `slant` as in Slip. Returns the slip and (44, 57) float64, where
    the columns lie in each row in squares of that even page, or None where the lines show no slip.
    """
    profiles = line_profiles(rectified, canvas)
    template, seen = locate_lines(profiles.mean(axis=0))
    lines = np.arange(GRID_COLUMNS)

    def places(displaced: np.ndarray) -> np.ndarray:
        return np.interp(lines + displaced, lines, sheet)

    pattern = whole_pixel_pattern(places(seen))
    step = find_steps(places(seen) - pattern)
    if not step.any():  # of most pages
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
    """Lines' places (57,) with weights (57,) as steps and a smooth rest: (n,) and (57,) squares.

    behind (57, n) is 1 right of the nth step and 0 left of it; a step is how far the lines right of it lie
    further left. Least squares with `stiffness` times the squared second differences of the rest.
    """
    bending = np.diff(np.eye(len(places)), n=2, axis=0)
    basis = np.hstack([np.eye(len(places)), -behind])
    penalty = np.zeros((basis.shape[1], basis.shape[1]))
    penalty[: len(places), : len(places)] = smoothing * bending.T @ bending
    normal = basis.T @ (weight[:, None] * basis) + penalty
    solved = np.linalg.solve(normal, (basis.T * weight) @ places)
    return solved[len(places) :], solved[: len(places)]


def find_steps(places: np.ndarray) -> np.ndarray:
    """By how much each square between lines at (57,) is too narrow for chance: (56,) squares, 0 for most.

    Less is asked of the largest step at USUAL_COLUMNS, measured on the lines of several squares about it.
    """
    step = narrowing(places)
    noise = MAD_TO_SIGMA * np.median(np.abs(step[FIRST:LAST]))
    narrow = step > max(MIN_STEP, STEP_SIGMAS * noise)
    narrow[: SIGNAL_START_SQUARES + 1] = False  # the paper's edge curls, and no scan slipped there
    usual = step_operator() @ places
    noise = MAD_TO_SIGMA * np.median(np.abs(usual[FIRST:LAST]))
    largest = np.where(usual_squares(), usual, 0).argmax()
    if not narrow.any() and usual[largest] > max(USUAL_SLIP, USUAL_SIGMAS * noise):
        step, narrow[largest] = usual, True
    return np.where(narrow & (step < MAX_STEP), step, 0.0)


@cache
def step_operator() -> np.ndarray:
    """(56, 57) float64: a step in each square, by fit_feed with USUAL_SMOOTHING, is this @ lines' places."""
    lines = np.arange(GRID_COLUMNS)
    weight = np.where((lines >= FIRST) & (lines <= LAST), 1.0, 0.0)
    operator = np.zeros((GRID_COLUMNS - 1, GRID_COLUMNS))
    for line in range(FIRST, LAST):
        behind = (lines > line).astype(float)[:, None]
        operator[line] = fit_feed(np.eye(GRID_COLUMNS), weight, behind, USUAL_SMOOTHING)[0]
    return operator


def usual_squares() -> np.ndarray:
    """Which squares hold USUAL_COLUMNS: (56,) bool."""
    left = np.arange(GRID_COLUMNS - 1)
    return (left + 1 > USUAL_COLUMNS[0]) & (left < USUAL_COLUMNS[1])


def is_beside(sure: np.ndarray) -> np.ndarray:
    """Which squares lie within SPREAD_SQUARES of one that is sure (56,) bool: (56,) bool."""
    return np.convolve(sure, np.ones(2 * SPREAD_SQUARES + 1), "same") > 0


def is_common(step: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Which steps (56,) show in most bands, by their lines at (BANDS, 57): (56,) bool.

    In the same square or the one beside it, for a slant slice crosses lines.
    """
    bands = np.pad(np.stack([narrowing(lines) for lines in places]), ((0, 0), (1, 1)))
    bands = np.maximum(np.maximum(bands[:, :-2], bands[:, 1:-1]), bands[:, 2:])
    return (bands > step / 2).mean(axis=0) >= BAND_SHARE


def narrowing(places: np.ndarray) -> np.ndarray:
    """By how much each square between lines at (57,) is narrower than the median of four about it: (56,)."""
    change = np.pad(np.diff(places)[FIRST:LAST], 2, mode="edge")
    around = np.stack([change[:-4], change[1:-3], change[3:-1], change[4:]])
    return np.pad(np.median(around, axis=0) - change[2:-2], (FIRST, GRID_COLUMNS - 1 - LAST))


def place_slice(
    profiles: np.ndarray, template: np.ndarray, displaced: np.ndarray, line: int, slant: float
) -> tuple[float, float, float]:
    """Where between `line` and the next a slice was lost, the standard deviation of that, and its evidence.

    Left of the slice the profiles (BANDS, GRID_COLUMNS - 1, SAMPLES) go on as the left line has them, right
    of it as the right one; of all places that with the least squared difference, each counted by its
    likelihood. The first two are in squares. The evidence is the logarithm of how much likelier that makes
    the profiles than squares that shrink evenly from one line to the other, as they do where paper that is
    not lost runs ahead or bends.
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
