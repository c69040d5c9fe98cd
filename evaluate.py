"""Score predictions against the truth: python evaluate.py DATA [--output OUT] [--report] [--types ...].

DATA is a competition's folder (train/<id>/<id>.csv and <id>-<type>.png), its train/ folder, or one that holds
images beside their .csv. Pages are digitized and scored: tables by image type and by lead, and the worst
pages. OUT gets pages.csv, both tables, plots of them, and with --report the report of predict.py, truth
included.

The score of several pages is the competition's: the mean of their linear signal-to-noise ratios, in dB. A
page's ratio is capped at 25.84 dB; a page that is not found counts as a ratio of 0.

Exit code: 0 all pages scored, however badly; 1 some have no usable truth, or nothing could be done; 2 the
command was not understood.
"""

import argparse
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pandas as pd

from configs.page import FLAT_TYPES, LEADS, PHOTO_TYPES
from datasets.competition import DATA, check_data, list_images, read_folds, record_path
from datasets.labels import labels_path
from models.checkpoint import CHECKPOINTS, checkpoint_path
from prediction.arguments import COMPETITION_PAGE, add_digitizer_arguments, digitizer_options
from prediction.engine import Engine
from prediction.inputs import find_images, name_outputs
from prediction.plots import plot_by_lead, plot_by_type
from prediction.report import Report
from prediction.results import OutputOptions, Page, PageResult
from prediction.runs import digitize_pages
from prediction.table import page_journal
from utils.command import positive_int, run_main
from utils.files import folder_lock
from utils.kaggle_metric import to_db

GROSS_ERROR = 3.0  # px of a 200 dpi page, median over a page's grid points
WORST_SHARE = 0.05  # of the pages, by page score
WORST_LISTED = 10
REPORT_PAGES = 50


def find_pages(data: Path, fold: int | None = None) -> list[Page]:
    """The pages of a folder with their truth, and with the labels of synthesize.py where it made them.

    Only the records of one fold of train_folds.csv, if given.
    """
    if not (data / "train").is_dir() and data.name == "train" and any(data.glob("*/*.csv")):
        data = data.resolve().parent
    if (data / "train").is_dir():
        images = list_images(data)
        if fold is not None:
            folds = read_folds(data)
            images = images[images["record"].isin(folds["id"][folds["fold"] == fold])]
            if not len(images):
                raise ValueError(f"{data}: no images of fold {fold}")
        return [
            add_truth(image.path, image.image_id, record_path(data, image.record), image.type)
            for image in images.itertuples()
        ]
    if fold is not None:
        raise ValueError(f"{data}: no train/, so no folds")
    paths = [path for path in find_images(data) if path.with_suffix(".csv").exists()]
    if not paths:
        raise ValueError(f"{data}: neither train/ nor images beside their .csv")
    kind = data.resolve().name
    return [
        add_truth(path, name, path.with_suffix(".csv"), kind) for name, path in name_outputs(paths).items()
    ]


def add_truth(image: Path, name: str, truth: Path, image_type: str) -> Page:
    labels = labels_path(image)
    return Page(name, image, truth=truth, labels=labels if labels.exists() else None, type=image_type)


def tabulate(results: list[PageResult]) -> pd.DataFrame:
    """A row for each scored page, sorted: image_id, type, found, ratio, page_score, grid errors, seconds,
    leads.

    Ratios are linear; those of leads, in columns named after them, are not capped. Grid errors, px of a 200
    dpi page, only where there are labels.
    """
    rows = [
        {
            "image_id": result.page.name,
            "type": result.page.type,
            "found": result.page_score is not None,
            "ratio": result.ratio,
            "page_score": result.page_score,
            "grid_median": result.grid_median,
            "grid_p95": result.grid_p95,
            "seconds": result.seconds,
            "reason": "; ".join(result.warnings),
        }
        | dict(zip(LEADS, np.zeros(12) if result.lead_ratios is None else result.lead_ratios, strict=True))
        for result in results
        if result.ratio is not None
    ]
    if not rows:
        raise ValueError("no page could be scored")
    table = pd.DataFrame(rows).sort_values("image_id", ignore_index=True)
    numbers = ["page_score", "grid_median", "grid_p95"]
    table[numbers] = table[numbers].astype(float)
    if not any(result.page.labels for result in results):
        table = table.drop(columns=["grid_median", "grid_p95"])
    return table


def summarize(results: pd.DataFrame) -> pd.DataFrame:
    """By type, by kind and in all: pages, share found, grid error, score and the median page in dB, seconds.

    `within 3 px %`: found, with a median grid error of at most GROSS_ERROR. The score is the competition's:
    the mean of the pages' linear ratios in dB, which the best pages weigh on most.
    """

    def summary(group: pd.DataFrame) -> pd.Series:
        values = {"pages": len(group), "found %": 100 * group["found"].mean()}
        if "grid_median" in group:
            right = group["grid_median"] <= GROSS_ERROR
            values[f"within {GROSS_ERROR:g} px %"] = 100 * right.mean()
            values["grid px"] = group["grid_median"].median()
            values["grid p95"] = group["grid_p95"].median()
        values |= {"score dB": to_db(group["ratio"].mean()), "median dB": to_db(group["ratio"]).median()}
        return pd.Series(values | {"s / page": group["seconds"].median()})

    groups = dict(list(results.groupby("type")))
    for name, types in (("flat", FLAT_TYPES), ("photos", PHOTO_TYPES)):
        if len(set(types) & set(groups)) > 1:
            groups[name] = results[results["type"].isin(types)]
    groups["all"] = results
    return pd.DataFrame({name: summary(group) for name, group in groups.items()}).T


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


def by_lead(results: pd.DataFrame) -> pd.DataFrame:
    """The median page's dB of each lead by itself, by type and in all: a row a lead."""
    groups = [*results.groupby("type"), ("all", results)]
    return pd.DataFrame({name: to_db(group[list(LEADS)]).median() for name, group in groups})


def list_worst(results: pd.DataFrame) -> pd.DataFrame:
    """The pages with the lowest scores, as far as they are below the others: at most WORST_LISTED."""
    worst = results.nsmallest(min(WORST_LISTED, len(results)), "ratio").set_index("image_id")
    table = pd.DataFrame({"score dB": to_db(worst["ratio"]), "page score": worst["page_score"]})
    if "grid_median" in worst:
        table["grid px"] = worst["grid_median"]
    return table.assign(warnings=worst["reason"])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "data",
        type=Path,
        nargs="?",
        default=DATA,
        help="folder with train/, or with images beside their .csv (default: data)",
    )
    parser.add_argument("--output", type=Path, help="folder for pages.csv, tables and plots")
    parser.add_argument("--report", action="store_true", help="report.html too, with the truth in it")
    parser.add_argument(
        "--report-pages",
        type=positive_int,
        default=REPORT_PAGES,
        help="number of pages that the report shows in full, the worst first (default: %(default)s)",
    )
    parser.add_argument(
        "--types", nargs="+", help="image types to score, 0001 for instance (default: all that there are)"
    )
    parser.add_argument(
        "--fold",
        type=int,
        help="score the records of this fold of train_folds.csv only (default: all records)",
    )
    parser.add_argument(
        "--checkpoints",
        type=Path,
        default=CHECKPOINTS,
        help="folder with stage0.pt, stage1.pt and stage2.pt (default: %(default)s)",
    )
    add_digitizer_arguments(parser, COMPETITION_PAGE)
    args = parser.parse_args()
    if args.report and not args.output:
        raise ValueError("--report: say where with --output")
    if args.output and args.output.resolve() == args.data.resolve():
        raise ValueError(f"{args.output}: holds the pages; choose another --output")
    if not args.data.is_dir():
        check_data(args.data)
    pages = find_pages(args.data, args.fold)
    if args.types:
        pages = [page for page in pages if page.type in args.types]
    if not pages:
        raise ValueError(f"{args.data}: no pages of type {', '.join(args.types)}")
    stage0, stage1, stage2 = (checkpoint_path(n, args.checkpoints) for n in range(3))
    weights = args.stage2 or [stage2]
    engine = Engine(digitizer_options(args, stage0, stage1, weights), args.workers, args.threads)
    with ExitStack() as stack:
        report = journal = None
        if args.output:
            args.output.mkdir(parents=True, exist_ok=True)
            stack.enter_context(folder_lock(args.output))
            journal = page_journal(args.output / "pages.csv")  # whatever else is called so is not replaced
            journal.rows.clear()
        if args.report:
            facts = f"evaluate.py {args.data} – {time.strftime('%Y-%m-%d %H:%M')}"
            report = Report(args.output / "report.html", "ECG digitization, scored", facts, args.report_pages)
            stack.enter_context(report)
        scored = list(digitize_pages(engine, pages, OutputOptions(entry=args.report), journal, report))
    results = tabulate(scored)
    print(f"weights: {', '.join(map(str, (stage0, stage1, *weights)))}")
    if args.tta or len(weights) > 1:
        views = ", ".join(["plain", *args.tta])
        print(f"the {args.merge} of {len(weights)} networks of stage 2 on views {views}")
    types, leads = summarize(results), by_lead(results)
    print(types.astype({"pages": int}).to_string(float_format="{:.2f}".format))
    if not results["found"].any():
        print(
            "No page was found. Such a page counts as zeros, -inf dB: have stages 0 and 1 learnt long enough?"
        )
    if "grid_median" in results:
        print(rank_failures(results))
    print("\nMedian dB by lead")
    print(leads.to_string(float_format="{:.2f}".format))
    print("\nWorst pages")
    print(list_worst(results).to_string(float_format="{:.2f}".format))
    if args.output:
        types.to_csv(args.output / "by_type.csv", index_label="type", float_format="%.4f")
        leads.to_csv(args.output / "by_lead.csv", index_label="lead", float_format="%.4f")
        plot_by_type(results, args.output / "by_type.png")
        plot_by_lead(results, args.output / "by_lead.png")
    return int(len(results) < len(pages))


if __name__ == "__main__":
    run_main(main)
