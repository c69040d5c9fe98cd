"""A trace along the ink of a strip, through points that a person gave."""

import numpy as np

from digitization.signal.decode import bridge
from digitization.signal.path import MAX_COLUMN_COST, track

BIN_PX = 4  # px of the strip per bin of the path: a trace is about this thick
SNAP_PX = 12  # px (0.15 mV) about a given point within which the path may pass it
MARGIN_PX = 160  # px (2 mV) above and below the given points in which ink is looked for
INK_PERCENTILE, PAPER_PERCENTILE = 0.5, 70.0  # percentiles of grey taken for ink and for paper
MIN_CONTRAST = 20.0  # grey levels between ink and paper below which there is none
LEAST_INK = 0.35  # darkness, 0 for paper and 1 for ink, from which a pixel counts as the trace's
FAINT_INK = 0.15  # darkness up to which a pixel counts as paper: the grid's
FULL_INK = 0.7  # darkness from which ink is as good as any
REFINE_PX = 5  # px about the path within which the ink's centre is taken


def darkness(strip: np.ndarray) -> np.ndarray:
    """How much a strip (H, W, 3) uint8 RGB looks like ink, (H, W) float32 in 0..1.

    The brightest channel counts, in which a coloured grid is hardly seen.
    """
    grey = strip.max(axis=2).astype(np.float32)
    ink, paper = np.percentile(grey, [INK_PERCENTILE, PAPER_PERCENTILE])
    if paper - ink < MIN_CONTRAST:
        return np.zeros(grey.shape, np.float32)
    dark = ((paper - grey) / (paper - ink)).clip(0, 1)
    return np.where(dark > FAINT_INK, dark, 0)


def follow_ink(strip: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The y (n,) px of a trace in the columns from the first of points (N, 2) px, (x, y), to the last.

    strip (H, W, 3) uint8 RGB. The trace passes each point at SNAP_PX at most, and between them it follows the
    ink by the least detour; where there is none it goes straight. Points are in order from left to right.
    """
    columns = np.round(points[:, 0]).astype(int)
    first, last = int(columns[0]), int(columns[-1])
    top = int(max(points[:, 1].min() - MARGIN_PX, 0))
    bottom = int(min(points[:, 1].max() + MARGIN_PX, len(strip)))
    straight = straight_line(points)
    if bottom - top < 2 * BIN_PX:
        return straight
    dark = darkness(strip[top:bottom, first : last + 1])
    dark = dark[: len(dark) // BIN_PX * BIN_PX]
    # A bin is as dark as its darkest pixel, so that a blot attracts the path no more than a thin line does.
    bins = dark.reshape(-1, BIN_PX, dark.shape[1]).max(axis=1)
    cost = MAX_COLUMN_COST * (1 - (bins / FULL_INK).clip(max=1))
    at = (np.arange(len(cost)) + 0.5) * BIN_PX - 0.5 + top
    for x, y in points:
        column = round(x) - first
        cost[np.abs(at - y) > SNAP_PX, column] = 1e4  # nats, more than any detour costs
    path = track(cost[None].astype(np.float32))[0]
    y, seen = refine_on_ink(dark, (path + 0.5) * BIN_PX - 0.5)
    for column, given in zip(columns - first, points[:, 1], strict=True):
        if not seen[column]:
            y[column], seen[column] = given - top, True
    return np.asarray(bridge(y[None], seen[None])[0] + top)


def refine_on_ink(dark: np.ndarray, path: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The centre of the ink about a path (W,) px through (H, W), and where there is any, (W,) bool."""
    offsets = np.arange(-REFINE_PX, REFINE_PX + 1)
    rows = np.round(path).astype(int) + offsets[:, None]
    inside = (rows >= 0) & (rows < len(dark))
    weight = np.take_along_axis(dark, rows.clip(0, len(dark) - 1), axis=0) * inside
    weight = np.where(weight >= LEAST_INK, weight, 0)
    mass = weight.sum(axis=0)
    centre = (weight * rows).sum(axis=0) / np.maximum(mass, 1e-9)
    return np.where(mass > 0, centre, path), mass > 0


def straight_line(points: np.ndarray) -> np.ndarray:
    """The y of straight lines through points (N, 2) px in every column from the first to the last."""
    columns = np.arange(round(points[0, 0]), round(points[-1, 0]) + 1)
    return np.interp(columns, points[:, 0], points[:, 1])
