"""Runs over many pages: images into a folder, a test.csv into a submission; with pages.csv and a report."""

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from configs.layouts import COMPETITION
from configs.page import DURATION_S, LEADS, RHYTHM_LEAD
from datasets.competition import read_test_table
from prediction.engine import Engine
from prediction.inputs import find_image
from prediction.pages import output_files
from prediction.report import Report
from prediction.results import DONE, DOUBTFUL, FAILED, OutputOptions, Page, PageResult
from prediction.table import as_row, page_journal
from utils.command import log
from utils.files import is_newer, remove_partial_files, remove_partial_files_of
from utils.journal import Journal
from utils.pdf import PDF_SUFFIX
from utils.submission import write_submission


def digitize_pages(
    engine: Engine,
    pages: list[Page],
    outputs: OutputOptions,
    journal: Journal | None = None,
    report: Report | None = None,
) -> Iterator[PageResult]:
    """Digitize pages, each with its row in the journal and its part of the report."""
    with journal.replace(stale_names(journal, pages)) if journal else nullcontext():
        for result in engine.digitize(pages, outputs):
            if journal:
                journal.add(as_row(result) | {"networks": engine.networks})
            if report:
                report.add(result)
            yield result


def stale_names(journal: Journal, pages: list[Page]) -> list[str]:
    """The names of pages and of all that an earlier run read from the same files.

    Where some of a file's are kept, the others stay until each has a new row.
    """
    pages = [page for page in pages if not page.kept]
    paths = {str(page.path) for page in pages}
    names = [page.name for page in pages]
    return names + [name for name, row in journal.rows.items() if row["image"] in paths]


def predict_images(
    engine: Engine,
    pages: list[Page],
    outputs: OutputOptions,
    resume: bool = False,
    report: Report | None = None,
) -> Counter:
    """Digitize images into outputs.folder, and count their outcomes.

    With `resume`, pages that an earlier run has read are left alone unless their image is newer.
    """
    started = time.monotonic()
    remove_partial_files(outputs.folder)
    journal = page_journal(outputs.folder / "pages.csv")
    if resume:
        known = len(pages)
        pages = [page for page in pages if not is_file_done(page, journal, outputs, engine.networks)]
        pages = [replace(page, kept=reviewed_names(page, journal, outputs)) for page in pages]
        log.info(f"{known - len(pages)} of {known} pages are there already")
    return summarize(digitize_pages(engine, pages, outputs, journal, report), started)


def is_file_done(page: Page, journal: Journal, outputs: OutputOptions, networks: str) -> bool:
    """Whether all pages of a file are done, of which that of its own name comes last in the journal."""
    return all(
        is_done(own, journal.rows.get(own.name), outputs, networks) for own in pages_of_file(page, journal)
    )


def pages_of_file(page: Page, journal: Journal) -> list[Page]:
    """The page and all others of its file, a PDF, that the journal has."""
    further = [
        replace(page, name=name)
        for name, row in journal.rows.items()
        if row["image"] == str(page.path) and name.startswith(f"{page.name}-p")
    ]
    return [page, *further]


def reviewed_names(page: Page, journal: Journal, outputs: OutputOptions) -> tuple[str, ...]:
    """The names of a PDF's pages that a person reviewed; another page of it may have to be read again."""
    rows = [(own, journal.rows.get(own.name)) for own in pages_of_file(page, journal)]
    reviewed = [(own, row) for own, row in rows if row is not None and row["reviewed"]]
    return tuple(own.name for own, row in reviewed if is_done(own, row, outputs, row["networks"]))


def is_done(page: Page, row: Mapping | None, outputs: OutputOptions, networks: str) -> bool:
    if row is None:
        return False
    if row["outcome"] == FAILED:  # a person may have set it aside
        outputs = replace(outputs, wfdb=False, overlay=False)
    if row["imputed_s"] == "" and not row["reviewed"]:  # failed, or by a version that completed nothing
        return False
    is_pdf = page.path.suffix.lower() == PDF_SUFFIX
    if row["source"] == "" and is_pdf and not row["reviewed"]:  # by a version that read no curves
        return False
    if (row["image"], row["fs"]) != (str(page.path), str(page.fs)):
        return False
    if row["networks"] != networks and not row["reviewed"]:  # a person's corrections outlive the networks
        return False
    return not any(is_newer(page.path, path) for path in output_files(page, outputs))


def summarize(results: Iterable[PageResult], started: float) -> Counter:
    """Count the outcomes of pages as they come, and print them."""
    counts = Counter(result.outcome for result in results)
    listed = ", ".join(f"{counts[outcome]} {outcome}" for outcome in (DONE, DOUBTFUL, FAILED))
    pages = "1 page" if counts.total() == 1 else f"{counts.total()} pages"
    print(f"{pages}: {listed}; {time.monotonic() - started:.1f} s")
    return counts


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
    started = time.monotonic()
    for path in (paths.submission, paths.pages, paths.report):
        remove_partial_files_of(path)
    signals: dict[str, dict[str, np.ndarray]] = {}
    outputs = OutputOptions(paths.folder, leads=True, entry=report is not None)

    def keep_signals() -> Iterator[PageResult]:
        for result in digitize_pages(engine, pages, outputs, page_journal(paths.pages), report):
            if result.leads is not None:
                signals[result.page.name] = {
                    lead: signal[np.isfinite(signal)]
                    for lead, signal in zip(LEADS, result.leads, strict=True)
                }
                result.leads = None
            yield result
        write_submission(paths.submission, table, signals)

    return summarize(keep_signals(), started)


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
