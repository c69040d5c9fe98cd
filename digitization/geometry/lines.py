"""The lattice refined along x by the page's own vertical lines, which stage 1 follows only roughly.

A QRS complex rises by 0.1 mV in a millisecond, so an error of 0.1 mm (4 ms) along x costs more than any
other. On the rectified page each vertical line is measured over many rows at once, to about 0.01 mm.
"""

import cv2
import numpy as np

from configs.page import GRID_COLUMNS, Canvas
from digitization.geometry.line_profiles import (
    FIRST,
    MAD_TO_SIGMA,
    MEASURING,
    REACH,
    SAMPLES,
    WINDOW,
    band_edges,
    line_profiles,
    locate_lines,
    whole_pixel_pattern,
)
from digitization.geometry.rectify import row_at
from digitization.geometry.row_strips import resample_lattice
from digitization.geometry.slip import Slip
from digitization.geometry.surface import fit_thin_plate

BANDS = 11  # greatest number of bands of rows in which every line is measured separately
BAND_SQUARES = 3.7  # squares, height of a band at least: as high as the competition's page has them
MIN_LINES = 12  # number of lines below which they are not measured: a lead of 2.5 s has as many
MIN_SIMILARITY = 0.8  # correlation with the page's mean line below which a line is taken to be hidden
MIN_MEDIAN_SIMILARITY = 0.92  # median correlation of all lines, below which moire has distorted them
MIN_CONTRAST = 0.5  # least contrast of the mean line to its surroundings: white lines on black have none
CLEAR_NOISE = 0.0015  # squares (0.3 ms), noise of the lines up to which PAPER_SMOOTHING is used
# Squares (0.5 ms), noise above which lines of other pages than the competition's are not followed: programs
# print theirs at whole pixels, a pattern not known there and noisier than paper: 0.003 to 0.006 by ECGMiner.
MAX_NOISE = 0.0025
PAPER_SMOOTHING = 0.01  # smoothing at which the surface follows buckled sheets (image types 0009, 0010)
NOISE_POWER = 4  # power of the noise by which the smoothing rises: moire's errors are alike over many lines
CENTRE_REACH = 0.08  # squares (16 ms), greatest distance of the mean line's centre from its place
MIN_OFFSET = 0.0075  # squares (1.5 ms), offset that is ignored: lines of drawn scans seem to be that far off
ROBUST_SPREADS = 1.5  # distance from the surface, in median distances, at which a line's weight is halved
ROBUST_ROUNDS = 2  # number of reweighted fits


def refine_columns(
    gridpoint_xy: np.ndarray, rectified: np.ndarray, canvas: Canvas = MEASURING, slip: Slip | None = None
) -> np.ndarray:
    """A lattice (R, C, 2) px moved along its rows onto the vertical lines seen: the same shape and dtype.

    rectified (canvas height, canvas width) uint8 is the grey page rectified by that lattice and slip, its
    canvas that of R rows and C columns. Where the lines cannot be measured the lattice is returned as it is.
    """
    moved = line_displacement(rectified, canvas)
    if moved is None:
        return gridpoint_xy
    columns = np.arange(canvas.columns) + moved
    rows = [row_at(gridpoint_xy, row, columns[row], slip) for row in range(canvas.rows)]
    return np.stack(rows).astype(gridpoint_xy.dtype)


def refine_lattice(image: np.ndarray, gridpoint_xy: np.ndarray) -> np.ndarray:
    """A lattice (R, C, 2) px of any extent on an image (H, W, 3) uint8, refined as by `refine_columns`."""
    rows, columns = gridpoint_xy.shape[:2]
    width, height = (
        round((count - 1) * side) + 1
        for count, side in ((columns, MEASURING.square_width), (rows, MEASURING.square_height))
    )
    canvas = Canvas(width, height, rows, columns)
    down, across = np.arange(height) / canvas.square_height, np.arange(width) / canvas.square_width
    grey = resample_lattice(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), gridpoint_xy, down, across)
    return refine_columns(gridpoint_xy, grey, canvas)


def line_displacement(rectified: np.ndarray, canvas: Canvas) -> np.ndarray | None:
    """Displacement of the vertical lines to the right of their places: a smooth surface (R, C) in squares.

    Lines printed at whole pixels are uneven by up to half a pixel; the pattern of the competition's page is
    known and subtracted. None if too few lines resemble the page's mean line.
    """
    bands = min(BANDS, int((canvas.rows - 3) / BAND_SQUARES))
    if bands < 1 or canvas.columns < MIN_LINES:
        return None
    profiles = line_profiles(rectified, canvas, bands)
    edges = band_edges(bands, canvas.rows)
    rows = np.round((edges[:-1] + edges[1:]) / 2).astype(int)
    template, _ = locate_lines(profiles.mean(axis=0))
    displaced, similarity = match_lines(profiles, template)
    inner = slice(FIRST, canvas.columns - FIRST)
    if line_contrast(template) < MIN_CONTRAST or np.median(similarity[:, inner]) < MIN_MEDIAN_SIMILARITY:
        return None
    if canvas.columns == GRID_COLUMNS:
        displaced = displaced - whole_pixel_pattern(np.arange(GRID_COLUMNS) + displaced.mean(axis=0))
    offset = centre_of(template)
    displaced += offset if abs(offset) > MIN_OFFSET else 0.0
    second_differences = np.diff(displaced[:, inner], n=2, axis=1)
    # The variance of a second difference is six times that of a line.
    noise = MAD_TO_SIGMA * np.median(np.abs(second_differences)) / np.sqrt(6)
    if canvas.columns != GRID_COLUMNS and noise > MAX_NOISE:
        return None
    smoothing = PAPER_SMOOTHING * max(noise / CLEAR_NOISE, 1.0) ** NOISE_POWER
    offsets, weight = np.zeros((canvas.rows, canvas.columns, 1)), np.zeros((canvas.rows, canvas.columns))
    offsets[rows, :, 0] = displaced
    weight[rows, inner] = np.where(similarity > MIN_SIMILARITY, similarity**2, 0.0)[:, inner]
    surface, _ = fit_thin_plate(offsets, weight, smoothing)
    for _ in range(ROBUST_ROUNDS):
        distance = np.abs(offsets - surface)[..., 0]
        spread = ROBUST_SPREADS * np.median(distance[weight > 0]) + 1e-6
        surface, _ = fit_thin_plate(offsets, weight / (1 + (distance / spread) ** 2), smoothing)
    return surface[..., 0]


def line_contrast(template: np.ndarray) -> float:
    """Contrast of the mean line (SAMPLES,) to its surroundings, in standard deviations of a square."""
    away = np.abs(np.arange(SAMPLES) / SAMPLES - 0.5)
    return float(template[away < 0.05].mean() - template[(away > 0.08) & (away < 0.45)].mean())


def centre_of(template: np.ndarray) -> float:
    """Displacement of the mean line (SAMPLES,) to the right of its place, in squares.

    Its centre is where it is most similar to its mirror image. `match_lines`, which compares lines with the
    mean line, cannot see such an offset of all of them.
    """
    repeated = np.tile(template, 3)
    away = np.arange(1, SAMPLES // 2)
    weight = np.exp(-((away / SAMPLES / WINDOW) ** 2) / 2)
    centres = np.arange(-CENTRE_REACH * SAMPLES, CENTRE_REACH * SAMPLES + 0.25, 0.5)
    middle = 1.5 * SAMPLES + centres[:, None]
    right, left = (np.interp(middle + side * away, np.arange(len(repeated)), repeated) for side in (1, -1))
    asymmetry = ((right - left) ** 2) @ weight
    best = int(asymmetry.argmin().clip(1, len(centres) - 2))
    before, here, after = asymmetry[best - 1 : best + 2]
    curvature = before - 2 * here + after
    vertex = 0.25 * (before - after) / curvature if curvature > 0 else 0.0  # centres are half a sample apart
    return float(centres[best] + vertex) / SAMPLES


def match_lines(profiles: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of the lines to the right, in squares, and their similarity, each (bands, C) float64.

    Each line of `profiles` (line_profiles) is matched with the template (SAMPLES,) within REACH; similarity
    is a correlation in -1..1. Both are 0 for the FIRST lines and as many at the other side.
    """
    bell = np.exp(-(((np.arange(SAMPLES) / SAMPLES - 0.5) / WINDOW) ** 2) / 2)
    pattern = (template - (template * bell).sum() / bell.sum()) * bell
    reach = round(REACH * SAMPLES)
    flat = profiles.reshape(len(profiles), -1)
    columns = profiles.shape[1] + 1
    inner = slice(FIRST, columns - FIRST)
    starts = np.arange(columns)[inner, None] * SAMPLES + np.arange(-reach, reach + 1)
    views = np.lib.stride_tricks.sliding_window_view(flat, SAMPLES, axis=1)
    windows = views[:, starts]  # (bands, lines, shifts, SAMPLES)
    match = windows @ pattern
    best = match.argmax(axis=2).clip(1, 2 * reach - 1)[..., None]
    before, here, after = (np.take_along_axis(match, best + step, axis=2)[..., 0] for step in (-1, 0, 1))
    curvature = before - 2 * here + after
    vertex = np.divide(0.5 * (before - after), curvature, out=np.zeros_like(curvature), where=curvature < 0)
    seen = np.take_along_axis(windows, best[..., None], axis=2)[:, :, 0]
    seen = seen - (seen @ bell / bell.sum())[..., None]
    power = np.sqrt(((pattern**2 / np.maximum(bell, 1e-9)).sum()) * (seen**2 @ bell)) + 1e-9
    displaced, similarity = np.zeros((2, len(profiles), columns))
    displaced[:, inner] = (best[..., 0] - reach + vertex) / SAMPLES
    similarity[:, inner] = here / power
    return displaced, similarity
