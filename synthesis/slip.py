"""Slipping paper feed in a sheet-fed scanner: where columns of the paper lie on the scan.

Where the feed slips, the scan skips a slice of the paper. The ranges are set around measurements of the
squares on nine scans of five competition records: 0.3 to 0.6 mm of paper are lost at 8.0 to 8.8 s, in all
rows at once, within about 1 mm or over two squares; to the right of it the squares are 2 to 3 % narrower;
some scans have a smaller wiggle at 5 to 6 s.
"""

from dataclasses import dataclass

import numpy as np

from configs.page import GRID_COLUMNS, GRID_ROWS, SIGNAL_START_SQUARES, SQUARE_MM
from digitization.geometry.find_slip import USUAL_COLUMNS
from digitization.geometry.slip import MIDDLE_ROW, Slip
from synthesis.page import SQUARE_PX, Page
from synthesis.warp import Warp

SLIP_SHARE = 0.75  # share of scans with a slip; the others have a steady feed, as on flatbed scanners
USUAL_SHARE = 0.8  # share of slips within the measured columns; the others lie in ANY_COLUMNS
ANY_COLUMNS = (SIGNAL_START_SQUARES + 2.0, 52.0)  # range of grid columns
LOST_MM = (0.25, 0.7)  # range of the total width of the lost slices
ONE_SLICE_SHARE = 0.6  # share of slips that lose one slice; the others lose two or three
SPREAD_MM = (0.5, 6.0)  # range of the distance over which two or three slices are spread
EVENNESS = 3.0  # concentration of the Dirichlet distribution of the slices' widths
# Share with narrower squares to the right of the slip, and by how much.
SHRINK_SHARE, SHRINK = 0.8, (0.01, 0.03)
WIGGLE_SHARE, WIGGLE_COLUMNS = 0.5, (27.0, 35.0)  # share with a wiggle, and range of its grid column
WIGGLE_MM = (0.1, 0.4)  # range of its amplitude
WIGGLE_SQUARES = (0.4, 1.2)  # range of the standard deviation of its Gaussian shape
KNOT_SQUARES = 0.05  # distance between the points at which the feed is given
EXTENT_SQUARES = 20.0  # distance to either side of the page up to which the feed is given


@dataclass(frozen=True)
class Feed:
    """Where columns of the paper lie on a scan.

    paper: (n,) grid columns of the paper, not decreasing.
    scanned: (n,) their positions on a scan, in squares of its steady part, not decreasing.
    starts, lost: (k,) beginnings and widths of the lost slices, in grid columns of the paper.
    """

    paper: np.ndarray
    scanned: np.ndarray
    starts: np.ndarray
    lost: np.ndarray


def draw_feed(rng: np.random.Generator, slips: bool | None = None) -> Feed | None:
    """A random feed, None for a steady one; `slips`, if not None, decides whether it slips.

    It takes a single random number from `rng`, so that a page is otherwise the same with and without a slip.
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
    """Beginnings and widths of the lost slices on the paper: two (k,) arrays in squares; none overlap."""
    usual = rng.random() < USUAL_SHARE
    first = rng.uniform(*(USUAL_COLUMNS if usual else ANY_COLUMNS))
    count = 1 if rng.random() < ONE_SLICE_SHARE else int(rng.integers(2, 4))
    lost = rng.uniform(*LOST_MM) / SQUARE_MM * rng.dirichlet(np.full(count, EVENNESS))
    spread = rng.uniform(*SPREAD_MM) / SQUARE_MM
    starts = first + np.append(0.0, np.sort(rng.uniform(0, spread, count - 1)))
    return starts + np.append(0.0, np.cumsum(lost[:-1])), lost


def first_column(page: Page) -> float:
    """The distance of grid column 0 from the paper's left edge, in squares."""
    return float(page.gridpoint_xy[0, 0, 0]) / SQUARE_PX


def feed_on_scan(feed: Feed, warp: Warp, page: Page) -> tuple[np.ndarray, np.ndarray]:
    """The feed as `Warp.feed`: two (n,) arrays in px of the scan, along the middle row of the grid."""
    points = np.array([[first_column(page), 0.0], [first_column(page) + 1, 0.0]]) * SQUARE_PX
    points[:, 1] = page.gridpoint_xy[int(MIDDLE_ROW), 0, 1]
    (begin, _), (next_begin, _) = warp.to_capture(points)
    width = next_begin - begin
    return begin + feed.paper * width, begin + feed.scanned * width


def lost_slices(feed: Feed, warp: Warp, page: Page) -> Slip:
    """The lost slices as labels, in grid columns of the page; their slant is that of the scanner's sensor."""
    steady, _ = warp.feed or (np.zeros(1), np.zeros(1))
    x = np.interp(feed.starts, feed.paper, steady)
    rows = page.gridpoint_xy[[0, -1], 0, 1]
    edges = warp.to_capture(np.stack([np.full(2, page.gridpoint_xy[0, 20, 0]), rows], axis=1))[:, 1]
    ends = np.array([[[slice_x, y] for y in edges] for slice_x in x])
    columns = warp.steady_to_page(ends)[..., 0] / SQUARE_PX - first_column(page)
    slant = (columns[:, 1] - columns[:, 0]).mean() / (GRID_ROWS - 1)
    return Slip(columns.mean(axis=1), feed.lost, float(slant))
