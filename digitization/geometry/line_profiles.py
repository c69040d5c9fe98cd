"""The vertical lines of a straightened page, measured on its darkness over many rows."""

from itertools import pairwise

import numpy as np

from configs.page import (
    GRID_COLUMNS,
    GRID_ROWS,
    PAGE_PX_PER_MM,
    SQUARE_MM,
    Canvas,
)

MEASURING = Canvas(width=2200, height=850)  # on which lines are measured: all columns of a 200 dpi page
BANDS = 6  # of the page's rows that are looked at one by one
SAMPLES = 96  # of a profile in each square
PAGE_SAMPLES = SQUARE_MM * PAGE_PX_PER_MM  # 39, of a square in a scan: so many of SAMPLES are independent
REACH = 0.11  # squares by which a line may be displaced: the 1 mm lines repeat every 0.2
WINDOW = 0.12  # squares, standard deviation of the bell about a line in which its surroundings count
FIRST, LAST = 2, GRID_COLUMNS - 3  # lines that are believed; those further out lie on the paper's edge
MAD_TO_SIGMA = 1.4826  # standard deviation of a normal distribution over its median absolute deviation
PATTERN_GAIN = 0.3  # of the lines' unevenness that the pattern of whole pixels must explain


def line_profiles(rectified: np.ndarray, canvas: Canvas = MEASURING, bands: int = BANDS) -> np.ndarray:
    """Darkness of a rectified page's columns in bands of its rows: (bands, GRID_COLUMNS - 1, SAMPLES) float.

    rectified (canvas height, canvas width) uint8, grey. Each square starts half a square left of its line,
    and has mean 0 and standard deviation 1. The bands are those of `band_edges`.
    """
    edges = np.round(band_edges(bands) * canvas.square_height).astype(int)
    dark = [255 - rectified[a:b].mean(axis=0, dtype=np.float32) for a, b in pairwise(edges)]
    places = (np.arange(SAMPLES * (GRID_COLUMNS - 1)) / SAMPLES - 0.5) * canvas.square_width
    sampled = np.stack([np.interp(places, np.arange(canvas.width), profile) for profile in dark])
    return normalize_squares(sampled.reshape(bands, GRID_COLUMNS - 1, SAMPLES))


def normalize_squares(squares: np.ndarray) -> np.ndarray:
    """Profiles of squares (..., SAMPLES), each to mean 0 and standard deviation 1."""
    squares = squares - squares.mean(axis=-1, keepdims=True)
    return squares / (squares.std(axis=-1, keepdims=True) + 1e-6)


def band_edges(bands: int) -> np.ndarray:
    """Where bands of rows begin and end, (bands + 1,) in grid rows; the outermost squares are left out."""
    return np.linspace(1, GRID_ROWS - 2, bands + 1)


def locate_lines(profile: np.ndarray, template: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """How far lines lie right of their places: the mean line (SAMPLES,) and (57,) float64 squares.

    profile (GRID_COLUMNS - 1, SAMPLES) of line_profiles. Each line is compared with the median of all others,
    or with a `template`, within REACH. Lines outside FIRST..LAST are said to lie as their neighbours.
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


def whole_pixel_pattern(lines: np.ndarray) -> np.ndarray:
    """What of the lines' places (57,) in squares comes of a print whose lines lie on whole pixels.

    ECG-image-kit's pages at 200 dpi are such, drawn with a calibration pulse or without; zeros for others.
    """
    inner = slice(FIRST, LAST + 1)
    best, explained = np.zeros(GRID_COLUMNS), PATTERN_GAIN
    rough = np.diff(lines[inner], n=2)  # of smooth places nothing is left
    for first in (0, -1):
        places = (np.arange(GRID_COLUMNS) + first) * PAGE_SAMPLES
        pattern = (np.round(places) - places) / PAGE_SAMPLES
        left = rough - np.diff(pattern[inner], n=2)
        usual = np.median(np.abs(rough)) + 1e-9  # medians, for a step is no part of the pattern
        gain = 1 - np.median(np.abs(left)) / usual
        if gain > explained:
            best, explained = pattern, gain
    return best
