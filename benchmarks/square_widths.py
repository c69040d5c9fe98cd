"""Print how much wider or narrower than a page's median square its squares are, in mm, and the slip found.

For each image two rows: "lattice", the lattice as it was found, which heeds a slip where one is seen, and
"lines", the same moved by what is left of each vertical line's distance from its place on the rectified page;
where no slip is seen the lattice is smooth and the lines alone show it. A column of the table is the square
right of that grid line.

--strips takes the pictures for rows cut out of a page, which stage 0 cannot find: their vertical lines are
followed from the left edge, the first is taken for column 0, and the numbers may be off by one.
"""

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.page import GRID_COLUMNS, RECTIFIED, SQUARE_MM
from digitization.geometry.line_profiles import (
    FIRST,
    LAST,
    SAMPLES,
    line_profiles,
    locate_lines,
    normalize_squares,
)
from digitization.geometry.locate import PageNotFound
from digitization.geometry.straighten import Straightener, sheet_columns
from models.checkpoint import checkpoint_path, load_network
from utils.command import positive_int, run_main
from utils.device import limit_threads
from utils.images import read_rgb

LEAST_SQUARES, MOST_SQUARES = 45, 70  # across a strip
FOLLOW_SQUARES = 0.2  # from the expected place, in which the next line of a strip is looked for
FOLLOW_SHARE = 0.5  # of its distance from there that the expectation takes over
STRIP_DEGREE = 5  # of the polynomial through a strip's lines that stands for its sheet


def widths(places: np.ndarray) -> np.ndarray:
    """The squares between columns at (57,), against the median square: (56,) mm, 0 for a usual one."""
    squares = np.diff(places)
    return (squares / np.median(squares[FIRST:LAST]) - 1) * SQUARE_MM


def measure_page(image: np.ndarray, straightener: Straightener) -> tuple[dict[str, np.ndarray], str]:
    """Rows of the table for a whole page, and its slip in words. Raises PageNotFound."""
    page = straightener.straighten(image)
    _, left = locate_lines(line_profiles(cv2.cvtColor(page.rect, cv2.COLOR_RGB2GRAY), RECTIFIED).mean(axis=0))
    lattice, _ = sheet_columns(page.gridpoint_xy, page.homography)
    return {"lattice": widths(lattice), "lines": widths(lattice + left)}, str(page.slip or "none")


def follow_lines(dark: np.ndarray) -> np.ndarray:
    """Where the vertical lines of a strip lie, by the darkness (W,) of its columns: (57,) px.

    Those that lie beyond its right edge are extrapolated.
    """
    rough = dark - cv2.blur(dark[None], (len(dark) // MOST_SQUARES | 1, 1))[0]
    periods = np.arange(len(dark) / MOST_SQUARES, len(dark) / LEAST_SQUARES, 0.02)
    waves = np.exp(2j * np.pi * np.arange(len(dark)) / periods[:, None]) @ rough
    best = np.abs(waves).argmax()
    period = periods[best]
    lines = [float(np.angle(waves[best]) / (2 * np.pi) % 1 * period)]
    fine = np.linspace(-FOLLOW_SQUARES, FOLLOW_SQUARES, 41) * period
    smooth = cv2.GaussianBlur(dark[None], (0, 0), period / 20)[0]
    while len(lines) < GRID_COLUMNS:
        expected = lines[-1] + period
        seen = np.interp(expected + fine, np.arange(len(dark)), smooth)
        found = fine[seen.argmax()] if expected + fine[-1] < len(dark) else 0.0
        lines.append(expected + FOLLOW_SHARE * found)
    return np.array(lines)


def measure_strip(image: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    """Rows of the table for rows of a page that lie straight in the picture."""
    dark = 255 - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean(axis=0, dtype=np.float32)
    columns = np.arange(GRID_COLUMNS)
    sheet = np.polynomial.Polynomial.fit(columns, follow_lines(dark), STRIP_DEGREE)
    places = sheet(np.arange(SAMPLES * (GRID_COLUMNS - 1)) / SAMPLES - 0.5)
    squares = np.interp(places, np.arange(len(dark)), dark).reshape(GRID_COLUMNS - 1, SAMPLES)
    _, left = locate_lines(normalize_squares(squares))
    return {"lattice": widths(sheet(columns)), "lines": widths(sheet(columns + left))}, "not looked for"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, nargs="+", help="photos or scans of pages")
    parser.add_argument("--strips", action="store_true", help="the images are rows cut out of pages")
    parser.add_argument("--first", type=int, default=40, help="grid column (default: %(default)s)")
    parser.add_argument("--last", type=int, default=52, help="grid column (default: %(default)s)")
    parser.add_argument("--threads", type=positive_int, help="torch threads")
    args = parser.parse_args()
    limit_threads(args.threads)
    straightener = Straightener(load_network(checkpoint_path(0), 0), load_network(checkpoint_path(1), 1))
    shown = range(max(args.first, FIRST), min(args.last, LAST - 1) + 1)
    rows: dict[tuple[str, str], np.ndarray] = {}
    for path in args.images:
        image = read_rgb(path)
        try:
            found, slip = measure_strip(image) if args.strips else measure_page(image, straightener)
        except PageNotFound as error:
            print(f"{path.name}: {error}", file=sys.stderr)
            continue
        print(f"{path.name}: slip {slip}")
        rows |= {(path.name, kind): values[list(shown)] for kind, values in found.items()}
    if rows:
        print(pd.DataFrame(rows, index=shown).T.to_string(float_format="{:+.2f}".format))


if __name__ == "__main__":
    run_main(main)
