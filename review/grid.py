"""The grid of a page by a few of its crossings: bent there smoothly, then numbered anew from them.

Where a lattice is wrong it has mostly lost count of the squares. So the crossings that stage 1 sees are
numbered again, neighbour by neighbour, from those given: one that is dragged mends all that hang together.
"""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from scipy.spatial import cKDTree

from configs.stage1 import FRAME_PX_PER_SQUARE
from digitization.geometry.lattice import GROWTH_RADIUS, GROWTH_TOLERANCE, grow_labels
from digitization.geometry.lines import refine_lattice
from digitization.geometry.locate import PageNotFound
from digitization.geometry.paper import MIN_POINTS, Crossings, see_crossings
from digitization.geometry.projective import map_points
from digitization.geometry.row_strips import lattice_points
from digitization.geometry.straight_paper import is_inside, straighten_paper
from digitization.geometry.surface import fit_smoothest_plate, fit_thin_plate, reject_outliers
from review.corrections import MAX_SQUARES

GIVEN_WEIGHT = 1e4  # weight of a crossing given against one as it was found: it moves by less than 1 %
BEND_SQUARES = 3.0  # squares about a crossing given in which the lattice follows it
SNAP_SQUARES = 0.25  # squares, 1.2 mm, within which a crossing that stage 1 sees is the one that is meant
SNAP_SHARE = 0.5  # share of the way that it was moved by within which it is: else it was seen wrongly before
PINNED_WEIGHT = 30.0  # weight of a crossing given that is not seen against one that is
PINNED_REACH = 1.5  # squares about it in which crossings seen do not count
MIN_SQUARE_PX = 4.0  # px, side of a square below which no grid can be seen
MAX_ROUNDS = 3  # of numbering: on paper that is straightened better stage 1 sees more crossings
MOVED_SQUARES = 0.2  # squares by which a lattice has to have moved for another round


def move_crossings(gridpoint_xy: np.ndarray, nodes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A lattice (R, C, 2) px bent smoothly so that nodes (N, 2) int, (column, row), are at points (N, 2)."""
    offsets = np.zeros((*gridpoint_xy.shape[:2], 2))
    weight = np.ones(gridpoint_xy.shape[:2])
    for (column, row), point in zip(nodes, points, strict=True):
        offsets[row, column] = point - gridpoint_xy[row, column]
        weight[row, column] = GIVEN_WEIGHT
    bend, _ = fit_thin_plate(offsets, weight, BEND_SQUARES**4)
    return (gridpoint_xy + bend).astype(np.float32)


def nearest_nodes(squares: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """The nodes (N, 2) int, (column, row), of a lattice (R, C) nearest to places (N, 2) in squares."""
    return np.round(squares).astype(int).clip(0, (shape[1] - 1, shape[0] - 1))


def lattice_of_rectangle(
    corners: Sequence | np.ndarray, across: int, down: int, shape: tuple[int, ...]
) -> np.ndarray:
    """A lattice (R, C, 2) float32 px over all of an upright image (height, width), by a rectangle on it.

    corners (4, 2) px: top left, top right, bottom right, bottom left, `across` and `down` squares apart.
    Raises PageNotFound where they are no rectangle of squares that are large enough.
    """
    corners = np.asarray(corners, np.float32)
    squares = np.array([(0, 0), (across, 0), (across, down), (0, down)], np.float32)
    sides = np.linalg.norm(np.roll(corners, -1, axis=0) - corners, axis=1) / (across, down, across, down)
    if sides.min() < MIN_SQUARE_PX or not cv2.isContourConvex(corners):
        raise PageNotFound("the four corners are not those of a rectangle of the grid")
    to_px = cv2.getPerspectiveTransform(squares, corners).astype(np.float64)
    axes = []
    for axis, extent in ((0, across), (1, down)):
        line = np.arange(-MAX_SQUARES, MAX_SQUARES + extent + 1)
        on_line = np.full((len(line), 2), (across / 2, down / 2))
        on_line[:, axis] = line
        ahead = (np.column_stack([on_line, np.ones(len(line))]) @ to_px[2]) > 0  # not beyond the horizon
        shown = line[ahead & is_inside(map_points(on_line, to_px), shape)]
        axes.append(np.arange(min(shown.min(initial=0), 0), max(shown.max(initial=extent), extent) + 1))
    return map_points(np.stack(np.meshgrid(*axes), axis=-1), to_px).astype(np.float32)


def refit_lattice(
    upright: np.ndarray,
    gridpoint_xy: np.ndarray,
    net: torch.nn.Module,
    device: torch.device | str = "cpu",
    given: np.ndarray | None = None,
    moved_by: np.ndarray | None = None,
) -> tuple[np.ndarray, np.ndarray]:
    """A lattice (R, C, 2) px moved onto the crossings that stage 1 sees on an upright image.

    given: (N, 2) int, (column, row) of nodes that are in place; the crossings are numbered from them on.
    moved_by: (N,) squares by which a person moved them; those that are not seen where they were moved to stay
    there. None where they are only roughly in place.
    Also returns which nodes are seen, (R, C) bool. Where too few are seen the lattice stays as it is.
    """
    rows, columns = gridpoint_xy.shape[:2]
    seen = np.zeros((rows, columns), bool)
    down, across = np.mgrid[:rows, :columns]
    nodes = np.stack([across, down], axis=-1).astype(np.float64)
    for _ in range(MAX_ROUNDS):
        paper = straighten_paper(upright, gridpoint_xy, FRAME_PX_PER_SQUARE)
        crossings = see_crossings(paper.image, net, device)
        squares = paper.to_squares(crossings.points)
        pinned = np.zeros((0, 2), int)
        if given is not None and moved_by is not None:
            pinned = unseen_of(given, moved_by, squares)
        offsets, weight = number_seen(squares, crossings, nodes, given, pinned)
        if (weight > 0).sum() < MIN_POINTS:
            break
        # The surface is that of the paper as it lies in the image, not of a lattice that may be bent sharply.
        even, _ = cv2.findHomography(nodes.reshape(-1, 2), gridpoint_xy.reshape(-1, 2).astype(np.float64))
        right, below = (nodes + offsets).reshape(-1, 2).T
        places = map_points(lattice_points(gridpoint_xy, below, right), np.linalg.inv(even))
        offsets = (places.reshape(nodes.shape) - nodes) * FRAME_PX_PER_SQUARE
        seen, _ = reject_outliers(offsets, weight > 0)
        weight = np.where(seen, weight, 0.0)
        weight[pinned[:, 1], pinned[:, 0]] = PINNED_WEIGHT
        surface = fit_smoothest_plate(offsets, weight) / FRAME_PX_PER_SQUARE
        before, gridpoint_xy = gridpoint_xy, map_points(nodes + surface, even).astype(np.float32)
        square_px = np.linalg.norm(np.diff(before, axis=1), axis=-1).mean()
        if np.linalg.norm(gridpoint_xy - before, axis=-1).max() < MOVED_SQUARES * square_px:
            break
    return (refine_lattice(upright, gridpoint_xy) if seen.any() else gridpoint_xy), seen


def unseen_of(given: np.ndarray, moved_by: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """The nodes (N, 2) given, moved by so many squares, near which none of the crossings (M, 2) is seen."""
    if not len(squares):
        return given
    distance, _ = cKDTree(squares).query(given)
    return given[distance > np.minimum(SNAP_SQUARES, SNAP_SHARE * moved_by)]


def number_seen(
    squares: np.ndarray, crossings: Crossings, nodes: np.ndarray, given: np.ndarray | None, pinned: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The offsets (R, C, 2) in squares of crossings (N, 2) from their nodes, and weights (R, C), 0 if unseen.

    They are numbered from the nodes given on; those that hang together with none of them by their place.
    """
    label = np.full(nodes.shape[:2], -1)
    free = np.ones(len(squares), bool)
    tree = cKDTree(squares) if len(squares) else None
    for column, row in pinned:
        free &= np.hypot(*(squares - (column, row)).T) > PINNED_REACH
    if tree is not None and given is not None and len(given):
        distance, nearest = tree.query(given)
        for (column, row), index in zip(given, nearest, strict=True):
            near = np.hypot(*(squares[index] - (column, row))) < GROWTH_TOLERANCE
            if near and free[index]:
                label[row, column] = index
        if (label >= 0).any():
            scale = FRAME_PX_PER_SQUARE
            label = grow_labels(squares * scale, label, free, nodes * scale)
    if tree is not None:
        reach = np.ones(2 * (2 * GROWTH_RADIUS + 1,), np.uint8)
        apart = cv2.dilate((label >= 0).astype(np.uint8), reach) == 0
        distance, nearest = tree.query(nodes)
        apart &= (distance < GROWTH_TOLERANCE) & free[nearest]
        label[apart] = nearest[apart]
    labelled = label >= 0
    offsets = np.zeros(nodes.shape)
    offsets[labelled] = squares[label[labelled]] - nodes[labelled]
    weight = np.zeros(label.shape)
    weight[labelled] = crossings.probability[label[labelled]]
    return offsets, weight
