"""One page read as a person corrected it: the stages after each correction, with the code of predict.py.

What a correction leaves as it was is kept from the reading before: the grid, the landmarks, and stage 2's
maps of every strip that is the same.
"""

import zlib
from collections import OrderedDict
from collections.abc import Callable, Hashable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from configs.layouts import COMPETITION_ROWS, leads_from_rows
from configs.page import DURATION_S
from digitization.digitizer import Digitized, Digitizer
from digitization.geometry.lines import refine_lattice
from digitization.geometry.locate import PageNotFound
from digitization.geometry.orientation import (
    apply_orientation,
    orient_points,
    points_to_upright,
    shape_of_upright,
    undo_orientation,
)
from digitization.geometry.paper import PaperGrid
from digitization.geometry.rectify import rectify
from digitization.geometry.straight_paper import is_inside
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.finder import is_inverted
from digitization.layout.landmarks import Landmarks
from digitization.layout.page import NOTHING_KNOWN, Known, LayoutPage
from digitization.layout.reading import fill_unread, read_page, unread_samples
from digitization.signal.decode import RowTraces, rows_from_traces
from digitization.signal.limb_leads import reconcile_limbs
from digitization.signal.quality import confidence_at
from digitization.signal.tracer import PLAIN, Tracer, TraceResult, View
from review.corrections import Corrections
from review.grid import lattice_of_rectangle, move_crossings, nearest_nodes, refit_lattice
from review.places import FoundPage, Places
from review.rows import as_layout_page, correct_rows, known_of, place_rows
from review.traces import Redrawing

KEPT_MAPS = 12  # stage 2's maps kept, 25 MB each: those of a page of twelve rows, before and after
KEPT_STEPS = 6  # results kept of each other step, so that undoing takes no time
BESIDE_PX = 20.0  # px of a strip beside a trace, 0.25 mV, at which its paper is seen
Value = TypeVar("Value")


class Kept:
    """The latest results of a function, by the values that they follow from."""

    def __init__(self, most: int):
        self.most = most
        self.results: OrderedDict[Hashable, object] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The result kept under a key, made where there is none."""
        if key not in self.results:
            self.results[key] = make()
            while len(self.results) > self.most:
                self.results.popitem(last=False)
        self.results.move_to_end(key)
        return self.results[key]  # type: ignore[return-value]


class RememberingTracer(Tracer):
    """A Tracer that keeps stage 2's maps and traces of the strips that it saw last."""

    def __init__(self, tracer: Tracer):
        self.__dict__.update(tracer.__dict__)
        self.kept, self.decoded, self.strips = Kept(KEPT_MAPS), Kept(KEPT_MAPS), Kept(KEPT_MAPS)

    def lay_out(self, image: np.ndarray, *places: Any) -> np.ndarray:
        def resample() -> np.ndarray:
            return super(RememberingTracer, self).lay_out(image, *places)

        key = (image[::16, ::16], *map(np.asarray, places))  # some of its pixels tell an image from others
        return self.strips.get(tuple(map(checksum, key)), resample)

    def maps(self, net: nn.Module, rect: np.ndarray, view: View = PLAIN) -> torch.Tensor:
        def see() -> torch.Tensor:
            return super(RememberingTracer, self).maps(net, rect, view)

        return self.kept.get((id(net), view, checksum(rect)), see)

    def read_all(self, rect: np.ndarray, group=COMPETITION_ROWS) -> RowTraces:
        def read() -> RowTraces:
            return super(RememberingTracer, self).read_all(rect, group)

        return self.decoded.get((checksum(rect), group), read)


@dataclass(frozen=True)
class Paper:
    """The paper of a page: its upright image (H, W, 3) uint8 RGB, dark on light, its orientation and grid."""

    upright: np.ndarray
    orientation: int
    grid: PaperGrid


class PageReader:
    """Reads one image (H, W, 3) uint8 RGB as it is corrected; `known` is what was known before of the page.

    first: the page as predict.py reads it; None, with a reason, where it finds none.
    """

    def __init__(self, digitizer: Digitizer, image: np.ndarray, fs: int, known: Known = NOTHING_KNOWN):
        self.digitizer, self.image, self.fs, self.known = copy(digitizer), image, fs, known
        self.tracers = RememberingTracer(digitizer.tracer), RememberingTracer(digitizer.layout_tracer)
        self.digitizer.tracer, self.digitizer.layout_tracer = self.tracers
        self.turned = Kept(2)
        self.papers, self.seen, self.placed = Kept(KEPT_STEPS), Kept(KEPT_STEPS), Kept(KEPT_STEPS)
        self.first: Digitized | None = None
        self.reason = ""
        try:
            self.first = self.digitizer(image, fs, known)
        except PageNotFound as error:
            self.reason = str(error)
        self.is_inverted = self.looks_inverted()
        self.alone = Kept(1)  # the grid of an image in which no page was found
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

        def turn() -> np.ndarray:
            return undo_orientation(255 - self.image if self.is_inverted else self.image, orientation)

        return self.turned.get((orientation, self.is_inverted), turn)

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
        """The rows of a page by the landmarks on its paper."""
        landmarks = self.landmarks(paper)
        finder = self.digitizer.finder
        first_time = self.first is None  # the first reading searched for print in vain, or found it
        return place_rows(finder, paper.upright, paper.orientation, paper.grid, landmarks, known, first_time)

    def landmarks(self, paper: Paper) -> Landmarks:
        key = (paper.orientation, checksum(paper.grid.gridpoint_xy))
        return self.seen.get(key, lambda: self.digitizer.finder.see(paper.upright, paper.grid.gridpoint_xy))

    def rectify_anew(self, page: RectifiedPage, corrections: Corrections) -> RectifiedPage:
        """A page of the competition whose grid is moved."""
        paper = self.paper(corrections)
        rect = rectify(paper.upright, paper.grid.gridpoint_xy, slip=page.slip)
        return replace(page, gridpoint_xy=paper.grid.gridpoint_xy, rect=rect)

    def paper(self, corrections: Corrections) -> Paper:
        """The paper with its orientation and grid as corrected. Raises PageNotFound without a grid."""
        key = (corrections.orientation, corrections.rectangle, corrections.crossings)
        return self.papers.get(key, lambda: self.find_paper(corrections))

    def find_paper(self, corrections: Corrections) -> Paper:
        first = None if self.first is None else self.first.page
        net, device = self.digitizer.finder.stage1_net, self.digitizer.finder.device
        shape = self.image.shape
        if first is None and corrections.rectangle is None:
            orientation, lattice, seen, probability = self.grid_alone()
        elif first is None:
            orientation, lattice, seen, probability = 0, np.zeros((2, 2, 2)), np.ones((2, 2), bool), 1.0
        else:
            orientation, lattice, seen = first.orientation, first.gridpoint_xy, first.seen
            probability = first.page_score
        if corrections.orientation is not None:
            lattice = turn_lattice(lattice, orientation, corrections.orientation, shape)
            seen = undo_orientation(apply_orientation(seen, orientation), corrections.orientation)
            orientation = corrections.orientation
        upright = self.upright(orientation)
        if corrections.rectangle is not None:
            corners = points_to_upright(np.array(corrections.rectangle.corners), orientation, shape)
            sides = corrections.rectangle.across, corrections.rectangle.down
            lattice = lattice_of_rectangle(corners, *sides, upright.shape)
            lattice, seen = refit_lattice(upright, lattice, net, device)
        if corrections.crossings:
            places = Places(orientation, lattice, self.image.shape)
            nodes = nearest_nodes(
                places.to_squares([crossing.found for crossing in corrections.crossings]), lattice.shape
            )
            true = np.array([crossing.true for crossing in corrections.crossings])
            points = points_to_upright(true, orientation, self.image.shape)
            lattice = move_crossings(lattice, nodes, points)
            lattice, seen = refit_lattice(upright, lattice, net, device, nodes)
        return Paper(upright, orientation, PaperGrid(lattice, seen, 1.0, probability))

    def grid_alone(self) -> tuple[int, np.ndarray, np.ndarray, float]:
        """Orientation, lattice, seen crossings and probability of the paper where nothing else was found.

        Raises PageNotFound where there is no grid either.
        """

        def find() -> tuple[int, np.ndarray, np.ndarray, float]:
            image, grid = self.digitizer.finder.find_grid(self.image)
            self.is_inverted = image is not self.image
            orientation, upright, grid, _ = self.digitizer.finder.turn(image, grid)
            lattice = refine_lattice(upright, grid.gridpoint_xy)
            return orientation, lattice, grid.seen, grid.probability

        return self.alone.get("grid", find)


def checksum(array: np.ndarray) -> int:
    """A number that is the same for the same contents, and hardly ever for others."""
    return zlib.crc32(np.ascontiguousarray(array).data)


def turn_lattice(gridpoint_xy: np.ndarray, before: int, after: int, shape: tuple[int, ...]) -> np.ndarray:
    """A lattice (R, C, 2) px of the upright image of one orientation, as of another; shape is the image's."""
    if before == after:
        return gridpoint_xy
    in_image = orient_points(gridpoint_xy, before, shape_of_upright(before, shape))
    in_image = apply_orientation(in_image, before)
    return undo_orientation(points_to_upright(in_image, after, shape), after)
