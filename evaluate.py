"""Score predictions against the truth: python evaluate.py DATA [--output OUT] [--types ...].

DATA is a competition-shaped folder (train/<id>/<id>.csv and <id>-<type>.png), or a folder that holds
<name>.png beside <name>.csv. Pages are digitized and scored; the table says how many were found, the
median grid-point error where labels say where the grid is, and the competition's score.
"""

import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from tqdm import tqdm

from configs.page import DURATION_S, PAGE_PX_PER_MM, SQUARE_MM
from datasets.competition import list_images, read_record, record_path
from predict import CHECKPOINTS, Digitizer, find_images
from utils.command import count, run
from utils.device import limit_threads
from utils.images import read_rgb
from utils.kaggle_metric import image_snr, to_db
from utils.upright import unturn_points
from utils.workers import map_unordered

GROSS_ERROR = 3.0  # px of a 200 dpi page, median over a page's grid points
WORST_SHARE = 0.05  # of the pages, by page score


@dataclass(frozen=True)
class Page:
    image_id: str
    type: str
    path: Path
    truth: Path


def find_pages(data: Path) -> list[Page]:
    """The pages of a folder with their truth."""
    if (data / "train").is_dir():
        return [
            Page(image.image_id, image.type, image.path, record_path(data, image.record))
            for image in list_images(data).itertuples()
        ]
    paths = [path for path in find_images(data) if path.with_suffix(".csv").exists()]
    if not paths:
        raise ValueError(f"{data}: neither train/ nor images beside their .csv")
    return [Page(path.stem, data.name, path, path.with_suffix(".csv")) for path in paths]


def read_truth(path: Path) -> tuple[np.ndarray, int]:
    """The true signals (12, 10 * fs) mV and fs; ValueError when they are not ten whole seconds."""
    truth = read_record(path)
    fs = truth.shape[1] // int(DURATION_S)
    if fs < 1 or truth.shape[1] != fs * DURATION_S:
        raise ValueError(f"{path}: {truth.shape[1]} samples are not ten seconds")
    return truth, fs


def read_labels(path: Path) -> tuple[np.ndarray, int]:
    """The grid (44, 57, 2) px of the image and its orientation, as synthesize.py writes them."""
    try:
        with np.load(path) as labels:
            return labels["gridpoint_xy"], int(labels["orientation"])
    except (OSError, KeyError, ValueError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path}: no labels of synthesize.py ({type(error).__name__})") from None


def grid_errors(
    gridpoint_xy: np.ndarray, truth: np.ndarray, orientation: int, shape: tuple[int, int]
) -> np.ndarray:
    """Distances of the visible grid points from the truth, in px of a 200 dpi page.

    gridpoint_xy (44, 57, 2) in px of the unturned image; the truth is in px of the image of `shape`.
    """
    height, width = shape
    visible = ((truth >= 0) & (truth <= (width - 1, height - 1))).all(axis=-1)
    truth = unturn_points(truth.reshape(-1, 2), orientation, shape).reshape(truth.shape)
    square = np.linalg.norm(np.diff(truth, axis=1), axis=-1).mean()
    distance = np.linalg.norm(gridpoint_xy - truth, axis=-1)[visible]
    return distance * (SQUARE_MM * PAGE_PX_PER_MM / square)


in_worker: dict = {}


def start_worker(threads: int | None, *arguments) -> None:
    limit_threads(threads)
    in_worker["digitizer"] = Digitizer(*arguments)


def score_page(page: Page) -> dict | str:
    """A page's row: found, ratio (linear, capped), grid errors in px at 200 dpi, seconds, reason.

    The reason alone when there is nothing to score it by.
    """
    row = {"image_id": page.image_id, "type": page.type, "found": True, "reason": ""}
    started = time.monotonic()
    try:
        truth, fs = read_truth(page.truth)
        image = read_rgb(page.path)
        labels = page.path.with_name(f"{page.path.stem}.labels.npz")
        grid = read_labels(labels) if labels.exists() else None
    except ValueError as error:
        return str(error)
    try:
        result = in_worker["digitizer"](image, fs)
    except ValueError as error:
        row |= {"found": False, "ratio": 0.0, "reason": str(error)}
    else:
        row["ratio"] = image_snr(truth, result.leads, fs)
        row["page_score"] = result.straightened.page_score
        if grid:
            errors = grid_errors(result.straightened.gridpoint_xy, *grid, image.shape[:2])
            row |= {"grid_median": np.median(errors), "grid_p95": np.percentile(errors, 95)}
    return row | {"seconds": time.monotonic() - started}


def evaluate(pages: list[Page], workers: int, threads: int | None, *digitizer) -> pd.DataFrame:
    """Rows of score_page for all pages that can be scored, by a Digitizer(*digitizer) in each worker."""
    outcomes = map_unordered(score_page, pages, workers, start_worker, (threads, *digitizer))
    rows = []
    for page, row in tqdm(outcomes, total=len(pages), unit="page", disable=None):
        if isinstance(row, dict):
            rows.append(row)
        else:
            print(f"warning: not scored: {page.path}: {row}", file=sys.stderr)
    return pd.DataFrame(rows).sort_values("image_id") if rows else pd.DataFrame()


def summarize(results: pd.DataFrame) -> pd.DataFrame:
    """By type and in all: pages, share found, grid error, score in dB, the median page's dB, seconds.

    `right %`: found, with a median grid error of at most GROSS_ERROR px. The score is the competition's, the
    mean of the pages' linear ratios in dB, which the best pages weigh on most.
    """

    def summary(group: pd.DataFrame) -> pd.Series:
        values = {"pages": len(group), "found %": 100 * group["found"].mean()}
        if "grid_median" in group:
            right = group["grid_median"] <= GROSS_ERROR
            values["right %"] = 100 * right.mean()
            values["grid px"] = group["grid_median"].median()
            values["grid p95"] = group["grid_p95"].median()
        values |= {"score dB": to_db(group["ratio"].mean()), "median dB": to_db(group["ratio"].median())}
        return pd.Series(values | {"s / page": group["seconds"].median()})

    table = pd.DataFrame({name: summary(group) for name, group in results.groupby("type")}).T
    return pd.concat([table, summary(results).to_frame("all").T])


def rank_failures(results: pd.DataFrame) -> str:
    """How many pages with a gross grid error, or not found, the page score puts among its worst, as a line.

    results has a row a page: found, page_score and grid_median, NaN where it was not found.
    """
    bad = ~results["found"] | (results["grid_median"] > GROSS_ERROR)
    if not bad.any():
        return f"every page was found, none more than {GROSS_ERROR:g} px off"
    worst = results["page_score"].fillna(0).rank(method="first") <= np.ceil(WORST_SHARE * len(results))
    return (
        f"not found or more than {GROSS_ERROR:g} px off: {bad.sum()}, of these among the worst "
        f"{WORST_SHARE:.0%} by page score: {(bad & worst).sum()}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--output", type=Path, help="folder for pages.csv, one row a page")
    parser.add_argument("--types", nargs="+", help="image types (default: all there are)")
    parser.add_argument(
        "--checkpoints", type=Path, default=CHECKPOINTS, help="folder of stage0.pt ... stage2.pt"
    )
    parser.add_argument(
        "--stage2", "--weights", type=Path, nargs="+", help="several are averaged (default: the folder's)"
    )
    parser.add_argument("--tta", action="store_true", help="read the mirrored page too, and average")
    parser.add_argument("--device")
    parser.add_argument("--workers", type=count, default=1, help="processes (default 1)")
    parser.add_argument(
        "--threads", type=int, help="torch threads (default: all of one worker, 1 of several)"
    )
    args = parser.parse_args()
    pages = find_pages(args.data)
    if args.types:
        pages = [page for page in pages if page.type in args.types]
    if not pages:
        raise ValueError(f"{args.data}: no pages of type {', '.join(args.types)}")
    stages = [args.checkpoints / f"stage{n}.pt" for n in range(3)]
    stages[2] = args.stage2 or stages[2]
    limit_threads(args.threads)
    Digitizer(*stages, args.device, args.tta)  # a bad checkpoint stops the run, not each worker
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
    threads = args.threads or (1 if args.workers > 1 else None)
    results = evaluate(pages, args.workers, threads, *stages, args.device, args.tta)
    if not len(results):
        raise ValueError(f"{args.data}: no page could be scored")
    if args.output:
        results.to_csv(args.output / "pages.csv", index=False)
    table = summarize(results).astype({"pages": int})
    print(table.to_string(float_format="{:.2f}".format))
    if "grid_median" in results:
        print(rank_failures(results))


if __name__ == "__main__":
    run(main)
