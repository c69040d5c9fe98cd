"""The folder of a run: its pages, what was corrected on each, and the files that follow from it.

Beside a page lies `<name>.review.json`: who changed what and when, and the corrections as they are now, those
not saved yet among them. It is written first and the page's row of pages.csv last, each file atomically. So
what a person did is never lost, and a page whose saving was interrupted is known by its JSON, which still
says so.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from configs.layouts import find_layout
from digitization.digitizer import Digitized
from digitization.layout.page import Known
from digitization.layout.scales import GIVEN
from digitization.overlay import draw_on_photo
from prediction.pages import describe, write_files, write_unknown
from prediction.results import DONE, DOUBTFUL, FAILED, VECTOR, OutputOptions, Page, PageResult
from prediction.table import as_row, page_journal
from review.corrections import Corrections
from review.record import SAVED, SAVING, SET_ASIDE, Record, changes, read_record, write_record
from utils.files import folder_lock, remove_partial_files
from utils.journal import Journal

# Marks of a page in the column `reviewed` of pages.csv: its files are as a person accepted them, or as one
# saved them to go on later. SET_ASIDE is the third.
ACCEPTED, CORRECTED = "accepted", "corrected"
KEPT_COLUMNS = ("type", "seconds")  # of pages.csv, that corrections do not change
CURVES = (
    "read by the curves in its file, with nothing to correct on a picture; predict.py takes --layout, "
    "--speed and --gain for them"
)
ORDER = {DOUBTFUL: 0, FAILED: 1, DONE: 2}  # in which pages are listed


class Stale(ValueError):
    """Somebody else changed or saved the page meanwhile."""


class Unfinished(OSError):
    """Some of a page's files could not be written; `entry` is the page as it is then, to be saved again."""

    def __init__(self, entry: "Entry", reason: Exception):
        super().__init__(str(reason))
        self.entry = entry


@dataclass(frozen=True)
class Entry:
    """A page of a run: its row of pages.csv and its review; `problem` says why it cannot be opened."""

    name: str
    row: Mapping[str, str]
    record: Record = field(default_factory=Record)
    problem: str = ""

    @property
    def id(self) -> str:
        return page_id(self.name)

    @property
    def outcome(self) -> str:
        return str(self.row["outcome"])

    @property
    def doubts(self) -> list[str]:
        return [doubt for doubt in str(self.row["warnings"]).split("; ") if doubt]

    @property
    def is_reviewed(self) -> bool:
        """Whether its files are as a person accepted them; not any more once predict.py wrote them anew."""
        return self.row["reviewed"] == ACCEPTED and self.record.accepted and self.record.state == SAVED

    @property
    def is_renewed(self) -> bool:
        """Whether predict.py wrote it anew since a person corrected it: its corrections are in no file."""
        return bool(self.record.revision) and self.record.state == SAVED and not self.row["reviewed"]

    @property
    def page(self) -> Page:
        return Page(self.name, Path(self.row["image"]), int(self.row["fs"]), type=str(self.row["type"]))

    @property
    def number(self) -> int:
        """Which page of its file it is, from 0."""
        first = str(self.row["pdf_pages"]).split("-")[0]
        return int(first) - 1 if first else 0

    @property
    def known(self) -> Known:
        """What predict.py was told of the page."""
        row = self.row
        if row["reviewed"]:  # the row says what a person corrected
            return self.record.known
        if row["layout_source"] == GIVEN and not row["layout_score"]:
            return Known(competition=True)
        layout = find_layout(row["layout"]) if row["layout_source"] == GIVEN else None
        speed, gain = (
            float(row[name]) if row[f"{name}_source"] == GIVEN and row[name] else None
            for name in ("speed", "gain")
        )
        return Known(layout, speed, gain)


class Store:
    """The folder that predict.py wrote to. Raises ValueError for any other folder."""

    journal: Journal  # pages.csv as it was read last
    version: tuple[int, int, int] | None = None  # of the file then: when it was written, its size and inode
    names: Mapping[str, str]  # of its pages, by their ids

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        self.table = self.folder / "pages.csv"
        if not self.table.is_file():
            raise ValueError(f"{self.folder}: no pages.csv; review.py takes a folder that predict.py wrote")
        self.read_table()

    def read_table(self) -> Journal:
        """pages.csv as it is now. Raises ValueError where it is gone or no longer predict.py's."""
        if not self.table.is_file():
            raise ValueError(f"{self.folder}: pages.csv is gone")
        state = self.table.stat()
        version = (state.st_mtime_ns, state.st_size, state.st_ino)
        if version != self.version:
            self.journal, self.version = page_journal(self.table), version
            self.names = {page_id(name): name for name in self.journal.rows}
        return self.journal

    def order(self) -> list[str]:
        """The names of the pages, the doubtful ones first, of these the least sure. Raises ValueError."""
        rows = self.read_table().rows
        return sorted(rows, key=lambda name: urgency(name, rows[name]))

    def entries(self, most: int | None = None) -> list[Entry]:
        """The pages in this order, `most` of them. Raises ValueError."""
        rows = self.read_table().rows
        return [self.entry(name, rows[name]) for name in self.order()[:most]]

    def entry(self, name: str, row: Mapping[str, str]) -> Entry:
        """A page with its review, if there is one that can be read."""
        if row["source"] == VECTOR:
            return Entry(name, row, problem=CURVES)
        try:
            return Entry(name, row, read_record(self.path(name)))
        except OSError as error:
            return Entry(name, row, problem=f"its corrections cannot be kept: {error.strerror}")
        except ValueError as error:
            return Entry(name, row, problem=str(error))

    def find(self, page_id: str) -> Entry | None:
        rows = self.read_table().rows
        name = self.names.get(page_id)
        return None if name is None else self.entry(name, rows[name])

    def path(self, name: str) -> Path:
        """Where a page's review is kept. Raises ValueError for a name that leads out of the folder."""
        path = self.folder / f"{name}.review.json"
        inside = Path(os.path.realpath(path.parent)).is_relative_to(os.path.realpath(self.folder))
        if not inside or path.is_symlink() or "\0" in name:
            raise ValueError("its name leads out of the folder")
        return path

    def save(
        self,
        entry: Entry,
        corrections: Corrections,
        digitized: Digitized,
        image: np.ndarray,
        who: str,
        accepted: bool,
        networks: str,
        keeps_draft: bool = False,
    ) -> Entry:
        """Write the review of a page that was opened as `entry`, and all files that follow from it.

        image (H, W, 3) uint8 RGB. With `keeps_draft` corrections that are not saved yet stay so. Raises Stale
        when the page was changed by somebody else since, ValueError while predict.py writes to the folder, or
        when the page is no longer in its table, and Unfinished when not all files can be written.
        """
        with self.locked(entry) as (path, journal, record):
            what = changes(record.corrections, corrections) or ["looked at"]
            saved = record.noted(who, what, corrections, entry.known, accepted)
            if keeps_draft:
                saved = replace(saved, draft=record.draft)
            row = journal.rows[entry.name]
            result = PageResult(entry.page, DOUBTFUL, source=row["source"], pdf_pages=row["pdf_pages"])
            describe(digitized, known_then(entry.known, corrections), result)
            if accepted:
                result.outcome = DONE
            result.reviewed = ACCEPTED if accepted else CORRECTED
            outputs = OutputOptions(self.folder, signals=True, wfdb=True, overlay=True)
            drawn = draw_on_photo(image, digitized.page, digitized.trace_result)
            with self.saving(entry, path, saved) as done:
                write_files(entry.page, outputs, result, digitized, drawn)
                done.append(self.write_row(journal, result, networks))
        return Entry(entry.name, done[0], saved)

    def set_aside(
        self, entry: Entry, corrections: Corrections, reason: str, who: str, networks: str
    ) -> Entry:
        """Mark a page as one that cannot be read, and why; its signals become zeros. Raises as `save`."""
        with self.locked(entry) as (path, journal, record):
            saved = record.noted(who, [SET_ASIDE], corrections, entry.known, False)
            row = journal.rows[entry.name]
            result = PageResult(
                entry.page, FAILED, [reason], source=row["source"], pdf_pages=row["pdf_pages"]
            )
            result.reviewed = SET_ASIDE
            with self.saving(entry, path, saved) as done:
                write_unknown(entry.page, OutputOptions(self.folder, signals=True), result)
                done.append(self.write_row(journal, result, networks))
        return Entry(entry.name, done[0], saved)

    @contextmanager
    def saving(self, entry: Entry, path: Path, saved: Record) -> Iterator[list[Mapping[str, str]]]:
        """A context in which the files of a page are written, its review before and after; takes its row.

        Raises Unfinished when some could not be.
        """
        write_record(path, entry.page, saved, SAVING)
        rows: list[Mapping[str, str]] = []
        try:
            yield rows
            write_record(path, entry.page, saved, SAVED)
        except (ValueError, OSError) as error:
            raise Unfinished(replace(entry, record=replace(saved, state=SAVING)), error) from error

    def write_row(self, journal: Journal, result: PageResult, networks: str) -> Mapping[str, str]:
        """Give a page its new row in the table."""
        row = journal.rows[result.page.name]
        kept = {name: row[name] for name in KEPT_COLUMNS}
        renewed = {name: str(value) for name, value in {**row, **as_row(result), **kept}.items()}
        renewed["networks"] = networks
        journal.rows[result.page.name] = renewed
        self.version = None  # should the file not be written
        journal.write()
        return renewed

    def keep_draft(self, entry: Entry, corrections: Corrections) -> Entry:
        """Keep corrections of a page that are not saved yet. Raises as `save` does, and OSError."""
        with self.locked(entry) as (path, _, record):
            draft = None if corrections == record.corrections else corrections
            record = replace(record, draft=draft, known=entry.known)
            write_record(path, entry.page, record, record.state)
        return replace(entry, record=record)

    @contextmanager
    def locked(self, entry: Entry) -> Iterator[tuple[Path, Journal, Record]]:
        """A context in which nobody else writes: where a page's review is kept, the table, and the review."""
        path = self.path(entry.name)
        with folder_lock(self.folder):
            remove_partial_files(self.folder)  # of a server that was killed
            journal = self.read_table()
            if entry.name not in journal.rows:
                raise ValueError("the page is no longer in pages.csv")
            record = read_record(path)
            if (record.revision, record.draft) != (entry.record.revision, entry.record.draft):
                raise Stale("this page was changed by another review.py meanwhile; it is shown as it is now")
            yield path, journal, record


def known_then(known: Known, corrections: Corrections) -> Known:
    """What is known of a page whose layout was corrected: that it was given."""
    if corrections.layout is None:
        return known
    return Known(find_layout(corrections.layout))


def page_id(name: str) -> str:
    """A page's name for addresses, which tells nothing of its own."""
    return hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:16]


def is_finished(row: Mapping[str, str]) -> bool:
    """Whether a person has done with a page."""
    return row["reviewed"] in (ACCEPTED, SET_ASIDE)


def urgency(name: str, row: Mapping[str, str]) -> tuple[bool, bool, int, float, str]:
    """By which pages are sorted: those not reviewed first, of these the doubtful, of these the least sure.

    Those read by their curves follow the others that are not reviewed.
    """
    scores = []
    for column in ("page_score", "confidence"):
        try:
            scores.append(float(row[column]))
        except ValueError:
            scores.append(0.0)
    return is_finished(row), row["source"] == VECTOR, ORDER.get(row["outcome"], 0), min(scores), name
