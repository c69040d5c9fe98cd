"""The lattice refined along x by the page's own vertical lines, which stage 1 follows only roughly.

A QRS rises by 0.1 mV in a millisecond, so that an error of 0.1 mm (4 ms) along the page costs more than all
others. On the straightened page each vertical line is seen over many rows at once, to about 0.01 mm.
"""

import numpy as np

from configs.page import GRID_COLUMNS, GRID_ROWS, Canvas
from digitization.geometry.line_profiles import (
    FIRST,
    LAST,
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
from digitization.geometry.slip import Slip
from digitization.geometry.surface import fit_thin_plate

BANDS = 11  # bands of rows, each four squares high, in which every line is measured by itself
MIN_SIMILARITY = 0.8  # correlation with the page's mean line below which something else hides a line
MIN_MEDIAN_SIMILARITY = 0.92  # of all lines: below it moire has made other patterns of them
MIN_CONTRAST = 0.5  # of the mean line over what lies about it: shadows and white lines on black have none
CLEAR_NOISE = 0.0015  # squares (0.3 ms), the lines' noise up to which the surface may be as flexible as paper
PAPER_SMOOTHING = 0.01  # smoothing of that surface, at which it follows buckled sheets (0009, 0010)
NOISE_POWER = 4  # the smoothing rises with this power of the noise: moire's errors are alike over many lines
CENTRE_REACH = 0.08  # squares (16 ms) from its place within which the mean line's centre is looked for
MIN_OFFSET = 0.0075  # squares (1.5 ms): lines of drawn scans lie that far from their labels by look alone
ROBUST_SPREADS = 1.5  # median distances from the surface at which a line's weight is halved
ROBUST_ROUNDS = 2


def refine_columns(
    gridpoint_xy: np.ndarray, rectified: np.ndarray, canvas: Canvas = MEASURING, slip: Slip | None = None
) -> np.ndarray:
    """A lattice (44, 57, 2) px moved along its rows to where the vertical lines are seen: the same shape.

    rectified (canvas height, canvas width) uint8 is the grey page straightened by that lattice and slip.
    Where the lines cannot be measured the lattice is returned as it is.
    """
    moved = line_displacement(rectified, canvas)
    if moved is None:
        return gridpoint_xy
    columns = np.arange(GRID_COLUMNS) + moved
    rows = [row_at(gridpoint_xy, row, columns[row], slip) for row in range(GRID_ROWS)]
    return np.stack(rows).astype(gridpoint_xy.dtype)


def line_displacement(rectified: np.ndarray, canvas: Canvas) -> np.ndarray | None:
    """How far right of their places the vertical lines lie: a smooth surface (44, 57) in squares.

    Lines of a print on whole pixels are uneven by up to half a pixel; that known pattern is no displacement.
    None where too few lines look like the page's mean line.
    """
    profiles = line_profiles(rectified, canvas, BANDS)
    edges = band_edges(BANDS)
    rows = np.round((edges[:-1] + edges[1:]) / 2).astype(int)
    template, _ = locate_lines(profiles.mean(axis=0))
    displaced, similarity = match_lines(profiles, template)
    inner = slice(FIRST, LAST + 1)
    if line_contrast(template) < MIN_CONTRAST or np.median(similarity[:, inner]) < MIN_MEDIAN_SIMILARITY:
        return None
    displaced = displaced - whole_pixel_pattern(np.arange(GRID_COLUMNS) + displaced.mean(axis=0))
    offset = centre_of(template)
    displaced += offset if abs(offset) > MIN_OFFSET else 0.0
    bends = np.diff(displaced[:, inner], n=2, axis=1)
    noise = MAD_TO_SIGMA * np.median(np.abs(bends)) / np.sqrt(6)  # a second difference has six variances
    smoothing = PAPER_SMOOTHING * max(noise / CLEAR_NOISE, 1.0) ** NOISE_POWER
    offsets, weight = np.zeros((GRID_ROWS, GRID_COLUMNS, 1)), np.zeros((GRID_ROWS, GRID_COLUMNS))
    offsets[rows, :, 0] = displaced
    weight[rows, inner] = np.where(similarity > MIN_SIMILARITY, similarity**2, 0.0)[:, inner]
    surface, _ = fit_thin_plate(offsets, weight, smoothing)
    for _ in range(ROBUST_ROUNDS):
        distance = np.abs(offsets - surface)[..., 0]
        spread = ROBUST_SPREADS * np.median(distance[weight > 0]) + 1e-6
        surface, _ = fit_thin_plate(offsets, weight / (1 + (distance / spread) ** 2), smoothing)
    return surface[..., 0]


def line_contrast(template: np.ndarray) -> float:
    """How much darker the mean line (SAMPLES,) is than what lies about it; a square's deviation is 1."""
    away = np.abs(np.arange(SAMPLES) / SAMPLES - 0.5)
    return float(template[away < 0.05].mean() - template[(away > 0.08) & (away < 0.45)].mean())


def centre_of(template: np.ndarray) -> float:
    """How far right of its place the mean line (SAMPLES,) lies, in squares.

    Its centre is where it is most like its mirror image. `match_lines`, which compares lines with the mean
    line, cannot tell.
    """
    repeated = np.tile(template, 3)
    away = np.arange(1, SAMPLES // 2)
    weight = np.exp(-((away / SAMPLES / WINDOW) ** 2) / 2)
    centres = np.arange(-CENTRE_REACH * SAMPLES, CENTRE_REACH * SAMPLES + 0.25, 0.5)
    middle = 1.5 * SAMPLES + centres[:, None]
    right, left = (np.interp(middle + side * away, np.arange(len(repeated)), repeated) for side in (1, -1))
    unlike = ((right - left) ** 2) @ weight
    best = int(unlike.argmin().clip(1, len(centres) - 2))
    before, here, after = unlike[best - 1 : best + 2]
    bend = before - 2 * here + after
    vertex = 0.25 * (before - after) / bend if bend > 0 else 0.0  # centres are half a sample apart
    return float(centres[best] + vertex) / SAMPLES


def match_lines(profiles: np.ndarray, template: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """How far lines lie right of their places, in squares, and how similar they are: two of (BANDS, 57).

    Each line of `profiles` is compared with the template (SAMPLES,) within REACH; similarity is a correlation
    in -1..1. Lines outside FIRST..LAST are 0.
    """
    bell = np.exp(-(((np.arange(SAMPLES) / SAMPLES - 0.5) / WINDOW) ** 2) / 2)
    pattern = (template - (template * bell).sum() / bell.sum()) * bell
    reach = round(REACH * SAMPLES)
    flat = profiles.reshape(len(profiles), -1)
    starts = np.arange(FIRST, LAST + 1)[:, None] * SAMPLES + np.arange(-reach, reach + 1)
    views = np.lib.stride_tricks.sliding_window_view(flat, SAMPLES, axis=1)
    windows = views[:, starts]  # (BANDS, lines, shifts, SAMPLES)
    match = windows @ pattern
    best = match.argmax(axis=2).clip(1, 2 * reach - 1)[..., None]
    before, here, after = (np.take_along_axis(match, best + step, axis=2)[..., 0] for step in (-1, 0, 1))
    bend = before - 2 * here + after
    vertex = np.divide(0.5 * (before - after), bend, out=np.zeros_like(bend), where=bend < 0)
    seen = np.take_along_axis(windows, best[..., None], axis=2)[:, :, 0]
    seen = seen - (seen @ bell / bell.sum())[..., None]
    power = np.sqrt(((pattern**2 / np.maximum(bell, 1e-9)).sum()) * (seen**2 @ bell)) + 1e-9
    displaced, similarity = np.zeros((2, len(profiles), GRID_COLUMNS))
    displaced[:, FIRST : LAST + 1] = (best[..., 0] - reach + vertex) / SAMPLES
    similarity[:, FIRST : LAST + 1] = here / power
    return displaced, similarity
