"""The pages that are open in browsers, and what is being done to them, one thing at a time."""

import time
from collections import OrderedDict
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count
from threading import Lock
from typing import Any

import numpy as np

from digitization.digitizer import Digitized
from digitization.geometry.locate import PageNotFound
from digitization.layout.page import NOTHING_KNOWN
from digitization.options import DigitizerOptions
from prediction.pages import explain
from prediction.pdf_files import read_page_image
from review.actions import PAPER_ACTIONS, act
from review.corrections import Corrections
from review.kept import Kept
from review.reading import PageReader
from review.record import SAVED
from review.store import Entry, Stale, Store, Unfinished
from utils.device import choose_device, choose_precision, limit_threads
from utils.workers import call_here

MAX_OPEN = 3  # pages kept in memory, up to 0.5 GB each; those with unsaved changes are kept beyond that
REVISIONS = count(1)
KEPT_PICTURES = 2  # pictures kept of each page: as it is and as it was


@dataclass
class OpenPage:
    """A page and its draft: the corrections as they are in the browser.

    revision: another one with every change of the draft, of all pages ever opened; a browser says which one
        it shows.
    shown: the page as corrected; None, with a reason, where it cannot be read so.
    before: the page before the last change. seconds: how long that change took.
    is_kept: whether the draft is in the folder too, where it outlives the server.
    is_busy: whether it is being changed or saved. taken: when its image was written, in ns.
    """

    entry: Entry
    image: np.ndarray
    reader: PageReader
    corrections: Corrections
    shown: Digitized | None = None
    reason: str = ""
    before: Digitized | None = None
    seconds: float = 0.0
    revision: int = field(default_factory=REVISIONS.__next__)
    undone: list[Corrections] = field(default_factory=list)
    is_kept: bool = True
    is_busy: bool = False
    taken: int = 0
    pictures: Kept = field(default_factory=lambda: Kept(KEPT_PICTURES))

    @property
    def orientation(self) -> int:
        """The orientation in which the image is shown."""
        if self.shown is not None:
            return self.shown.page.orientation
        if self.corrections.orientation is not None:
            return self.corrections.orientation
        return 0 if self.reader.first is None else self.reader.first.page.orientation

    @property
    def is_saved(self) -> bool:
        record = self.entry.record
        return self.corrections == record.corrections and record.state == SAVED

    def change(self, corrections: Corrections, keep_unread: bool = False) -> None:
        """Read the page with other corrections. Raises ValueError, and leaves it as it is, where that fails.

        With `keep_unread` a page that cannot be found so is kept with the corrections all the same.
        """
        started, reason, shown = time.monotonic(), "", None
        try:
            shown = self.reader.read(corrections)
        except PageNotFound as error:
            if not keep_unread:
                raise
            reason = str(error)
        self.before = self.shown
        self.shown, self.reason, self.corrections = shown, reason, corrections
        self.seconds = time.monotonic() - started
        self.revision = next(REVISIONS)

    def act(self, action: Any, revision: int) -> None:
        """Do what a browser that shows this revision asks for. Raises Stale for another, else as `change`."""
        self.check(revision)
        if action == {"do": "undo"}:
            if not self.undone:
                raise ValueError("there is nothing to undo")
            self.change(self.undone[-1], keep_unread=True)
            self.undone.pop()
            return
        before = self.corrections
        if action == {"do": "reset"}:
            self.change(Corrections(), keep_unread=True)
        else:
            page = None if self.shown is None else self.shown.page
            after = act(action, before, page, self.orientation, self.image.shape)
            Corrections.of_json(after.to_json())  # what is kept has to be read again
            self.change(after, keep_unread=action["do"] in PAPER_ACTIONS)
        self.undone.append(before)

    def check(self, revision: int) -> None:
        if revision != self.revision:
            raise Stale("this page was changed from another window meanwhile; it is shown as it is now")


class Desk:
    """Pages of a store opened by a digitizer in a thread of its own; `networks` names its networks."""

    def __init__(self, store: Store, digitizer, networks: str):
        self.store, self.digitizer, self.networks = store, digitizer, networks
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="digitizer")
        self.pages: OrderedDict[str, Future[OpenPage]] = OrderedDict()
        self.lock = Lock()

    @classmethod
    def of_options(cls, store: Store, options: DigitizerOptions, threads: int | None = None) -> "Desk":
        """With the digitizer of these options on one device, and `threads` of torch on the CPU."""
        limit_threads(threads)
        device = choose_device(options.device)
        nets = options.load(choose_precision(options.precision, device))
        return cls(store, options.build(nets, device, call_here), options.name_networks())

    def open(self, entry: Entry) -> "Future[OpenPage]":
        """A page as it will be once it is digitized; begun if it is not open yet, or was saved elsewhere."""
        with self.lock:
            future = self.pages.get(entry.id)
            if future is None or self.is_outdated(future, entry):
                draft = self.draft_of(future)
                future = self.thread.submit(self.load, entry, undone=draft)
                self.pages[entry.id] = future
            self.pages.move_to_end(entry.id)
            self.close_others()
            return future

    def is_outdated(self, future: "Future[OpenPage]", entry: Entry) -> bool:
        """Whether an open page is not the one in the folder any more, or could not be opened before."""
        if not future.done():
            return False
        if future.exception() is not None:
            return True
        page = future.result()
        if page.is_busy or not is_other(page, entry):
            return False
        now = self.store.find(entry.id)  # the entry may be from before the page was saved here
        return now is not None and not now.problem and not page.is_busy and is_other(page, now)

    @staticmethod
    def draft_of(future: "Future[OpenPage] | None") -> Corrections | None:
        """The corrections of an open page that were not saved, to which it may go back; None without any."""
        if future is None or future.exception() is not None or future.result().is_saved:
            return None
        return future.result().corrections

    def close_others(self) -> None:
        """Forget the pages used longest ago, unless they are being read or have unsaved changes."""
        for page_id in list(self.pages)[: max(len(self.pages) - MAX_OPEN, 0)]:
            future = self.pages[page_id]
            if future.done() and (future.exception() is not None or future.result().is_saved):
                del self.pages[page_id]

    def load(self, entry: Entry, with_draft: bool = True, undone: Corrections | None = None) -> OpenPage:
        """Read a page's image, digitize it as predict.py does, and apply the corrections saved before.

        With `with_draft` those that are not saved yet are applied in their place. `undone`: corrections that
        Undo goes to first. Raises ValueError and OSError.
        """
        if entry.problem:
            raise ValueError(entry.problem)
        page = entry.page
        known = self.digitizer.known if entry.known == NOTHING_KNOWN else entry.known
        try:
            taken = page.path.stat().st_mtime_ns if page.path.exists() else 0
            image = read_page_image(page.path, entry.number, known)
        except (ValueError, OSError) as error:
            raise ValueError(f"{explain(error, page.path)} ({page.path})") from error
        reader = PageReader(self.digitizer, image, page.fs, known)
        saved, draft = entry.record.corrections, entry.record.draft if with_draft else None
        corrections = saved if draft is None else draft
        opened = OpenPage(entry, image, reader, corrections, reader.first, reader.reason, taken=taken)
        if draft is not None:
            opened.undone.append(saved)
        if undone is not None and undone != corrections:
            opened.undone.append(undone)
        if corrections != Corrections():
            try:
                opened.shown, opened.reason = reader.read(corrections), ""
            except ValueError as error:
                opened.shown, opened.reason = None, f"the corrections saved do not fit: {error}"
        opened.before = reader.first
        return opened

    def act(self, page: OpenPage, action: Any, revision: int) -> None:
        """Change an open page, see OpenPage.act, and keep its draft in the folder where that is possible."""
        with busy(page):
            page.act(action, revision)
            try:
                page.entry = self.store.keep_draft(page.entry, page.corrections)
                page.is_kept = True
            except Stale:
                raise
            except (ValueError, OSError):  # while predict.py writes there, or where the disk is full
                page.is_kept = False

    def save(
        self, page: OpenPage, revision: int, who: str, accepted: bool, keeps_draft: bool = False
    ) -> None:
        """Save an open page. Raises Stale, ValueError and OSError, see Store.save; the draft stays."""
        page.check(revision)
        if page.shown is None:
            raise ValueError("a page that cannot be read cannot be saved, only be set aside")
        with busy(page):
            page.entry = self.store.save(
                page.entry,
                page.corrections,
                page.shown,
                page.image,
                who,
                accepted,
                self.networks,
                keeps_draft,
            )
            page.revision = next(REVISIONS)

    def set_aside(self, page: OpenPage, revision: int, who: str) -> None:
        """Mark an open page as one in which there is nothing to be read. Raises as `save`."""
        page.check(revision)
        if page.shown is not None:
            raise ValueError("a page that is read is not set aside")
        with busy(page):
            page.entry = self.store.set_aside(page.entry, page.corrections, page.reason, who, self.networks)
            page.revision = next(REVISIONS)


@contextmanager
def busy(page: OpenPage) -> Iterator[None]:
    """A context in which a page is changed or saved: what is in the folder meanwhile is no other's work."""
    page.is_busy = True
    try:
        yield
    except Unfinished as error:
        page.entry = error.entry
        raise
    finally:
        page.is_busy = False


def is_other(page: OpenPage, entry: Entry) -> bool:
    """Whether an open page is not what is in the folder: saved or changed elsewhere, or digitized anew."""
    mine, there = ((each.record.revision, each.record.draft, each.row) for each in (page.entry, entry))
    if mine != there:
        return True
    try:
        return page.taken != entry.page.path.stat().st_mtime_ns
    except OSError:  # the image is gone, the page is still open
        return False
