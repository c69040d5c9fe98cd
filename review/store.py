"""The folder of a run: its pages, what was corrected on each, and the files that follow from it.

Beside a page lies `<name>.review.json`: who changed what and when, and the corrections as they are now. It is
written first and the page's row of pages.csv last, each file atomically. So what a person did is never lost,
and a page whose saving was interrupted is known by its JSON, which still says so.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np

from configs.layouts import find_layout
from digitization.digitizer import Digitized
from digitization.layout.page import Known
from digitization.layout.scales import GIVEN
from digitization.overlay import draw_on_photo
from prediction.pages import describe, write_files
from prediction.results import DONE, DOUBTFUL, FAILED, OutputOptions, Page, PageResult
from prediction.table import as_row, page_journal
from review.corrections import Corrections
from utils.files import atomic_write, folder_lock, open_text, remove_partial_files
from utils.pdf import PDF_SUFFIX

VERSION = 1  # of the JSON
ACCEPTED, CORRECTED = "accepted", "corrected"  # marks of a page in the column `reviewed` of pages.csv
SAVED, SAVING = "saved", "saving"  # states of the JSON: all files follow it, or not yet
MAX_JSON = 10_000_000  # bytes of the largest file of corrections that is read
ORDER = {DOUBTFUL: 0, FAILED: 1, DONE: 2}  # in which pages are listed


class Stale(ValueError):
    """Somebody else saved the page meanwhile."""


@dataclass(frozen=True)
class Record:
    """What is known of a page's review. `revision` counts how often it was saved; `history` says by whom."""

    revision: int = 0
    state: str = SAVED
    accepted: bool = False
    corrections: Corrections = field(default_factory=Corrections)
    history: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True)
class Entry:
    """A page of a run: its row of pages.csv and its review; `problem` says why it cannot be opened."""

    name: str
    row: Mapping[str, str]
    record: Record = field(default_factory=Record)
    problem: str = ""

    @property
    def id(self) -> str:
        """A name for addresses, which tells nothing of the page's own."""
        return hashlib.sha256(self.name.encode(errors="surrogateescape")).hexdigest()[:16]

    @property
    def outcome(self) -> str:
        return str(self.row["outcome"])

    @property
    def doubts(self) -> list[str]:
        return [doubt for doubt in str(self.row["warnings"]).split("; ") if doubt]

    @property
    def is_reviewed(self) -> bool:
        return self.record.accepted and self.record.state == SAVED

    @property
    def page(self) -> Page:
        return Page(self.name, Path(self.row["image"]), int(self.row["fs"]), type=str(self.row["type"]))

    @property
    def known(self) -> Known:
        """What predict.py was told of the page."""
        row = self.row
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

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        if not (self.folder / "pages.csv").is_file():
            raise ValueError(f"{self.folder}: no pages.csv; review.py takes a folder that predict.py wrote")
        page_journal(self.folder / "pages.csv")

    def entries(self) -> list[Entry]:
        """The pages as pages.csv has them now, the doubtful ones first, of these the least sure.

        Raises ValueError where it is gone or no longer predict.py's.
        """
        if not (self.folder / "pages.csv").is_file():
            raise ValueError(f"{self.folder}: pages.csv is gone")
        found = [self.entry(name, row) for name, row in page_journal(self.folder / "pages.csv").rows.items()]
        return sorted(found, key=urgency)

    def entry(self, name: str, row: Mapping[str, str]) -> Entry:
        """A page with its review, if there is one that can be read."""
        if row["image"].lower().endswith(PDF_SUFFIX):
            return Entry(name, row, problem="pages of PDF files cannot be corrected yet")
        try:
            return Entry(name, row, read_record(self.path(name)))
        except OSError as error:
            return Entry(name, row, problem=f"its corrections cannot be kept: {error.strerror}")
        except ValueError as error:
            return Entry(name, row, problem=str(error))

    def find(self, page_id: str) -> Entry | None:
        return next((entry for entry in self.entries() if entry.id == page_id), None)

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
    ) -> Entry:
        """Write the review of a page that was opened as `entry`, and all files that follow from it.

        image (H, W, 3) uint8 RGB. Raises Stale when the page was saved by somebody else since, and ValueError
        while predict.py writes to the folder, or when the page is no longer in its table.
        """
        path = self.path(entry.name)
        with folder_lock(self.folder):
            remove_partial_files(self.folder)  # of a server that was killed
            journal = page_journal(self.folder / "pages.csv")
            if entry.name not in journal.rows:
                raise ValueError("the page is no longer in pages.csv")
            record = read_record(path)
            if record.revision != entry.record.revision:
                raise Stale("this page was saved from another window meanwhile; open it again to see how")
            note = {
                "when": datetime.now(timezone.utc).isoformat(timespec="seconds"),
                "who": who,
                "what": changes(record.corrections, corrections) or ["looked at"],
                "accepted": accepted,
            }
            saved = Record(record.revision + 1, SAVED, accepted, corrections, (*record.history, note))
            write_record(path, entry.page, saved, SAVING)
            result = PageResult(entry.page, DOUBTFUL)
            describe(digitized, known_then(entry.known, corrections), result)
            if accepted:
                result.outcome = DONE
            result.reviewed = ACCEPTED if accepted else CORRECTED
            outputs = OutputOptions(self.folder, signals=True, wfdb=True, overlay=True)
            drawn = draw_on_photo(image, digitized.page, digitized.trace_result)
            write_files(entry.page, outputs, result, digitized, drawn)
            row = journal.rows[entry.name]
            kept = {"type": row["type"], "seconds": row["seconds"], "networks": networks}
            journal.rows[entry.name] = {**row, **as_row(result), **kept}
            journal.write()
            write_record(path, entry.page, saved, SAVED)
        return Entry(entry.name, journal.rows[entry.name], saved)


def known_then(known: Known, corrections: Corrections) -> Known:
    """What is known of a page whose layout was corrected: that it was given."""
    if corrections.layout is None:
        return known
    return Known(find_layout(corrections.layout))


def urgency(entry: Entry) -> tuple[bool, int, float, str]:
    """By which pages are sorted: those not reviewed first, of these the doubtful, of these the least sure."""
    scores = []
    for column in ("page_score", "confidence"):
        try:
            scores.append(float(entry.row[column]))
        except ValueError:
            scores.append(0.0)
    return entry.is_reviewed, ORDER.get(entry.outcome, 0), min(scores), entry.name


def changes(before: Corrections, after: Corrections) -> list[str]:
    """What was done since, as lines; those taken back begin with "not any more"."""
    old, new = before.describe(), after.describe()
    added = list(new)
    gone = []
    for line in old:
        if line in added:
            added.remove(line)
        else:
            gone.append(f"not any more: {line}")
    return added + gone


def read_record(path: Path) -> Record:
    """The review in a file, an empty one where there is none. Raises ValueError for another file."""
    if not path.exists():
        return Record()
    if path.stat().st_size > MAX_JSON:
        raise ValueError(f"{path.name}: too large for a page's corrections")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] != VERSION:
            raise ValueError(f"{path.name}: version {values['version']!r}, not {VERSION}")
        return Record(
            int(values["revision"]),
            str(values["state"]),
            bool(values["accepted"]),
            Corrections.of_json(values["corrections"]),
            tuple(values["history"]),
        )
    except (KeyError, TypeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path.name}: not a page's corrections ({type(error).__name__})") from None


def write_record(path: Path, page: Page, record: Record, state: str) -> None:
    values = {
        "version": VERSION,
        "page": page.name,
        "image": str(page.path),
        "revision": record.revision,
        "state": state,
        "accepted": record.accepted,
        "corrections": record.corrections.to_json(),
        "history": list(record.history),
    }
    with atomic_write(path) as partial, open_text(partial) as file:
        json.dump(values, file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
