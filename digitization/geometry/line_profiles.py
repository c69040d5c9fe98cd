"""The vertical lines of a rectified page, measured on its darkness averaged over many rows."""

from itertools import pairwise

import numpy as np

from configs.page import (
    GRID_COLUMNS,
    GRID_ROWS,
    PAGE_PX_PER_MM,
    SQUARE_MM,
    Canvas,
)

MEASURING = Canvas(width=2200, height=850)  # for measuring lines, with all columns of a 200 dpi page
BANDS = 6  # number of bands of rows that are measured separately
SAMPLES = 96  # number of samples of a profile per square
PAGE_SAMPLES = SQUARE_MM * PAGE_PX_PER_MM  # 39 px per square at 200 dpi: so many of SAMPLES are independent
REACH = 0.11  # squares, greatest displacement of a line; the 1 mm lines repeat every 0.2
WINDOW = 0.12  # squares, sigma of the Gaussian window around a line
FIRST = 2  # first line that is measured: those at the sides lie at the paper's edge
LAST = GRID_COLUMNS - 1 - FIRST  # last line of the competition's page that is measured
MAD_TO_SIGMA = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
PATTERN_GAIN = 0.3  # least share of the lines' unevenness that the pattern of whole pixels has to explain


def line_profiles(rectified: np.ndarray, canvas: Canvas = MEASURING, bands: int = BANDS) -> np.ndarray:
    """Darkness of a rectified page in bands of rows: (bands, canvas.columns - 1, SAMPLES) float.

    rectified (canvas height, canvas width) uint8, grey. Each square starts half a square left of its line and
    is normalized to mean 0 and standard deviation 1. The bands are those of `band_edges`.
    """
    edges = np.round(band_edges(bands, canvas.rows) * canvas.square_height).astype(int)
    dark = [255 - rectified[a:b].mean(axis=0, dtype=np.float32) for a, b in pairwise(edges)]
    places = (np.arange(SAMPLES * (canvas.columns - 1)) / SAMPLES - 0.5) * canvas.square_width
    sampled = np.stack([np.interp(places, np.arange(canvas.width), profile) for profile in dark])
    return normalize_squares(sampled.reshape(bands, canvas.columns - 1, SAMPLES))


def normalize_squares(squares: np.ndarray) -> np.ndarray:
    """Profiles of squares (..., SAMPLES), each normalized to mean 0 and standard deviation 1."""
    squares = squares - squares.mean(axis=-1, keepdims=True)
    return squares / (squares.std(axis=-1, keepdims=True) + 1e-6)


def band_edges(bands: int, rows: int = GRID_ROWS) -> np.ndarray:
    """The edges of equal bands of rows, (bands + 1,) in grid rows, without the outermost squares."""
    return np.linspace(1, rows - 2, bands + 1)


def locate_lines(profile: np.ndarray, template: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The mean line (SAMPLES,) and the displacement of the lines to the right, (C,) float64 squares.

    profile (C - 1, SAMPLES), of C lines, is a band of line_profiles or their mean. Each line is matched with
    the median of all lines, or with a `template`, within REACH. The FIRST lines and as many at the other
    side are given the displacement of their neighbours.
    """
    flat = profile.ravel()
    bell = np.exp(-(((np.arange(SAMPLES) / SAMPLES - 0.5) / WINDOW) ** 2) / 2)
    reach = round(REACH * SAMPLES)
    displaced = np.zeros(len(profile) + 1)
    last = len(profile) - FIRST
    lines = np.arange(FIRST, last + 1)
    given, passes = template, 2 if template is None else 1
    for _ in range(passes):
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
            curvature = before - 2 * here + after
            vertex = 0.5 * (before - after) / curvature if curvature < 0 else 0
            displaced[line] = (best - reach + vertex) / SAMPLES
    assert template is not None
    displaced[:FIRST], displaced[last + 1 :] = displaced[FIRST], displaced[last]
    return template, displaced


def whole_pixel_pattern(lines: np.ndarray) -> np.ndarray:
    """The part of the lines' positions (57,), in squares, that is due to a print with lines at whole pixels.

    Pages of ECG-image-kit at 200 dpi are such prints, with or without a calibration pulse; 0 for others.
    """
    inner = slice(FIRST, LAST + 1)
    best, explained = np.zeros(GRID_COLUMNS), PATTERN_GAIN
    rough = np.diff(lines[inner], n=2)  # zero for evenly spaced lines
    for first in (0, -1):
        places = (np.arange(GRID_COLUMNS) + first) * PAGE_SAMPLES
        pattern = (np.round(places) - places) / PAGE_SAMPLES
        residual = rough - np.diff(pattern[inner], n=2)
        typical = np.median(np.abs(rough)) + 1e-9  # a median, as a step is not part of the pattern
        gain = 1 - np.median(np.abs(residual)) / typical
        if gain > explained:
            best, explained = pattern, gain
    return best
