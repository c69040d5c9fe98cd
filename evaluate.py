"""Score predictions against the truth: python evaluate.py DATA [--output OUT] [--types ...].

DATA is a competition-shaped folder (train/<id>/<id>.csv and <id>-<type>.png), or a folder that holds
<name>.png beside <name>.csv. Pages are digitized and scored; the table says how many were found, the
median grid-point error where labels say where the grid is, and the competition's score.
"""

import argparse
import sys
import time
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import pandas as pd
from tqdm import tqdm

from configs.page import DURATION_S, PAGE_PX_PER_MM, SQUARE_MM
from datasets.competition import list_images, read_record, record_path
from predict import CHECKPOINTS, Digitizer, find_images
from utils.device import limit_threads
from utils.images import read_rgb
from utils.kaggle_metric import image_snr, to_db
from utils.upright import unturn_points

GROSS_ERROR = 3.0  # px of a 200 dpi page, median over a page's grid points
WORST_SHARE = 0.05  # of the pages, by page score


def find_pages(data: Path) -> pd.DataFrame:
    """The pages of a folder with their truth: columns image_id, type, path, truth."""
    if (data / "train").is_dir():
        table = list_images(data)
        return table.assign(truth=[record_path(data, record) for record in table["record"]])
    paths = [path for path in find_images(data) if path.with_suffix(".csv").exists()]
    if not paths:
        raise ValueError(f"{data}: neither train/ nor images beside their .csv")
    rows = [(path.stem, data.name, path, path.with_suffix(".csv")) for path in paths]
    return pd.DataFrame(rows, columns=["image_id", "type", "path", "truth"])


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


def evaluate(digitizer: Digitizer, pages: pd.DataFrame) -> pd.DataFrame:
    """One row a page: found, ratio (linear, capped), grid errors in px at 200 dpi, seconds, reason."""
    rows = []
    for page in tqdm(pages.itertuples(), total=len(pages), unit="page", disable=None):
        row = {"image_id": page.image_id, "type": page.type, "found": True, "reason": ""}
        started = time.monotonic()
        try:
            truth, fs = read_truth(page.truth)
            image = read_rgb(page.path)
            labels = page.path.with_name(f"{page.path.stem}.labels.npz")
            grid = read_labels(labels) if labels.exists() else None
        except ValueError as error:
            print(f"warning: not scored: {error}", file=sys.stderr)
            continue
        try:
            result = digitizer(image, fs)
        except ValueError as error:
            row |= {"found": False, "ratio": 0.0, "reason": str(error)}
        else:
            row["ratio"] = image_snr(truth, result.leads, fs)
            row["page_score"] = result.straightened.page_score
            if grid:
                errors = grid_errors(result.straightened.gridpoint_xy, *grid, image.shape[:2])
                row |= {"grid_median": np.median(errors), "grid_p95": np.percentile(errors, 95)}
        row["seconds"] = time.monotonic() - started
        rows.append(row)
    return pd.DataFrame(rows)


def summarize(results: pd.DataFrame) -> pd.DataFrame:
    """By type and in all: pages, share found, grid error, score in dB, the median page's dB, seconds."""

    def summary(group: pd.DataFrame) -> pd.Series:
        values = {"pages": len(group), "found %": 100 * group["found"].mean()}
        if "grid_median" in group:
            values |= {"grid px": group["grid_median"].median(), "grid p95": group["grid_p95"].median()}
        values |= {"score dB": to_db(group["ratio"].mean()), "median dB": to_db(group["ratio"].median())}
        return pd.Series(values | {"s / page": group["seconds"].median()})

    table = pd.DataFrame({name: summary(group) for name, group in results.groupby("type")}).T
    return pd.concat([table, summary(results).to_frame("all").T])


def rank_failures(results: pd.DataFrame) -> str:
    """How many pages with a gross grid error, or not found, the page score puts among its worst, as a line.

    results has a row a page: found, page_score and grid_median, NaN where it was not found.
    """
    bad = ~results["found"] | (results["grid_median"] > GROSS_ERROR)
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
    parser.add_argument("--device")
    parser.add_argument("--threads", type=int)
    args = parser.parse_args()
    limit_threads(args.threads)
    pages = find_pages(args.data)
    if args.types:
        pages = pages[pages["type"].isin(args.types)]
    if not len(pages):
        raise ValueError(f"{args.data}: no pages of type {', '.join(args.types)}")
    digitizer = Digitizer(*(args.checkpoints / f"stage{n}.pt" for n in range(3)), device=args.device)
    if args.output:
        args.output.mkdir(parents=True, exist_ok=True)
    results = evaluate(digitizer, pages)
    if not len(results):
        raise ValueError(f"{args.data}: no page could be scored")
    if args.output:
        results.to_csv(args.output / "pages.csv", index=False)
    print(summarize(results).to_string(float_format="{:.2f}".format))
    if "grid_median" in results:
        print(rank_failures(results))


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"evaluate.py: {error}")
