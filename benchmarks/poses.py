"""Accuracy of pages and grids found in synthetic photos of held-out records, by camera pose.

    python benchmarks/poses.py RECORDS

The table has a row for each pose and the columns
  pages, right %     number of pages, share found with a median grid error of at most 3 px
  grid px, grid p95  medians over pages of the median and the 95th percentile of a page's grid errors
                     (px of a 200 dpi page)
  wrong              number of pages not found, or found with a greater error
  told               number of these whose page score is below predict.py's limit, which reports them
  lowest score       lowest page score
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.stage0 import ORIENTATIONS
from datasets.labels import grid_errors
from digitization.geometry.locate import PageNotFound
from digitization.geometry.straighten import MIN_PAGE_SCORE, Straightener
from evaluate import GROSS_ERROR
from models.checkpoint import CHECKPOINTS, load_network
from synthesis import Pose, Record, synthesize
from synthesis.signals import find_records, is_heldout, read_record
from utils.command import positive_int, run_main
from utils.device import choose_device, limit_threads

PHOTO = (2592, 1944)  # width and height of most photos, px


def tilted(degrees: float, rng: np.random.Generator) -> Pose:
    """A pose whose view deviates from the page's normal by `degrees` in a random direction."""
    angle = rng.uniform(0, 2 * np.pi)
    yaw, pitch = np.deg2rad(degrees) * np.array([np.cos(angle), np.sin(angle)])
    return Pose(PHOTO, yaw, pitch, np.deg2rad(rng.normal(0, 2)), rng.uniform(1.2, 2.2))


def poses(rng: np.random.Generator) -> Iterator[tuple[str, dict]]:
    """Names of the poses and their arguments of `synthesize`."""
    plain = tilted(6, rng)
    for orientation in range(ORIENTATIONS):
        yield f"orientation {orientation}", {"pose": plain, "orientation": orientation}
    for share in (0.35, 0.5, 0.7, 1.0, 1.12):
        place = tuple(rng.uniform(0.1, 0.9, 2)) if share < 1 else (0.5, 0.5)
        yield f"share {share:.0%}", {"pose": replace(plain, share=share, place=place)}
    for degrees in (10, 20, 30):
        yield f"tilt {degrees}", {"pose": tilted(degrees, rng)}
    for width in (700, 1000, 1600, 4032, 6000):
        yield f"width {width}", {"pose": replace(plain, size=(width, width * 3 // 4))}
    yield "second sheet", {"pose": replace(plain, share=0.7), "second_sheet": True}


def measure(straightener: Straightener, record: Record, options: dict, rng: np.random.Generator) -> dict:
    """Median and 95th percentile of one page's grid errors (NaN if it is not found), and its page score."""
    taken = synthesize(record, "0005", rng, **{"orientation": 0, "second_sheet": False} | options)
    try:
        page = straightener.straighten(taken.image)
    except PageNotFound as error:
        return {"median": np.nan, "p95": np.nan, "score": 0.0, "reason": str(error)}
    errors = grid_errors(page.gridpoint_xy, taken.gridpoint_xy, taken.orientation, taken.image.shape[:2])
    median, p95 = np.percentile(errors, [50, 95])
    return {"median": median, "p95": p95, "score": page.page_score, "reason": ""}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="folder with WFDB records (*.hea)")
    parser.add_argument(
        "--count", type=positive_int, default=10, help="pages of each pose (default: %(default)s)"
    )
    parser.add_argument("--only", default="", help="only poses whose name contains this text")
    parser.add_argument("--seed", type=int, default=0, help="seed of the photos (default: %(default)s)")
    parser.add_argument(
        "--checkpoints", type=Path, default=CHECKPOINTS, help="folder with stage0.pt and stage1.pt"
    )
    parser.add_argument("--device", help="default: CUDA if available, else cpu")
    parser.add_argument("--threads", type=positive_int, help="torch threads on the CPU")
    parser.add_argument("--pages", action="store_true", help="also print a line for each page")
    args = parser.parse_args()
    limit_threads(args.threads)
    records = [path for path in find_records(args.records) if is_heldout(path.stem)]
    if not records:
        parser.error(f"{args.records}: no held-out records")
    device = choose_device(args.device)
    stage0, stage1 = (load_network(args.checkpoints / f"stage{n}.pt", n, device) for n in (0, 1))
    straightener = Straightener(stage0, stage1, device)
    rows = []
    for index in range(args.count):
        rng = np.random.default_rng([args.seed, index])
        for number, (name, options) in enumerate(poses(rng)):
            if args.only not in name:
                continue
            record = read_record(records[(index + number * args.count) % len(records)])
            row = {"pose": name} | measure(straightener, record, options, rng.spawn(1)[0])
            rows.append(row)
            if args.pages:
                print(*row.values(), sep="  ", file=sys.stderr)
    table = pd.DataFrame(rows)
    table["bad"] = ~(table["median"] <= GROSS_ERROR)
    table["told"] = table["bad"] & (table["score"] < MIN_PAGE_SCORE)
    groups = table.groupby("pose", sort=False)
    summary = pd.DataFrame(
        {
            "pages": groups.size(),
            "right %": 100 * (1 - groups["bad"].mean()),
            "grid px": groups["median"].median(),
            "grid p95": groups["p95"].median(),
            "wrong": groups["bad"].sum(),
            "told": groups["told"].sum(),
            "lowest score": groups["score"].min(),
        }
    )
    print(summary.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
