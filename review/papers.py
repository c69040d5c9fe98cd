"""The paper of a page as a person corrected it: turned, its grid marked, its crossings dragged."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

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
from digitization.layout.finder import LayoutFinder
from review.corrections import MAX_ITEMS, Corrections, Crossing
from review.grid import lattice_of_rectangle, move_crossings, nearest_nodes, refit_lattice
from review.kept import Kept
from review.places import FoundPage, Places

KEPT_PAPERS = 6  # papers kept, so that undoing takes no time


@dataclass(frozen=True)
class Paper:
    """The paper of a page: its upright image (H, W, 3) uint8 RGB, dark on light, its orientation and grid."""

    upright: np.ndarray
    orientation: int
    grid: PaperGrid


@dataclass(frozen=True)
class Dragged:
    """A lattice after some of its crossings were dragged.

    gridpoint_xy: (R, C, 2) px of the upright image; seen: (R, C) bool, which of its nodes are seen.
    moved_by: (column, row) of the nodes that were dragged -> by how many squares.
    """

    gridpoint_xy: np.ndarray
    seen: np.ndarray
    moved_by: Mapping[tuple[int, int], float]


class PaperFinder:
    """Finds the paper in an image (H, W, 3) uint8 RGB as it is corrected; `first` is the page found in it.

    is_inverted: whether its ink is lighter than its paper.
    """

    def __init__(self, finder: LayoutFinder, image: np.ndarray, first: FoundPage | None, is_inverted: bool):
        self.finder, self.image, self.first, self.is_inverted = finder, image, first, is_inverted
        self.turned, self.papers = Kept(2), Kept(KEPT_PAPERS)
        self.alone = Kept(1)  # the grid of an image in which no page was found
        self.dragged = Kept(MAX_ITEMS)  # 20 kB each

    def upright(self, orientation: int) -> np.ndarray:
        """The image with an orientation undone, dark on light."""

        def turn() -> np.ndarray:
            return undo_orientation(255 - self.image if self.is_inverted else self.image, orientation)

        return self.turned.get((orientation, self.is_inverted), turn)

    def paper(self, corrections: Corrections) -> Paper:
        """The paper with its orientation and grid as corrected. Raises PageNotFound without a grid."""
        key = (corrections.orientation, corrections.rectangle, corrections.crossings)
        return self.papers.get(key, lambda: self.find(corrections))

    def find(self, corrections: Corrections) -> Paper:
        """As `paper`, not kept."""
        shape = self.image.shape
        if corrections.crossings:
            paper = self.paper(replace(corrections, crossings=()))
            dragged = self.drag(paper, corrections)
            grid = replace(paper.grid, gridpoint_xy=dragged.gridpoint_xy, seen=dragged.seen)
            return replace(paper, grid=grid)
        if self.first is None and corrections.rectangle is None:
            orientation, lattice, seen, probability = self.grid_alone()
        elif self.first is None:
            orientation, lattice, seen, probability = 0, np.zeros((2, 2, 2)), np.ones((2, 2), bool), 1.0
        else:
            orientation, lattice, seen = self.first.orientation, self.first.gridpoint_xy, self.first.seen
            probability = self.first.page_score
        if corrections.orientation is not None:
            lattice = turn_lattice(lattice, orientation, corrections.orientation, shape)
            seen = undo_orientation(apply_orientation(seen, orientation), corrections.orientation)
            orientation = corrections.orientation
        upright = self.upright(orientation)
        if corrections.rectangle is not None:
            corners = points_to_upright(np.array(corrections.rectangle.corners), orientation, shape)
            sides = corrections.rectangle.across, corrections.rectangle.down
            lattice = lattice_of_rectangle(corners, *sides, upright.shape)
            nodes = nearest_nodes(Places(0, lattice, upright.shape).to_squares(corners), lattice.shape)
            lattice, seen = self.refit(upright, lattice, nodes)
        return Paper(upright, orientation, PaperGrid(lattice, seen, 1.0, probability))

    def refit(
        self, upright: np.ndarray, lattice: np.ndarray, nodes: np.ndarray, moved_by: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        return refit_lattice(upright, lattice, self.finder.stage1_net, self.finder.device, nodes, moved_by)

    def drag(self, paper: Paper, corrections: Corrections) -> Dragged:
        """The lattice of a paper with the crossings dragged, one after the other."""
        dragged = Dragged(paper.grid.gridpoint_xy, paper.grid.seen, {})
        for count, crossing in enumerate(corrections.crossings, start=1):
            key = (corrections.orientation, corrections.rectangle, corrections.crossings[:count])
            dragged = self.dragged.get(key, partial(self.drag_one, paper, dragged, crossing))
        return dragged

    def drag_one(self, paper: Paper, before: Dragged, crossing: Crossing) -> Dragged:
        """A lattice with one crossing more dragged; those dragged before stay where they are."""
        lattice = before.gridpoint_xy
        places = Places(paper.orientation, lattice, self.image.shape)
        found, true = places.to_squares([crossing.found, crossing.true])
        column, row = nearest_nodes(found[None], lattice.shape)[0].tolist()
        moved_by = {**before.moved_by, (column, row): float(np.hypot(*(true - found)))}
        nodes = np.array(list(moved_by))
        points = lattice[nodes[:, 1], nodes[:, 0]].astype(np.float64)
        here = (nodes == (column, row)).all(axis=1)
        points[here] = points_to_upright(np.array(crossing.true), paper.orientation, self.image.shape)
        bent = move_crossings(lattice, nodes, points)
        distances = np.array(list(moved_by.values()))
        return Dragged(*self.refit(paper.upright, bent, nodes, distances), moved_by)

    def nodes_dragged(self, corrections: Corrections) -> list[list[int]]:
        """The [column, row] of the nodes of the lattice that were dragged; none where no grid is found."""
        if not corrections.crossings:
            return []
        try:
            paper = self.paper(replace(corrections, crossings=()))
        except PageNotFound:
            return []
        return [list(node) for node in self.drag(paper, corrections).moved_by]

    def grid_alone(self) -> tuple[int, np.ndarray, np.ndarray, float]:
        """Orientation, lattice, seen crossings and probability of the paper where nothing else was found.

        Raises PageNotFound where there is no grid either.
        """

        def find() -> tuple[int, np.ndarray, np.ndarray, float]:
            image, grid = self.finder.find_grid(self.image)
            self.is_inverted = image is not self.image
            orientation, upright, grid, _ = self.finder.turn(image, grid)
            lattice = refine_lattice(upright, grid.gridpoint_xy)
            return orientation, lattice, grid.seen, grid.probability

        return self.alone.get("grid", find)


def turn_lattice(gridpoint_xy: np.ndarray, before: int, after: int, shape: tuple[int, ...]) -> np.ndarray:
    """A lattice (R, C, 2) px of the upright image of one orientation, as of another; shape is the image's."""
    if before == after:
        return gridpoint_xy
    in_image = orient_points(gridpoint_xy, before, shape_of_upright(before, shape))
    in_image = apply_orientation(in_image, before)
    return undo_orientation(points_to_upright(in_image, after, shape), after)
