"""Widths of a page's squares relative to their median, in mm, and the slip found: a check of slip detection.

    python benchmarks/square_widths.py IMAGES...

The table has two rows for each image: "lattice", the lattice as found, which includes a slip if one was
detected, and "lines", the same corrected by the residual of each vertical line on the rectified page. Where
no slip was detected the lattice is smooth, and only the lines would show one. Each column is the square to
the right of that grid line.

--strips treats the images as rows cut out of a page, in which stage 0 finds no page: their vertical lines are
tracked from the left edge and the first counts as column 0, so the column numbers may be off by one.
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

MIN_SQUARES, MAX_SQUARES = 45, 70  # limits of the number of squares across a strip
FOLLOW_SQUARES = 0.2  # search range around the expected position of a strip's next line, squares
FOLLOW_SHARE = 0.5  # share of a line's deviation from it that is carried over to the next
STRIP_DEGREE = 5  # degree of the polynomial through a strip's lines that models its sheet


def widths(lines: np.ndarray) -> np.ndarray:
    """The widths (56,) mm of the squares between grid lines at (57,), minus the median width."""
    squares = np.diff(lines)
    return (squares / np.median(squares[FIRST:LAST]) - 1) * SQUARE_MM


def measure_page(image: np.ndarray, straightener: Straightener) -> tuple[dict[str, np.ndarray], str]:
    """The table's rows for a whole page, and a description of its slip. Raises PageNotFound."""
    page = straightener.straighten(image)
    _, residual = locate_lines(
        line_profiles(cv2.cvtColor(page.rect, cv2.COLOR_RGB2GRAY), RECTIFIED).mean(axis=0)
    )
    lattice, _ = sheet_columns(page.gridpoint_xy, page.homography)
    return {"lattice": widths(lattice), "lines": widths(lattice + residual)}, str(page.slip or "none")


def follow_lines(dark: np.ndarray) -> np.ndarray:
    """The positions (57,) px of a strip's vertical lines, from the darkness (W,) of its columns.

    Lines beyond its right edge are extrapolated.
    """
    rough = dark - cv2.blur(dark[None], (len(dark) // MAX_SQUARES | 1, 1))[0]
    periods = np.arange(len(dark) / MAX_SQUARES, len(dark) / MIN_SQUARES, 0.02)
    waves = np.exp(2j * np.pi * np.arange(len(dark)) / periods[:, None]) @ rough
    best = np.abs(waves).argmax()
    period = periods[best]
    lines = [float(np.angle(waves[best]) / (2 * np.pi) % 1 * period)]
    fine = np.linspace(-FOLLOW_SQUARES, FOLLOW_SQUARES, 41) * period
    smooth = cv2.GaussianBlur(dark[None], (0, 0), period / 20)[0]
    while len(lines) < GRID_COLUMNS:
        expected = lines[-1] + period
        profile = np.interp(expected + fine, np.arange(len(dark)), smooth)
        found = fine[profile.argmax()] if expected + fine[-1] < len(dark) else 0.0
        lines.append(expected + FOLLOW_SHARE * found)
    return np.array(lines)


def measure_strip(image: np.ndarray) -> tuple[dict[str, np.ndarray], str]:
    """The table's rows for an image of rows of a page that are horizontal in it."""
    dark = 255 - cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean(axis=0, dtype=np.float32)
    columns = np.arange(GRID_COLUMNS)
    sheet = np.polynomial.Polynomial.fit(columns, follow_lines(dark), STRIP_DEGREE)
    x = sheet(np.arange(SAMPLES * (GRID_COLUMNS - 1)) / SAMPLES - 0.5)
    squares = np.interp(x, np.arange(len(dark)), dark).reshape(GRID_COLUMNS - 1, SAMPLES)
    _, residual = locate_lines(normalize_squares(squares))
    return {"lattice": widths(sheet(columns)), "lines": widths(sheet(columns + residual))}, "not searched"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("images", type=Path, nargs="+", help="photos or scans of pages")
    parser.add_argument("--strips", action="store_true", help="the images are rows cut out of pages")
    parser.add_argument(
        "--first", type=int, default=40, help="first grid column printed (default: %(default)s)"
    )
    parser.add_argument(
        "--last", type=int, default=52, help="last grid column printed (default: %(default)s)"
    )
    parser.add_argument("--threads", type=positive_int, help="torch threads on the CPU")
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
