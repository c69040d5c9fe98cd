"""A sheet-fed scanner that loses its grip: where the columns of the paper come to lie on the scan.

The ranges lie around what was measured, square by square, on nine scans of five records of the competition:
0.3 to 0.6 mm of paper are lost at 8.0 to 8.8 s, in all rows at once, within about 1 mm or over two squares;
to its right the squares are 2 to 3 % narrower; some scans have a lesser wiggle at 5 to 6 s.
"""

from dataclasses import dataclass

import numpy as np

from configs.page import GRID_COLUMNS, GRID_ROWS, SIGNAL_START_SQUARES, SQUARE_MM
from digitization.geometry.find_slip import USUAL_COLUMNS
from digitization.geometry.slip import MIDDLE_ROW, Slip
from synthesis.page import SQUARE_PX, Page
from synthesis.warp import Warp

SLIP_SHARE = 0.75  # of the scans; the others have a steady feed, as flatbed scanners have
USUAL_SHARE = 0.8  # of the slips: those at the place that was measured; the others lie anywhere
ANY_COLUMNS = (SIGNAL_START_SQUARES + 2.0, 52.0)
LOST_MM = (0.25, 0.7)
ONE_SLICE_SHARE = 0.6  # of the slips; the others lose two or three slices
SPREAD_MM = (0.5, 6.0)  # over which two or three slices are spread
EVENNESS = 3.0  # concentration of the Dirichlet distribution of two or three slices' widths
SHRINK_SHARE, SHRINK = 0.8, (0.01, 0.03)  # of the squares' width to the right of the slip
WIGGLE_SHARE, WIGGLE_COLUMNS = 0.5, (27.0, 35.0)
WIGGLE_MM = (0.1, 0.4)
WIGGLE_SQUARES = (0.4, 1.2)  # standard deviation of the bell in which the paper runs ahead and falls back
KNOT_SQUARES = 0.05
EXTENT_SQUARES = 20.0  # to either side of the page for which the movement is given


@dataclass(frozen=True)
class Feed:
    """How columns of the paper come to lie on a scan.

    paper: (n,) grid columns of the paper; scanned: (n,) where they lie on a scan whose steady part has
    squares of width 1. Neither decreases. starts, lost: (k,) of the slices that were lost, in columns of the
    paper.
    """

    paper: np.ndarray
    scanned: np.ndarray
    starts: np.ndarray
    lost: np.ndarray


def draw_feed(rng: np.random.Generator, slips: bool | None = None) -> Feed | None:
    """How a sheet passes a scanner, None for a steady feed; `slips` decides instead of chance.

    Takes one random number, so that all else of a page is the same with a slip and without.
    """
    rng = np.random.default_rng(rng.integers(2**63))
    if not (rng.random() < SLIP_SHARE if slips is None else slips):
        return None
    starts, lost = draw_slices(rng)
    beyond = np.arange(-EXTENT_SQUARES, GRID_COLUMNS + EXTENT_SQUARES, KNOT_SQUARES)
    paper = np.unique(np.concatenate([beyond, starts, starts + lost]))
    scanned = Slip(starts, lost).scanned_columns(paper)
    if rng.random() < SHRINK_SHARE:
        scanned -= rng.uniform(*SHRINK) * np.clip(paper - starts[-1] - lost[-1], 0, None)
    if rng.random() < WIGGLE_SHARE:
        size = rng.choice([-1, 1]) * rng.uniform(*WIGGLE_MM) / SQUARE_MM
        middle, width = rng.uniform(*WIGGLE_COLUMNS), rng.uniform(*WIGGLE_SQUARES)
        scanned += size * np.exp(-(((paper - middle) / width) ** 2) / 2)
    return Feed(paper, np.maximum.accumulate(scanned), starts, lost)


def draw_slices(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Where on the paper the lost slices begin and how wide they are: two (k,) in squares, none overlap."""
    usual = rng.random() < USUAL_SHARE
    first = rng.uniform(*(USUAL_COLUMNS if usual else ANY_COLUMNS))
    count = 1 if rng.random() < ONE_SLICE_SHARE else int(rng.integers(2, 4))
    lost = rng.uniform(*LOST_MM) / SQUARE_MM * rng.dirichlet(np.full(count, EVENNESS))
    spread = rng.uniform(*SPREAD_MM) / SQUARE_MM
    starts = first + np.append(0.0, np.sort(rng.uniform(0, spread, count - 1)))
    return starts + np.append(0.0, np.cumsum(lost[:-1])), lost


def first_column(page: Page) -> float:
    """Of grid column 0, in squares from the paper's left edge."""
    return float(page.gridpoint_xy[0, 0, 0]) / SQUARE_PX


def feed_on_scan(feed: Feed, warp: Warp, page: Page) -> tuple[np.ndarray, np.ndarray]:
    """The feed as Warp wants it, (n,) and (n,) px of the scan; columns are those of the page's middle row."""
    places = np.array([[first_column(page), 0.0], [first_column(page) + 1, 0.0]]) * SQUARE_PX
    places[:, 1] = page.gridpoint_xy[int(MIDDLE_ROW), 0, 1]
    (begin, _), (next_begin, _) = warp.to_capture(places)
    width = next_begin - begin
    return begin + feed.paper * width, begin + feed.scanned * width


def lost_slices(feed: Feed, warp: Warp, page: Page) -> Slip:
    """The slices as labels, in grid columns of the page, along the sensor's line through them."""
    steady, _ = warp.feed or (np.zeros(1), np.zeros(1))
    x = np.interp(feed.starts, feed.paper, steady)
    rows = page.gridpoint_xy[[0, -1], 0, 1]
    heights = warp.to_capture(np.stack([np.full(2, page.gridpoint_xy[0, 20, 0]), rows], axis=1))[:, 1]
    ends = np.array([[[place, height] for height in heights] for place in x])
    columns = warp.steady_to_page(ends)[..., 0] / SQUARE_PX - first_column(page)
    slant = (columns[:, 1] - columns[:, 0]).mean() / (GRID_ROWS - 1)
    return Slip(columns.mean(axis=1), feed.lost, float(slant))
