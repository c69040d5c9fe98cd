"""From a photo or scan to the rectified page: stage 0, stage 1 and the resampling."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from configs.layouts import COMPETITION, Layout
from configs.page import GRID_COLUMNS, RECTIFIED, Canvas
from configs.stage1 import FRAME_PX_PER_SQUARE
from digitization.geometry.calibration import Calibration, calibrate
from digitization.geometry.find_slip import find_slip
from digitization.geometry.frame import REFERENCE
from digitization.geometry.grid import GridFound, find_grid, refit_grid
from digitization.geometry.line_profiles import MEASURING
from digitization.geometry.lines import refine_columns
from digitization.geometry.locate import PageLocation, PageNotFound
from digitization.geometry.orientation import undo_orientation
from digitization.geometry.projective import map_points
from digitization.geometry.rectify import outline_of, rectify, rectify_grey, unrectify_points
from digitization.geometry.search import find_pages
from digitization.geometry.slip import Slip

WEAKNESSES = {  # message for the lowest part of the page score, see digitization.geometry.grid
    "points_seen": "few grid points could be seen",
    "smoothness": "the grid points found do not lie on a smooth surface",
    "point_probability": "the grid is faint",
    "labels_on_grid": "lead labels are not where the grid has them",
    "label_classes": "lead labels are hard to read",
    "lead_boundaries": "the leads do not begin and end where the grid has them",
}
MIN_PAGE_SCORE = 0.75  # page score below which a page is doubtful
SLIP_BLUR_SQUARES = 1.5  # squares around a slip within which stage 1 smooths its step away
CERTAIN_PAGE_SCORE = 0.8  # page score from which on no other candidate page is tried


@dataclass(frozen=True)
class RectifiedPage:
    """A rectified page. The upright image is the image with its orientation undone.

    orientation: 0..7, image == apply_orientation(upright, orientation), see orientation.py.
    homography: (3, 3) float64, px of the upright image to px of the stage-1 frame.
    gridpoint_xy: (44, 57, 2) float32 px of the upright image.
    seen: (44, 57) bool, the points that stage 1 saw; the others are filled in by the smooth surface.
    calibration: px per mm in the upright image, and the aspect ratio of the squares.
    page_score: 0..1, confidence in the lattice.
    score_parts: the parts of page_score, name -> 0..1, see digitization.geometry.grid.judge_grid.
    keypoints: (13, 2) float32 px of the upright image, order of LEAD_LABELS, NaN where not found.
    rect: (canvas height, canvas width, 3) uint8 RGB.
    slip: the slices of paper that a slipping scanner lost, None if none is seen; gridpoint_xy and rect
        take it into account.
    """

    orientation: int
    homography: np.ndarray
    gridpoint_xy: np.ndarray
    seen: np.ndarray
    calibration: Calibration
    page_score: float
    score_parts: dict[str, float]
    keypoints: np.ndarray
    rect: np.ndarray
    slip: Slip | None = None

    @property
    def layout(self) -> Layout:
        """The competition's, the only one whose pages are rectified so."""
        return COMPETITION

    @property
    def aspect(self) -> float:
        """The height of a square over its width on the paper."""
        return self.calibration.aspect

    @property
    def outline(self) -> np.ndarray:
        """The edge of the grid as points (N, 2) px of the upright image."""
        return outline_of(self.gridpoint_xy)

    def trace_points(self, row: int, points: np.ndarray) -> np.ndarray:
        """Points (N, 2) px of the rectified page, on the trace of any row, in px of the upright image."""
        return unrectify_points(points, self.gridpoint_xy, slip=self.slip)

    @property
    def doubts(self) -> list[str]:
        """Reasons why the rectified page may be wrong, as sentences; empty if there are none."""
        doubts = []
        if self.page_score < MIN_PAGE_SCORE:
            weakest = min(self.score_parts, key=lambda part: self.score_parts[part])
            doubts.append(f"page score {self.page_score:.2f}: {WEAKNESSES[weakest]}")
        if not self.calibration.fits_paper:
            doubts.append(
                f"squares {self.calibration.aspect:.2f} times as tall as wide, although the signals are "
                "scaled for square ones at 25 mm/s and 10 mm/mV"
            )
        if self.slip and not self.slip.is_placed:
            doubts.append(
                f"the paper slipped in the scanner by {self.slip}, but the exact position cannot be seen"
            )
        return doubts


class Straightener:
    """Stage 0 and stage 1 on a device; `straighten` does everything, the other methods are its steps.

    Each raises PageNotFound, with the reason, for an image in which it finds no page.
    """

    def __init__(
        self,
        stage0_net: torch.nn.Module,
        stage1_net: torch.nn.Module,
        device: torch.device | str = "cpu",
        canvas: Canvas = RECTIFIED,
    ):
        self.device, self.canvas = torch.device(device), canvas
        self.stage0_net = stage0_net.eval().to(self.device)
        self.stage1_net = stage1_net.eval().to(self.device)

    def find_pages(self, image: np.ndarray) -> Iterator[PageLocation]:
        """Stage 0 on the (H, W, 3) uint8 RGB image: where the page may lie, the likeliest first."""
        return find_pages(image, self.stage0_net, self.device)

    def find_grid(self, upright: np.ndarray, page: PageLocation) -> GridFound:
        """Stage 1 on the upright (H, W, 3) uint8 RGB image: the lattice of the page."""
        return find_grid(upright, page, self.stage1_net, self.device)

    def rectify(self, upright: np.ndarray, gridpoint_xy: np.ndarray, slip: Slip | None = None) -> np.ndarray:
        """The upright image resampled: (canvas height, canvas width, 3) uint8."""
        return rectify(upright, gridpoint_xy, self.canvas, slip)

    def straighten(self, image: np.ndarray) -> RectifiedPage:
        """The rectified page of an (H, W, 3) uint8 RGB image in any of the 8 orientations.

        With few lead labels, stage 0 can prefer a wrong orientation; so its candidate pages are tried until
        one has CERTAIN_PAGE_SCORE, else the one with the best score is taken.
        """
        best, reason = None, PageNotFound("no lead labels found")
        for page in self.find_pages(image):
            upright = undo_orientation(image, page.orientation)
            try:
                grid = self.find_grid(upright, page)
            except PageNotFound as error:
                reason = error
                continue
            if best is None or grid.score > best[2].score:
                best = page, upright, grid
            if grid.score >= CERTAIN_PAGE_SCORE:
                break
        if best is None:
            raise reason
        page, upright, grid = best
        gridpoint_xy, slip = grid.gridpoint_xy, None
        measured = rectify_grey(upright, gridpoint_xy, MEASURING)
        sheet, slant = sheet_columns(gridpoint_xy, grid.homography)
        if found := find_slip(measured, sheet, slant):
            slip, places = found
            near = slip.is_near(np.arange(GRID_COLUMNS), SLIP_BLUR_SQUARES)
            gridpoint_xy = refit_grid(grid, places, near)
            measured = rectify_grey(upright, gridpoint_xy, MEASURING, slip)
        gridpoint_xy = refine_columns(gridpoint_xy, measured, slip=slip)
        rect = self.rectify(upright, gridpoint_xy, slip)
        return RectifiedPage(
            orientation=page.orientation,
            homography=page.homography,
            gridpoint_xy=gridpoint_xy,
            seen=grid.seen,
            calibration=calibrate(grid.gridpoint_xy, grid.seen, upright.shape),
            page_score=grid.score,
            score_parts=grid.parts,
            keypoints=page.keypoints,
            rect=rect,
            slip=slip,
        )


def sheet_columns(gridpoint_xy: np.ndarray, homography: np.ndarray) -> tuple[np.ndarray, float]:
    """The positions of the columns of a lattice, (57,) in squares of the stage-1 frame, and its slant.

    gridpoint_xy (44, 57, 2) px of the upright image, homography as in RectifiedPage. The slant is the number
    of columns by which a vertical line of the image moves right from one grid row to the next.
    """
    frame_xy = map_points(gridpoint_xy.astype(np.float64), homography)
    off = (frame_xy[..., 0] - REFERENCE[..., 0]).mean(axis=0) / FRAME_PX_PER_SQUARE
    down = np.diff(gridpoint_xy[..., 0], axis=0).mean(dtype=np.float64)
    across = np.diff(gridpoint_xy[..., 0], axis=1).mean(dtype=np.float64)
    return np.maximum.accumulate(np.arange(GRID_COLUMNS) + off), float(-down / across)
