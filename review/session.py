"""The pages that are open in browsers, and what is being done to them, one thing at a time."""

import time
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import numpy as np

from digitization.digitizer import Digitized
from digitization.geometry.locate import PageNotFound
from digitization.options import DigitizerOptions
from prediction.pages import explain
from prediction.pdf_files import read_page_image
from review.actions import PAPER_ACTIONS, act
from review.corrections import Corrections
from review.kept import Kept
from review.reading import PageReader
from review.record import SAVED
from review.store import Entry, Stale, Store
from utils.device import choose_device, choose_precision, limit_threads
from utils.workers import call_here

MAX_OPEN = 3  # pages kept in memory, up to 0.5 GB each; those with unsaved changes are kept beyond that
KEPT_PICTURES = 2  # pictures kept of each page: as it is and as it was


@dataclass
class OpenPage:
    """A page and its draft: the corrections as they are in the browser.

    revision: changes with every change of the draft; a browser says which one it shows.
    shown: the page as corrected; None, with a reason, where it cannot be read so.
    before: the page before the last change. seconds: how long that change took.
    is_kept: whether the draft is in the folder too, where it outlives the server.
    """

    entry: Entry
    image: np.ndarray
    reader: PageReader
    corrections: Corrections
    shown: Digitized | None = None
    reason: str = ""
    before: Digitized | None = None
    seconds: float = 0.0
    revision: int = 1
    undone: list[Corrections] = field(default_factory=list)
    is_kept: bool = True
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
        self.revision += 1

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
                future = self.thread.submit(self.load, entry)
                self.pages[entry.id] = future
            self.pages.move_to_end(entry.id)
            self.close_others()
            return future

    @staticmethod
    def is_outdated(future: "Future[OpenPage]", entry: Entry) -> bool:
        """Whether an open page is not the one in the folder any more, or could not be opened before."""
        if not future.done():
            return False
        if future.exception() is not None:
            return True
        page = future.result()
        other = (
            page.entry.record.revision != entry.record.revision
            or page.entry.row["image"] != entry.row["image"]
        )
        return other and page.is_saved

    def close_others(self) -> None:
        """Forget the pages used longest ago, unless they are being read or have unsaved changes."""
        for page_id in list(self.pages)[: max(len(self.pages) - MAX_OPEN, 0)]:
            future = self.pages[page_id]
            if future.done() and (future.exception() is not None or future.result().is_saved):
                del self.pages[page_id]

    def load(self, entry: Entry) -> OpenPage:
        """Read a page's image, digitize it as predict.py does, and apply the corrections saved before."""
        if entry.problem:
            raise ValueError(entry.problem)
        page = entry.page
        try:
            image = read_page_image(page.path, entry.number, entry.known)
        except ValueError as error:
            raise ValueError(f"{explain(error, page.path)} ({page.path})") from error
        reader = PageReader(self.digitizer, image, page.fs, entry.known)
        saved, draft = entry.record.corrections, entry.record.draft
        corrections = saved if draft is None else draft
        opened = OpenPage(entry, image, reader, corrections, reader.first, reader.reason)
        if draft is not None:
            opened.undone.append(saved)
        if corrections != Corrections():
            try:
                opened.shown, opened.reason = reader.read(corrections), ""
            except ValueError as error:
                opened.shown, opened.reason = None, f"the corrections saved do not fit: {error}"
        opened.before = reader.first
        return opened

    def act(self, page: OpenPage, action: Any, revision: int) -> None:
        """Change an open page, see OpenPage.act, and keep its draft in the folder where that is possible."""
        page.act(action, revision)
        try:
            page.entry = self.store.keep_draft(page.entry, page.corrections)
            page.is_kept = True
        except (ValueError, OSError):  # while predict.py writes there, or where the disk is full
            page.is_kept = False

    def save(self, page: OpenPage, revision: int, who: str, accepted: bool) -> None:
        """Save an open page. Raises Stale, ValueError and OSError, see Store.save; the draft stays."""
        page.check(revision)
        if page.shown is None:
            raise ValueError("a page that cannot be read cannot be saved, only be set aside")
        page.entry = self.store.save(
            page.entry, page.corrections, page.shown, page.image, who, accepted, self.networks
        )
        page.revision += 1

    def set_aside(self, page: OpenPage, revision: int, who: str) -> None:
        """Mark an open page as one in which there is nothing to be read. Raises as `save`."""
        page.check(revision)
        if page.shown is not None:
            raise ValueError("a page that is read is not set aside")
        page.entry = self.store.set_aside(page.entry, page.reason, who, self.networks)
        page.corrections = page.entry.record.corrections
        page.revision += 1
