"""The grid of any paper, found from the paper alone (digitization/geometry/paper.py).

    python benchmarks/paper_grid.py --records RECORDS --count 2      # drawn pages of all layouts, with truth
    python benchmarks/paper_grid.py --images FOLDER                  # images without truth

Drawn pages come from held-out records; the table has for each layout, as scans and as photos, the pages,
the share found at the right scale, the median error of its points in px of a 200 dpi page, and the share
of the visible crossings that the grid covers. For images it has the grid's rows and columns, px per
square, how many of its points were seen, their mean probability, and the seconds taken.
"""

import argparse
import sys
import time
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.layouts import find_layout
from configs.page import PAGE_PX_PER_MM, SQUARE_MM
from digitization.geometry.locate import PageNotFound
from digitization.geometry.paper import PaperGrid, find_paper
from models.checkpoint import checkpoint_path, load_network
from synthesis.layouts.capture import LayoutCapture, capture_layout
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import find_records, is_heldout, read_record
from utils.command import positive_int, run_main
from utils.device import limit_threads
from utils.images import IMAGE_SUFFIXES, read_rgb

LAYOUTS = ("3x4", "3x4+II", "3x4+V1+II+V5", "6x2", "6x2+II", "12x1", "6x1-limb", "6x1-chest", "cabrera-12x1")
SCANS, PHOTOS = ("0001", "0003", "0004", "0011", "0012"), ("0005", "0006", "0009", "0010")
SCALE_TOLERANCE = 0.1  # share by which the side of a square may be wrong
COVERED = 0.2  # squares between a true crossing and the nearest point of the grid


def compare(grid: PaperGrid, truth: LayoutCapture) -> tuple[bool, float, float]:
    """Whether the scale is right, the median error in px of a 200 dpi page, and the share covered."""
    height, width = truth.image.shape[:2]
    square = float(np.median(np.linalg.norm(np.diff(truth.gridpoint_xy, axis=1), axis=-1)))
    visible = ((truth.gridpoint_xy > 0) & (truth.gridpoint_xy < (width - 1, height - 1))).all(axis=-1)
    distance = cKDTree(grid.gridpoint_xy.reshape(-1, 2)).query(truth.gridpoint_xy[visible])[0] / square
    covered = distance < COVERED
    error = float(np.median(distance[covered])) if covered.any() else np.nan
    right = abs(grid.px_per_square / square - 1) < SCALE_TOLERANCE
    return right, error * SQUARE_MM * PAGE_PX_PER_MM, float(covered.mean())


def measure_drawn(records: Path, count: int, seed: int, net) -> pd.DataFrame:
    paths = [path for path in find_records(records) if is_heldout(path.stem)][:count]
    rows = []
    for number, name in enumerate(LAYOUTS):
        for kind, types in (("scans", cycle(SCANS)), ("photos", cycle(PHOTOS))):
            for index, path in enumerate(paths):
                rng = np.random.default_rng([seed, number, index, len(kind)])
                page = draw_layout_page(read_record(path), find_layout(name), rng)
                for _ in range((number + index) % 3):
                    next(types)  # so that the layouts are seen as different types
                capture = capture_layout(page, next(types), rng, orientation=0)
                try:
                    right, error, covered = compare(find_paper(capture.image, net), capture)
                except PageNotFound:
                    right, error, covered = False, np.nan, 0.0
                rows.append((name, kind, right, error, covered))
    table = pd.DataFrame(rows, columns=["layout", "kind", "found", "error px", "covered"])
    found = table.groupby(["layout", "kind"], sort=False)
    return pd.DataFrame(
        {
            "pages": found.size(),
            "found %": 100 * found["found"].mean(),
            "error px": found["error px"].median(),
            "covered %": 100 * found["covered"].mean(),
        }
    )


def measure_images(folder: Path, net) -> pd.DataFrame:
    rows = []
    for path in sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES):
        image, started = read_rgb(path), time.monotonic()
        row: dict[str, object] = {"image": path.name}
        try:
            grid = find_paper(image, net)
            size = "{} x {}".format(*grid.seen.shape)
            row |= {"grid": size, "px": grid.px_per_square, "seen %": 100 * grid.seen.mean()}
            row |= {"probability": grid.probability, "share": grid.share}
        except PageNotFound as error:
            row["grid"] = str(error)
        rows.append(row | {"s": time.monotonic() - started})
    return pd.DataFrame(rows).set_index("image")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--records", type=Path, help="folder with WFDB records of which pages are drawn")
    source.add_argument("--images", type=Path, help="folder with images")
    parser.add_argument(
        "--count", type=positive_int, default=2, help="records drawn in each layout and kind (default: 2)"
    )
    parser.add_argument("--seed", type=int, default=2101, help="seed of the drawn pages (default: 2101)")
    args = parser.parse_args()
    limit_threads(1)
    net = load_network(checkpoint_path(1), 1).eval()
    table = (
        measure_images(args.images, net)
        if args.images
        else measure_drawn(args.records, args.count, args.seed, net)
    )
    print(table.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
