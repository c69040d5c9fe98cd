"""A slip of the scanner: slices of the paper that were moved past the sensor without being scanned.

On a page straightened by a smooth sheet the vertical lines right of such a slice come too early. They are seen
on the page's darkness, averaged over all rows: how far each line lies from its place says how much was lost,
and the 1 mm lines (or the stipple that was made of them) say where within a square.
"""

from dataclasses import dataclass, field

import cv2
import numpy as np

from configs.page import GRID_COLUMNS, GRID_ROWS, PAGE_PX_PER_MM, RECTIFIED, SQUARE_MM, Canvas

MIDDLE_ROW = (GRID_ROWS - 1) / 2
BANDS = 6  # of the page's rows that are looked at one by one
SAMPLES = 96  # of a profile in each square
PAGE_SAMPLES = SQUARE_MM * PAGE_PX_PER_MM  # 39, of a square in a scan: so many of SAMPLES are independent
REACH = 0.11  # squares by which a line may be displaced: the 1 mm lines repeat every 0.2
WINDOW = 0.12  # squares, standard deviation of the bell about a line in which its surroundings count
FIRST, LAST = 2, GRID_COLUMNS - 3  # lines that are believed; those further out lie on the paper's edge
MIN_STEP = 0.1 / SQUARE_MM  # squares: the least that is called a slip, twice what lines on whole pixels leave
STEP_SIGMAS = 6.0  # of the differences between neighbouring lines, that a step must exceed
MAX_SLICES = 3
BAND_SHARE = 0.8  # of the bands that have to show at least half of a step
STIFFNESS = 0.3  # of what a slip leaves of the lines' displacements; wiggles of one or two squares stay
PATTERN_GAIN = 0.5  # of the lines' squared displacements that the pattern of whole pixels must explain
UNCLEAR_SQUARES = 0.2  # 1 mm, standard deviation of a slice's place from which on it is doubted


@dataclass(frozen=True)
class Slip:
    """Slices of paper that a scanner lost, in the same columns of all rows of the page.

    columns: (n,) float64, grid columns of the paper at MIDDLE_ROW where the slices begin, increasing.
    lost: (n,) float64 above 0, their widths in squares.
    slant: columns by which the slices begin further right in each grid row than in the row above; the sensor's
        line is not quite upright on a page that was fed at an angle.
    uncertainty: (n,) float64, standard deviations of `columns` in squares; zeros where they are known.
    """

    columns: np.ndarray
    lost: np.ndarray
    slant: float = 0.0
    uncertainty: np.ndarray = field(default_factory=lambda: np.zeros(1))

    @property
    def lost_mm(self) -> float:
        """Width of all slices together in mm."""
        return float(self.lost.sum()) * SQUARE_MM

    @property
    def is_placed(self) -> bool:
        """Whether the page shows where within a square the slices were lost."""
        return bool((self.uncertainty < UNCLEAR_SQUARES).all())

    def scanned_columns(self, columns: np.ndarray, row: float = MIDDLE_ROW) -> np.ndarray:
        """Columns of the paper to those of the paper without the lost slices, in one grid row: same shape.

        Columns inside a lost slice all come to its edge.
        """
        columns = np.asarray(columns, np.float64)
        shifted = columns.copy()
        for column, lost in zip(self.columns, self.lost, strict=True):
            shifted -= np.clip(columns - column - self.slant * (row - MIDDLE_ROW), 0, lost)
        return shifted


def find_slip(
    rectified: np.ndarray, slant: float, canvas: Canvas = RECTIFIED
) -> tuple[Slip, np.ndarray] | None:
    """The slip seen on a page that was straightened by a smooth sheet, and how the sheet misses the lines.

    rectified (canvas height, canvas width, 3) uint8; `slant` as in Slip. Returns the slip and (57,) float64
    squares by which the grid's columns lie further right on the sheet than the slip explains, or None where the
    lines show no slip.
    """
    profiles = line_profiles(rectified, canvas)
    template, displaced = locate_lines(profiles.mean(axis=0))
    displaced = displaced - whole_pixel_pattern(displaced)
    by_band = np.stack([locate_lines(profile, template)[1] for profile in profiles])
    steps = find_steps(displaced, by_band)
    if not len(steps):
        return None
    usual = np.diff(displaced)
    usual = np.median(np.delete(usual[FIRST:LAST], steps - FIRST))
    lost = -(np.diff(displaced)[steps] - usual)
    places = [place_slice(profiles, template, displaced, step, slant) for step in steps]
    columns, uncertainty = np.array(places).T
    slip = Slip(columns, lost, slant, uncertainty)
    lines = np.arange(GRID_COLUMNS)
    rest = displaced - (slip.scanned_columns(lines) - lines)
    weight = np.where((lines >= FIRST) & (lines <= LAST), 1.0, 0.0)
    near = (lines[:, None] > columns - 0.15) & (lines[:, None] < columns + lost + 0.15)
    weight[near.any(axis=1)] = 0.05  # a line in the slice, or in it in some rows, says little
    return slip, smooth_line(rest, weight, STIFFNESS)


def line_profiles(rectified: np.ndarray, canvas: Canvas = RECTIFIED) -> np.ndarray:
    """Darkness of a rectified page's columns in bands of its rows: (BANDS, GRID_COLUMNS - 1, SAMPLES) float.

    Each square starts half a square left of its line, and has mean 0 and standard deviation 1.
    """
    grey = cv2.cvtColor(rectified, cv2.COLOR_RGB2GRAY)
    edges = np.linspace(canvas.square_height, canvas.height - canvas.square_height, BANDS + 1).astype(int)
    dark = [255 - grey[a:b].mean(axis=0, dtype=np.float32) for a, b in zip(edges[:-1], edges[1:], strict=True)]
    places = (np.arange(SAMPLES * (GRID_COLUMNS - 1)) / SAMPLES - 0.5) * canvas.square_width
    sampled = np.stack([np.interp(places, np.arange(canvas.width), profile) for profile in dark])
    squares = sampled.reshape(BANDS, GRID_COLUMNS - 1, SAMPLES)
    squares = squares - squares.mean(axis=2, keepdims=True)
    return squares / (squares.std(axis=2, keepdims=True) + 1e-6)


def locate_lines(profile: np.ndarray, template: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How far lines lie right of their places: the mean line (SAMPLES,) and (57,) float64 squares.

    profile (GRID_COLUMNS - 1, SAMPLES) of line_profiles. Each line is compared with the median of all others, or
    with a `template`, within REACH. Lines outside FIRST..LAST are said to lie as their neighbours.
    """
    flat = profile.ravel()
    bell = np.exp(-(((np.arange(SAMPLES) / SAMPLES - 0.5) / WINDOW) ** 2) / 2)
    reach = round(REACH * SAMPLES)
    displaced = np.zeros(GRID_COLUMNS)
    lines = np.arange(FIRST, LAST + 1)
    given, looks = template, 2 if template is None else 1
    for _ in range(looks):
        if given is None:
            starts = (lines + displaced[lines])[:, None] * SAMPLES
            template = np.median(np.interp(starts + np.arange(SAMPLES), np.arange(len(flat)), flat), axis=0)
        assert template is not None
        pattern = (template - (template * bell).sum() / bell.sum()) * bell
        for line in lines:
            window = flat[line * SAMPLES - reach : (line + 1) * SAMPLES + reach]
            match = np.correlate(window, pattern, "valid")
            best = int(np.clip(match.argmax(), 1, len(match) - 2))
            before, here, after = match[best - 1 : best + 2]
            bend = before - 2 * here + after
            displaced[line] = (best - reach + (0.5 * (before - after) / bend if bend < 0 else 0)) / SAMPLES
    assert template is not None
    displaced[:FIRST], displaced[LAST + 1 :] = displaced[FIRST], displaced[LAST]
    return template, displaced


def whole_pixel_pattern(displaced: np.ndarray) -> np.ndarray:
    """What of the lines' displacements (57,) in squares comes of a print whose lines lie on whole pixels.

    ECG-image-kit's pages at 200 dpi are such, drawn with a calibration pulse or without; zeros for others.
    """
    inner = slice(FIRST, LAST + 1)
    best, explained = np.zeros(GRID_COLUMNS), PATTERN_GAIN
    rough = np.diff(displaced[inner], n=2)  # of a smooth displacement nothing is left
    for first in (0, -1):
        places = (np.arange(GRID_COLUMNS) + first) * PAGE_SAMPLES
        pattern = (np.round(places) - places) / PAGE_SAMPLES
        bent = np.diff(pattern[inner], n=2)
        usual = np.abs(rough) < 4 * np.median(np.abs(rough)) + 1e-9  # a step is no part of the pattern
        gain = 1 - ((rough - bent)[usual] ** 2).sum() / (rough[usual] ** 2).sum()
        if gain > explained:
            best, explained = pattern, gain
    return best


def find_steps(displaced: np.ndarray, by_band: np.ndarray) -> np.ndarray:
    """Squares, by the line at their left, in which lines (57,) come closer all down the page: (n,) int.

    displaced (57,) and by_band (BANDS, 57) in squares; the MAX_SLICES largest steps, from left to right.
    """
    change = np.diff(displaced)[FIRST:LAST]
    usual = np.median(change)
    noise = 1.4826 * np.median(np.abs(change - usual))
    step = usual - change
    bands = usual - np.diff(by_band, axis=1)[:, FIRST:LAST]
    agreed = (bands > step / 2).mean(axis=0) >= BAND_SHARE
    large = np.flatnonzero((step > max(MIN_STEP, STEP_SIGMAS * noise)) & agreed)
    return np.sort(large[np.argsort(-step[large])][:MAX_SLICES]) + FIRST


def place_slice(
    profiles: np.ndarray, template: np.ndarray, displaced: np.ndarray, line: int, slant: float
) -> tuple[float, float]:
    """Where between `line` and the next a slice was lost, and how sure that is: column and standard deviation.

    Left of the slice the profiles (BANDS, GRID_COLUMNS - 1, SAMPLES) go on as the left line has them, right of it
    as the right one; of all places that with the least squared difference, each counted by its likelihood.
    """
    places = np.arange((line - 0.5) * SAMPLES, (line + 1.5) * SAMPLES) / SAMPLES
    repeated = np.append(template, template[0])

    def expected(columns: np.ndarray, displacement: float) -> np.ndarray:
        phase = (columns - displacement + 0.5) % 1
        return np.interp(phase * SAMPLES, np.arange(SAMPLES + 1), repeated)

    rows = (np.arange(BANDS) + 0.5) / BANDS * (GRID_ROWS - 1) - MIDDLE_ROW
    excess, noise = np.zeros(len(places)), 0.0
    for profile, row in zip(profiles.reshape(BANDS, -1), rows, strict=True):
        along = places + slant * row
        seen = np.interp((along + 0.5) * SAMPLES, np.arange(len(profile)), profile)
        left, right = ((seen - expected(along, displaced[n])) ** 2 for n in (line, line + 1))
        excess += np.cumsum(left - right)
        noise += float(np.minimum(left, right).mean()) / BANDS
    inside = (places >= line + displaced[line]) & (places <= line + 1 + displaced[line + 1])
    excess, places = excess[inside], places[inside]
    likelihood = np.exp(-(excess - excess.min()) / (2 * (noise + 1e-3) * SAMPLES / PAGE_SAMPLES))
    likelihood /= likelihood.sum()
    mean = float((likelihood * places).sum())
    deviation = float(np.sqrt((likelihood * (places - mean) ** 2).sum()))
    return mean - float(displaced[line]), deviation


def smooth_line(values: np.ndarray, weight: np.ndarray, stiffness: float) -> np.ndarray:
    """(n,) values smoothed by Whittaker's penalty on second differences, weights (n,) of which some are above 0."""
    bending = np.diff(np.eye(len(values)), n=2, axis=0)
    return np.linalg.solve(np.diag(weight) + stiffness * bending.T @ bending, weight * values)
