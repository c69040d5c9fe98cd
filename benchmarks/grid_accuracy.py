"""Accuracy of pages and grids found in folders of synthesize.py, and how well the page score predicts it.

    python benchmarks/grid_accuracy.py DATA...

The table has a row for each image type, pages with and without a calibration pulse (their signals start at
different squares of the paper) and all pages. Its columns are
  pages, found %       number of pages, share of pages found
  grid px, grid p95    medians over pages of the median and the 95th percentile of a page's grid errors
                       (px of a 200 dpi page)
  time error ms        median of the root-mean-square errors of grid points along the time axis
  worst px, gross      greatest median error of a page, pages whose median is above 3 px
  lowest score, doubtful  lowest page score, number of pages below predict.py's limit
  not square           pages whose squares were found not to be square

The last lines say how many pages above 3 px or not found are among the worst 5 % by score.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.competition import list_images
from datasets.labels import grid_errors, read_labels, time_error
from digitization.geometry import straighten
from digitization.geometry.locate import PageNotFound
from digitization.geometry.straighten import MIN_PAGE_SCORE, Straightener
from digitization.options import StraightenerOptions
from evaluate import GROSS_ERROR, rank_failures
from models.checkpoint import CHECKPOINTS
from utils.command import positive_int, run_main
from utils.device import use_one_thread
from utils.images import read_rgb
from utils.pool import Pool
from utils.workers import WorkerDied


@dataclass(frozen=True)
class GridOptions(StraightenerOptions):
    """The networks of a Straightener, which without `lines` leaves the lattice as stage 1 sees it."""

    lines: bool = True

    def build(self, nets: Sequence[nn.Module], device: torch.device, run: Callable) -> Straightener:
        if not self.lines:
            straighten.refine_columns = lambda gridpoint_xy, *_, **__: gridpoint_xy
        return super().build(nets, device, run)


@dataclass(frozen=True)
class Page:
    image_id: str
    type: str
    path: Path


def measure(straightener: Straightener, page: Page) -> dict:
    """Grid errors and page score of one page; a page that is not found has the score 0 and no errors."""
    labels = page.path.with_name(f"{page.path.stem}.labels.npz")
    truth, orientation = read_labels(labels)
    with np.load(labels) as file:
        row = {"image_id": page.image_id, "type": page.type, "pulse": bool(file["has_pulse"])}
    image = read_rgb(page.path)
    try:
        found = straightener.straighten(image)
    except PageNotFound as error:
        return row | {"found": False, "score": 0.0, "reason": str(error)}
    median, p95 = np.percentile(
        grid_errors(found.gridpoint_xy, truth, orientation, image.shape[:2]), [50, 95]
    )
    delay = time_error(found.gridpoint_xy, truth, orientation, image.shape[:2])
    facts = {"found": True, "score": found.page_score, "median": median, "p95": p95, "ms": delay}
    return row | facts | {"square": found.calibration.fits_paper} | found.score_parts


def summarize(group: pd.DataFrame) -> pd.Series:
    return pd.Series(
        {
            "pages": len(group),
            "found %": 100 * group["found"].mean(),
            "grid px": group["median"].median(),
            "grid p95": group["p95"].median(),
            "time error ms": group["ms"].median(),
            "worst px": group["median"].max(),
            "gross": (group["median"] > GROSS_ERROR).sum(),
            "lowest score": group["score"].min(),
            "doubtful": (group["score"] < MIN_PAGE_SCORE).sum(),
            "not square": (group["square"] == False).sum(),  # noqa: E712 (absent where not found)
        }
    )


def list_pages(folders: list[Path], types: list[str] | None) -> list[Page]:
    tables = pd.concat([list_images(data) for data in folders])
    if types:
        tables = tables[tables["type"].isin(types)]
        if tables.empty:
            raise ValueError(f"no images of the types {', '.join(types)}")
    return [Page(*row) for row in tables[["image_id", "type", "path"]].itertuples(index=False)]


def measure_all(pages: list[Page], workers: int, checkpoints: Path, lines: bool = True) -> pd.DataFrame:
    options = GridOptions(checkpoints / "stage0.pt", checkpoints / "stage1.pt", "cpu", lines=lines)
    use_one_thread()
    results = Pool(options, workers).map(measure, pages)
    rows = []
    for page, row in tqdm(results, total=len(pages), unit="page", disable=None):
        if isinstance(row, WorkerDied):
            raise ValueError(f"{page.path}: {row}")
        rows.append(row)
    return pd.DataFrame(rows).sort_values("image_id")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, nargs="+", help="folders with train/, made by synthesize.py")
    parser.add_argument("--types", nargs="+", help="image types (default: all)")
    parser.add_argument("--workers", type=positive_int, default=1, help="worker processes (default: 1)")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="folder with stageN.pt")
    parser.add_argument(
        "--without-lines",
        action="store_true",
        help="do not refine the grid columns of stage 1 by the printed grid lines",
    )
    parser.add_argument("--output", type=Path, help="CSV file to write, with a row for each page")
    args = parser.parse_args()
    rows = measure_all(
        list_pages(args.data, args.types), args.workers, args.checkpoints, not args.without_lines
    )
    if args.output:
        rows.to_csv(args.output, index=False)
    groups = {name: group for name, group in rows.groupby("type")}
    groups |= {"pulse": rows[rows["pulse"]], "no pulse": rows[~rows["pulse"]], "all": rows}
    table = pd.DataFrame({name: summarize(group) for name, group in groups.items()}).T
    print(table.to_string(float_format="{:.2f}".format))
    print(rank_failures(rows.rename(columns={"score": "page_score", "median": "grid_median"})))


if __name__ == "__main__":
    run_main(main)
