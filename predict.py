"""Digitize ECG pages: python predict.py INPUT [INPUT ...] --output OUT.

INPUT is an image, a PDF file (its first page), a folder, a quoted pattern ('scans/**/*.jpg'), or a
competition's test.csv. For images the folder OUT gets a <name>.csv in mV for each page and pages.csv, which
has a row for each. For test.csv OUT is a folder that gets submission.csv, with exactly the rows that test.csv
asks for, and pages.csv; or it is the submission itself, any name that ends in .csv, with the table of pages
beside it (submission.pages.csv for submission.csv).

Exit code: 0 all pages read; 1 some failed, their signals are zeros (with --strict also: some are doubtful),
or nothing could be done; 2 the command was not understood.
"""

import argparse
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from configs.layouts import COMPETITION
from configs.page import DURATION_S, LEADS, RHYTHM_LEAD
from datasets.competition import read_test_table
from digitization.digitizer import MAX_FS, Digitized, Digitizer
from models.checkpoint import add_stage_arguments, checkpoint_path
from prediction.engine import BATCH_SIZE, Engine, EngineOptions, add_ensemble_arguments
from prediction.inputs import find_image, find_images, find_inputs, name_outputs
from prediction.pages import Step, wanted_files, write_unknown
from prediction.report import Report
from prediction.results import DONE, DOUBTFUL, FAILED, OutputOptions, Page, PageResult
from prediction.table import PageTable, read_page_rows
from utils.command import log, positive_int, progress, run_main
from utils.device import add_precision_argument
from utils.files import folder_lock, is_newer, remove_partial_files, remove_partial_files_of
from utils.submission import write_submission
from utils.workers import WorkerDied

__all__ = ["Digitized", "Digitizer", "find_images", "main"]

REPORT_PAGES = 200  # shown in full


def digitize_pages(engine: Engine, pages: list[Page], wanted: OutputOptions) -> Iterator[PageResult]:
    """The results as they come, each page's warnings said at once."""
    for page, result in progress(engine.map(Step(wanted), pages), len(pages), "page"):
        if isinstance(result, WorkerDied):
            result = PageResult(page, FAILED, [str(result)])
            if wanted.signals:
                write_unknown(page, wanted, result)
        for warning in result.warnings:
            log.warning(f"warning: {page.path}: {'' if result.outcome == FAILED else 'doubtful, '}{warning}")
        yield result


def summarize(outcomes: Iterable[str], started: float) -> str:
    counts = Counter(outcomes)
    listed = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (DONE, DOUBTFUL, FAILED))
    pages = "1 page" if counts.total() == 1 else f"{counts.total()} pages"
    return f"{pages}: {listed}; {time.monotonic() - started:.1f} s"


def predict_images(
    engine: Engine,
    pages: list[Page],
    wanted: OutputOptions,
    resume: bool = False,
    report: Report | None = None,
) -> Counter:
    """Digitize images into wanted.folder, and count their outcomes.

    With `resume`, pages that an earlier run has read are left alone unless their image is newer.
    """
    started, outcomes = time.monotonic(), []
    remove_partial_files(wanted.folder)
    rows = read_page_rows(wanted.folder / "pages.csv")
    if resume:
        known = len(pages)
        pages = [page for page in pages if not is_done(page, rows.get(page.name), wanted, engine.networks)]
        log.info(f"{known - len(pages)} of {known} pages are there already")
    with PageTable(
        wanted.folder / "pages.csv", rows, {page.name for page in pages}, engine.networks
    ) as table:
        for result in digitize_pages(engine, pages, wanted):
            table.add(result)
            outcomes.append(result.outcome)
            if report:
                report.add(result)
    if report:
        report.write()
    print(summarize(outcomes, started))
    return Counter(outcomes)


def is_done(page: Page, row: dict | None, wanted: OutputOptions, networks: str) -> bool:
    if row is None or row["outcome"] == FAILED:
        return False
    if row["imputed_s"] == "":  # by a version that did not tell what it completed
        return False
    if (row["image"], row["fs"], row["networks"]) != (str(page.path), str(page.fs), networks):
        return False
    return not any(is_newer(page.path, path) for path in wanted_files(page, wanted))


@dataclass(frozen=True)
class SubmissionPaths:
    """Where the results for a test.csv are written."""

    submission: Path
    pages: Path  # the table with a row for each image
    report: Path

    @classmethod
    def of(cls, output: Path) -> "SubmissionPaths":
        """`output` is a folder, or the submission's own name when that ends in .csv."""
        if output.suffix.lower() != ".csv":
            return cls(output / "submission.csv", output / "pages.csv", output / "report.html")
        return cls(output, output.with_suffix(".pages.csv"), output.with_suffix(".report.html"))

    @property
    def folder(self) -> Path:
        return self.submission.parent


def predict_test(
    engine: Engine, table_path: Path, images: Path, paths: SubmissionPaths, report: Report | None = None
) -> Counter:
    """Write a submission with the rows that test.csv asks for, and count the pages' outcomes."""
    table = read_test_table(table_path)
    for warning in check_lengths(table):
        log.warning(f"warning: {table_path}: {warning}")
    rates = table.groupby("id", sort=False)["fs"].first()
    pages = [Page(str(name), find_image(images, str(name)), int(fs)) for name, fs in rates.items()]
    started, outcomes = time.monotonic(), []
    for path in (paths.submission, paths.pages, paths.report):
        remove_partial_files_of(path)
    signals: dict[str, dict[str, np.ndarray]] = {}
    rows = read_page_rows(paths.pages)
    wanted = OutputOptions(paths.folder, leads=True, card=report is not None)
    with PageTable(paths.pages, rows, {page.name for page in pages}, engine.networks) as rows_written:
        for result in digitize_pages(engine, pages, wanted):
            rows_written.add(result)
            outcomes.append(result.outcome)
            if result.leads is not None:
                signals[result.page.name] = {
                    lead: signal[np.isfinite(signal)]
                    for lead, signal in zip(LEADS, result.leads, strict=True)
                }
                result.leads = None
            if report:
                report.add(result)
    write_submission(paths.submission, table, signals)
    if report:
        report.write()
    print(summarize(outcomes, started))
    return Counter(outcomes)


def check_lengths(table: pd.DataFrame) -> list[str]:
    """A line when test.csv asks for other numbers of rows than its fs gives; they are what is written."""
    seconds = np.where(table["lead"] == RHYTHM_LEAD, DURATION_S, DURATION_S / COMPETITION.columns)
    odd = np.abs(table["number_of_rows"] - seconds * table["fs"]) > 1
    if not odd.any():
        return []
    first = table[odd].iloc[0]
    return [
        f"number_of_rows disagrees with fs for {odd.sum()} leads, the first {first.id} {first.lead}: "
        f"{first.number_of_rows} rows at {first.fs} Hz; written as asked, cut or held at the last value"
    ]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("input", nargs="+", help="image, PDF, folder, quoted pattern, or test.csv")
    parser.add_argument(
        "--output",
        type=Path,
        required=True,
        help="folder to write to; with test.csv it may also be the submission, a name that ends in .csv",
    )
    parser.add_argument(
        "--fs",
        type=int,
        default=500,
        help="sampling rate of the signals read from images, Hz (default: %(default)s)",
    )
    parser.add_argument("--wfdb", action="store_true", help="WFDB records too, in OUT/wfdb")
    parser.add_argument(
        "--overlay", action="store_true", help="<name>.overlay.jpg too: the traces on the photo"
    )
    parser.add_argument("--report", action="store_true", help="report.html too, the whole run in one file")
    parser.add_argument(
        "--report-pages",
        type=positive_int,
        default=REPORT_PAGES,
        help="number of pages that the report shows in full, the worst first (default: %(default)s)",
    )
    parser.add_argument(
        "--resume",
        action="store_true",
        help="skip images that are digitized already; they are not in the report either",
    )
    parser.add_argument("--strict", action="store_true", help="exit code 1 for doubtful pages too")
    parser.add_argument(
        "--images", type=Path, help="folder with the images of test.csv (default: test/ beside it)"
    )
    add_ensemble_arguments(parser)
    add_precision_argument(parser)
    add_stage_arguments(parser, (0, 1))
    parser.add_argument(
        "--stage2",
        "--weights",
        type=Path,
        nargs="+",
        default=[checkpoint_path(2)],
        help="checkpoint of stage 2, or several whose readings are merged (default: checkpoints/stage2.pt)",
    )
    parser.add_argument(
        "--device", help="cpu, cuda:0, cuda:0,cuda:1 ... (default: all CUDA devices, else the CPU)"
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        help="number of processes, about 1.5 GB each (default: 1, for many pages up to 4)",
    )
    parser.add_argument(
        "--batch-size",
        type=positive_int,
        default=BATCH_SIZE,
        help="number of pages that a network sees at once on CUDA (default: %(default)s)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="number of torch threads on the CPU, with a single worker (default: torch's)",
    )
    return parser.parse_args()


def check_replaceable(submission: Path) -> None:
    """Raise ValueError when a file that is there already is no submission."""
    with submission.open(errors="replace") as file:
        if file.readline().strip() not in ("", "id,value"):
            raise ValueError(f"{submission}: holds something else than a submission; choose another --output")


def check_arguments(args: argparse.Namespace) -> bool:
    """Whether the input is a test.csv; ValueError for what does not go together."""
    tables = [item for item in args.input if item.lower().endswith(".csv")]
    if tables and len(args.input) > 1:
        raise ValueError(f"{tables[0]}: a test.csv comes alone")
    if not 1 <= args.fs <= MAX_FS:
        raise ValueError(f"--fs {args.fs}: must be above 0 and at most {MAX_FS}")
    names_file = args.output.suffix.lower() == ".csv"
    if names_file and not tables and not args.output.is_dir():
        raise ValueError(f"{args.output}: --output is a folder, of one file only with test.csv")
    if names_file and tables and args.output.is_dir():
        raise ValueError(f"{args.output}: is a folder, and not a file to write the submission to")
    if names_file and tables and args.output.exists():
        check_replaceable(args.output)
    if args.output.exists() and not args.output.is_dir() and not names_file:
        raise ValueError(f"{args.output}: not a folder")
    if tables and (args.wfdb or args.overlay or args.resume):
        raise ValueError(f"{tables[0]}: --wfdb, --overlay and --resume are for images")
    return bool(tables)


def main() -> int:
    """Returns the exit code; raises ValueError or OSError when nothing can be done."""
    args = parse_arguments()
    pages: list[Page] = []
    if is_table := check_arguments(args):
        table = Path(args.input[0])
        images = args.images or table.parent / "test"
        read_test_table(table)
        if not images.is_dir():
            raise ValueError(f"{images}: no such folder of images")
    else:
        named = name_outputs(find_inputs(args.input, args.output))
        pages = [Page(name, path, args.fs) for name, path in named.items()]
    setup = EngineOptions(
        stage0=args.stage0,
        stage1=args.stage1,
        stage2=tuple(args.stage2),
        tta=tuple(args.tta),
        merge=args.merge,
        impute=args.impute,
        device=args.device,
        workers=args.workers,
        threads=args.threads,
        batch_size=args.batch_size,
        precision=args.precision,
    )
    engine = Engine(setup)
    paths = SubmissionPaths.of(args.output) if is_table else None
    folder = paths.folder if paths else args.output
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        if paths:
            stack.enter_context(folder_lock(paths.submission))
        if not paths or folder == args.output:
            stack.enter_context(folder_lock(folder))
        report = None
        if args.report:
            facts = (
                f"predict.py {' '.join(args.input)} – {time.strftime('%Y-%m-%d %H:%M')}; not for clinical use"
            )
            report_path = paths.report if paths else folder / "report.html"
            report = Report(report_path, "ECG digitization", facts, args.report_pages)
            stack.enter_context(report)
        if paths:
            outcomes = predict_test(engine, table, images, paths, report)
        else:
            wanted = OutputOptions(args.output, True, args.wfdb, args.overlay, args.report)
            outcomes = predict_images(engine, pages, wanted, args.resume, report)
    return int(outcomes[FAILED] > 0 or (args.strict and outcomes[DOUBTFUL] > 0))


if __name__ == "__main__":
    run_main(main, interrupted="interrupted; what is written is whole")
