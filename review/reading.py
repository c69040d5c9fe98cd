"""One page read as a person corrected it: the stages after each correction, with the code of predict.py.

What a correction leaves as it was is kept from the reading before: the grid, the landmarks, and stage 2's
maps of every strip that is the same.
"""

from contextlib import suppress
from copy import copy
from dataclasses import replace

import numpy as np

from configs.layouts import COMPETITION_ROWS, leads_from_rows
from configs.page import DURATION_S
from digitization.digitizer import Digitized, Digitizer
from digitization.geometry.locate import PageNotFound
from digitization.geometry.orientation import (
    undo_orientation,
)
from digitization.geometry.rectify import rectify
from digitization.geometry.straight_paper import is_inside
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.finder import is_inverted
from digitization.layout.landmarks import Landmarks
from digitization.layout.page import NOTHING_KNOWN, Known, LayoutPage
from digitization.layout.reading import fill_unread, read_page, unread_samples
from digitization.signal.decode import rows_from_traces
from digitization.signal.limb_leads import reconcile_limbs
from digitization.signal.quality import confidence_at
from digitization.signal.tracer import TraceResult
from review.corrections import Corrections
from review.kept import Kept, RememberingTracer, checksum
from review.papers import Paper, PaperFinder
from review.places import FoundPage
from review.rows import as_layout_page, correct_rows, known_of, place_rows
from review.traces import Redrawing

KEPT_STEPS = 6  # results kept of each other step, so that undoing takes no time
BESIDE_PX = 20.0  # px of a strip beside a trace, 0.25 mV, at which its paper is seen


class PageReader:
    """Reads one image (H, W, 3) uint8 RGB as it is corrected; `known` is what was known before of the page.

    first: the page as predict.py reads it; None, with a reason, where it finds none.
    """

    def __init__(self, digitizer: Digitizer, image: np.ndarray, fs: int, known: Known = NOTHING_KNOWN):
        self.digitizer, self.image, self.fs, self.known = copy(digitizer), image, fs, known
        self.tracers = RememberingTracer(digitizer.tracer), RememberingTracer(digitizer.layout_tracer)
        self.digitizer.tracer, self.digitizer.layout_tracer = self.tracers
        self.seen, self.placed = Kept(KEPT_STEPS), Kept(KEPT_STEPS)
        self.first: Digitized | None = None
        self.reason = ""
        try:
            self.first = self.digitizer(image, fs, known)
        except PageNotFound as error:
            self.reason = str(error)
        first = None if self.first is None else self.first.page
        self.papers = PaperFinder(self.digitizer.finder, image, first, self.looks_inverted())
        if self.first is None:
            with suppress(PageNotFound):
                self.landmarks(self.paper(Corrections()))

    def looks_inverted(self) -> bool:
        """Whether the ink is lighter than its paper, by the first row's trace or else by the image."""
        if self.first is None or isinstance(self.first.page, RectifiedPage):
            return self.first is None and is_inverted(self.image)
        page, y = self.first.page, self.first.trace_result.y[0]
        columns = np.flatnonzero(np.isfinite(y))
        upright = undo_orientation(self.image, page.orientation)
        grey = []
        for beside in (0.0, BESIDE_PX):
            points = page.trace_points(0, np.stack([columns, y[columns] + beside], axis=1))
            x, down = np.round(points[is_inside(points, upright.shape)]).astype(int).T
            grey.append(np.median(upright[down, x]) if len(x) else 0)
        return bool(grey[0] > grey[1])

    def upright(self, orientation: int) -> np.ndarray:
        """The image with an orientation undone, dark on light."""
        return self.papers.upright(orientation)

    def paper(self, corrections: Corrections) -> Paper:
        """The paper with its orientation and grid as corrected. Raises PageNotFound without a grid."""
        return self.papers.paper(corrections)

    def read(self, corrections: Corrections) -> Digitized:
        """The page as corrected. Raises PageNotFound or ValueError where it cannot be read so."""
        if corrections == Corrections() and self.first is not None:
            return self.first
        redrawing = Redrawing(corrections.stretches, self.image.shape)
        page = self.page(corrections)
        upright = self.upright(page.orientation)
        if isinstance(page, RectifiedPage):
            return self.read_competition(page, redrawing)
        page, result = read_page(self.tracers[1], upright, page, self.fs, redrawing)
        leads = leads_from_rows(result.rows, page.layout)
        return Digitized(leads, self.fs, page, result)

    def read_competition(self, page: RectifiedPage, redrawing: Redrawing) -> Digitized:
        """A page of the competition whose rows are where they always are."""
        rows = list(range(len(COMPETITION_ROWS.rows)))
        traces = redrawing(page, rows, page.rect, self.tracers[0].read_all(page.rect))
        length = int(DURATION_S * self.fs)
        read = rows_from_traces(fill_unread(traces.y), length)
        unread = unread_samples(traces.y, length, page.layout)
        compared = np.where(unread.any(axis=0), 0, read)
        found, residuals = reconcile_limbs(compared, confidence_at(traces.confidence, length))
        found = np.where(unread.any(axis=0), np.where(unread, np.nan, read), found)
        reasons = () if self.first is None else self.first.reasons
        return Digitized(
            leads_from_rows(found), self.fs, page, TraceResult(found, *traces, residuals), reasons
        )

    def page(self, corrections: Corrections) -> FoundPage:
        """The page with its grid and its rows as corrected, yet to be read."""
        key = replace(corrections, stretches=())
        return self.placed.get(key, lambda: self.place(key))

    def place(self, corrections: Corrections) -> FoundPage:
        first = self.first
        if first is None or corrections.moves_page:
            return self.place_anew(corrections)
        page = first.page
        if isinstance(page, RectifiedPage) and not corrections.moves_rows:
            return self.rectify_anew(page, corrections) if corrections.crossings else page
        named = as_layout_page(page) if isinstance(page, RectifiedPage) else page
        plain = replace(named, strip_labels=())  # its strips are named already
        same_layout = corrections.layout in (None, plain.layout.name)
        if corrections.crossings:
            paper = self.paper(corrections)
            plain = replace(plain, gridpoint_xy=paper.grid.gridpoint_xy)
        if not same_layout:
            paper = self.paper(corrections)
            known = known_of(corrections, self.known, plain)
            plain = self.find_rows(paper, known)
        return correct_rows(plain, corrections, self.image.shape)

    def place_anew(self, corrections: Corrections) -> LayoutPage:
        """A page that was turned, or whose grid is given: all that follows is found again."""
        found = self.find_rows(self.paper(corrections), known_of(corrections, self.known, None))
        return correct_rows(found, corrections, self.image.shape)

    def find_rows(self, paper: Paper, known: Known) -> LayoutPage:
        """The rows of a page by the landmarks on its paper.

        Its margins are not searched for print, which takes ten seconds: a speed or gain that is not seen is
        doubted, and the person who corrects the page sees what is printed there.
        """
        landmarks = self.landmarks(paper)
        finder = self.digitizer.finder
        return place_rows(finder, paper.upright, paper.orientation, paper.grid, landmarks, known)

    def landmarks(self, paper: Paper) -> Landmarks:
        key = (paper.orientation, checksum(paper.grid.gridpoint_xy))
        return self.seen.get(key, lambda: self.digitizer.finder.see(paper.upright, paper.grid.gridpoint_xy))

    def rectify_anew(self, page: RectifiedPage, corrections: Corrections) -> RectifiedPage:
        """A page of the competition whose grid is moved."""
        paper = self.paper(corrections)
        rect = rectify(paper.upright, paper.grid.gridpoint_xy, slip=page.slip)
        return replace(page, gridpoint_xy=paper.grid.gridpoint_xy, rect=rect)
