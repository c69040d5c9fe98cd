"""The grid of a page by a few of its crossings: moved there smoothly, then refitted to what stage 1 sees."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch

from configs.stage1 import FRAME_PX_PER_SQUARE
from digitization.geometry.lines import refine_lattice
from digitization.geometry.locate import PageNotFound
from digitization.geometry.paper import MIN_POINTS, see_crossings
from digitization.geometry.projective import map_points
from digitization.geometry.row_strips import lattice_points
from digitization.geometry.straight_paper import is_inside, straighten_paper
from digitization.geometry.surface import fit_smoothest_plate, fit_thin_plate, reject_outliers
from review.corrections import MAX_SQUARES

FOUND_WEIGHT = 0.002  # weight of a crossing as found against one given: a hundred of them give way to it
GIVEN_WEIGHT = 30.0  # weight of a crossing given against one that stage 1 sees
BEND_SMOOTHING = 0.5  # smoothing of the displacement: it reaches about ten squares about a crossing
NEAR_SQUARES = 0.35  # squares from its place within which a crossing that stage 1 sees is that of the lattice
MIN_SQUARE_PX = 4.0  # px, side of a square below which no grid can be seen
GIVEN_REACH = 1.5  # squares about a crossing given in which those seen elsewhere do not count


def move_crossings(gridpoint_xy: np.ndarray, nodes: np.ndarray, points: np.ndarray) -> np.ndarray:
    """A lattice (R, C, 2) px bent smoothly so that nodes (N, 2) int, (column, row), are at points (N, 2)."""
    offsets = np.zeros((*gridpoint_xy.shape[:2], 2))
    weight = np.full(gridpoint_xy.shape[:2], FOUND_WEIGHT)
    for (column, row), point in zip(nodes, points, strict=True):
        offsets[row, column] = point - gridpoint_xy[row, column]
        weight[row, column] = 1.0
    bend, _ = fit_thin_plate(offsets, weight, BEND_SMOOTHING * FOUND_WEIGHT)
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
) -> tuple[np.ndarray, np.ndarray]:
    """A lattice (R, C, 2) px moved onto the crossings that stage 1 sees near it on an upright image.

    given: (N, 2) int, (column, row) of the nodes that stay where they are. Also returns which nodes are seen,
    (R, C) bool. Where too few are seen the lattice stays as it is.
    """
    rows, columns = gridpoint_xy.shape[:2]
    paper = straighten_paper(upright, gridpoint_xy, FRAME_PX_PER_SQUARE)
    crossings = see_crossings(paper.image, net, device)
    squares = paper.to_squares(crossings.points)
    nodes = np.round(squares).astype(int)
    off = squares - nodes
    near = (np.abs(off) < NEAR_SQUARES).all(axis=1)
    near &= ((nodes >= 0) & (nodes < (columns, rows))).all(axis=1)
    offsets, weight = np.zeros((rows, columns, 2)), np.zeros((rows, columns))
    for index in np.flatnonzero(near):
        column, row = nodes[index]
        if crossings.probability[index] > weight[row, column]:
            offsets[row, column] = off[index] * FRAME_PX_PER_SQUARE
            weight[row, column] = crossings.probability[index]
    if given is not None:
        across, down = np.meshgrid(np.arange(columns), np.arange(rows))
        for column, row in given:
            weight[np.hypot(across - column, down - row) <= GIVEN_REACH] = 0
    labelled = weight > 0
    if labelled.sum() < MIN_POINTS:
        return gridpoint_xy, labelled
    confirmed, _ = reject_outliers(offsets, labelled)
    weight = np.where(confirmed, weight, 0.0)
    if given is not None:
        offsets[given[:, 1], given[:, 0]], weight[given[:, 1], given[:, 0]] = 0, GIVEN_WEIGHT
    surface = fit_smoothest_plate(offsets, weight) / FRAME_PX_PER_SQUARE
    down, across = np.mgrid[:rows, :columns]
    moved = lattice_points(gridpoint_xy, (down + surface[..., 1]).ravel(), (across + surface[..., 0]).ravel())
    moved = moved.reshape(rows, columns, 2).astype(np.float32)
    return refine_lattice(upright, moved), confirmed
