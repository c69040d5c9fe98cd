"""Stage 1 decoded: from a grid-point map to the complete, smooth lattice of the page."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from configs.page import GRID_COLUMNS
from configs.stage1 import FRAME_PX_PER_SQUARE, FRAME_WIDTH
from digitization.geometry.frame import LABEL_COLUMNS, LABEL_ROWS, REFERENCE, warp_to_frame
from digitization.geometry.lattice import (
    correct_grid_offset,
    find_peaks,
    label_peaks,
)
from digitization.geometry.locate import PageLocation, PageNotFound
from digitization.geometry.projective import map_points
from digitization.geometry.surface import (
    fit_smoothest_plate,
    reject_outliers,
)
from models.tensors import to_tensor

BORDER_WEIGHT = 0.1  # weight of the points in the outermost rows and columns, seen worse at the paper's edge
RESIDUAL_SCALE = 0.075  # squares, median residual at which the smoothness falls to 1/e
KEYPOINT_TOLERANCE = 0.8  # squares, greatest distance of a lead label from its place on the lattice
CLEAR_PAGE_SHARE = 0.7  # share of the grid points seen from which on stage 1 is not run again
MAX_RERUNS = 2  # greatest number of further runs of stage 1 on a page of which it sees little
PLAIN_BOUNDARY_PROBABILITY = 0.6  # mean probability of the lead boundaries on a page seen clearly
PLAIN_CLASS_PROBABILITY = 0.8  # mean class probability of the lead labels on a page seen clearly


@dataclass(frozen=True)
class GridFound:
    """The lattice of the page in the upright image.

    gridpoint_xy: (44, 57, 2) float32 px, finite everywhere; columns and rows outside the paper too.
    seen: (44, 57) bool, points that the network saw and that are inliers of the smooth surface.
    residual: median distance of the seen points from a smooth surface, in px of the stage-1 frame.
    parts: quality measures that need no ground truth, name -> 0..1; see judge_grid.
    homography: (3, 3) float64, px of the upright image to px of the stage-1 frame of this run.
    offsets: (44, 57, 2) float64 px of the frame, displacements of the points seen from REFERENCE.
    weight: (44, 57) float64, their weights; 0 where no point is seen.
    """

    gridpoint_xy: np.ndarray
    seen: np.ndarray
    residual: float
    parts: dict[str, float]
    homography: np.ndarray
    offsets: np.ndarray
    weight: np.ndarray

    @property
    def score(self) -> float:
        """Confidence in the lattice, 0..1: the geometric mean of the parts."""
        return float(np.prod(list(self.parts.values())) ** (1 / len(self.parts)))


def judge_grid(
    gridpoints: np.ndarray,
    seen: np.ndarray,
    residual: float,
    probability: np.ndarray,
    page: PageLocation,
    boundaries: float,
) -> dict[str, float]:
    """Quality measures of the lattice `gridpoints` (44, 57, 2), px of the frame, each in 0..1.

    points_seen: the share of the grid points seen (44, 57).
    smoothness: falls with `residual`, their median distance from a smooth surface in px of the frame.
    point_probability: their mean probability (N,).
    labels_on_grid: the share of the 13 lead labels that lie where the lattice has them.
    label_classes: their mean class probability relative to that of a page seen clearly.
    lead_boundaries: the mean probability of the lead boundaries, likewise.
    """
    keypoints = map_points(page.keypoints, page.homography)
    misplaced = np.linalg.norm(keypoints - gridpoints[LABEL_ROWS, LABEL_COLUMNS], axis=1)
    return {
        "points_seen": float(seen.mean()),
        "smoothness": float(np.exp(-residual / (RESIDUAL_SCALE * FRAME_PX_PER_SQUARE))),
        "point_probability": float(probability.mean()),
        "labels_on_grid": float((misplaced < KEYPOINT_TOLERANCE * FRAME_PX_PER_SQUARE).mean()),
        "label_classes": min(float(page.class_probability.mean()) / PLAIN_CLASS_PROBABILITY, 1.0),
        "lead_boundaries": min(boundaries / PLAIN_BOUNDARY_PROBABILITY, 1.0),
    }


def decode_grid(
    probability: np.ndarray, page: PageLocation, boundaries: np.ndarray | None = None
) -> GridFound:
    """The lattice from the (h, w) map of grid-point probabilities over the stage-1 frame.

    `boundaries` is the (h, w) map of lead-boundary probabilities, if the network has one.
    Raises PageNotFound when too few points form a grid.
    """
    stride = FRAME_WIDTH / probability.shape[1]
    peaks, peak_probability = find_peaks(probability, stride)
    keypoints = map_points(page.keypoints, page.homography)
    label = label_peaks(peaks, keypoints)
    agreement = 1.0
    if boundaries is not None:
        label, agreement = correct_grid_offset(peaks, label, boundaries)
    offsets = peaks[label] - REFERENCE
    seen, residual = reject_outliers(offsets, label >= 0)
    weight = np.where(seen, peak_probability[label], 0.0)
    weight[[0, -1]] *= BORDER_WEIGHT
    weight[:, [0, -1]] *= BORDER_WEIGHT
    frame_xy = REFERENCE + fit_smoothest_plate(offsets, weight)
    gridpoint_xy = map_points(frame_xy, np.linalg.inv(page.homography)).astype(np.float32)
    parts = judge_grid(frame_xy, seen, residual, peak_probability[label[seen]], page, agreement)
    return GridFound(gridpoint_xy, seen, residual, parts, page.homography, offsets, weight)


def refit_grid(grid: GridFound, places: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The lattice (44, 57, 2) float32 px of the upright image of a page with unevenly spaced columns.

    places (44, 57) are the positions of the columns in each row, in squares of the frame, measured on the
    lines over all rows. The smooth deviations of the points seen give the differences between the rows.
    Stage 1 assumes even lines, so points in columns near (57,) bool a step are left out.
    """
    uneven = np.zeros_like(grid.offsets)
    uneven[..., 0] = (places - np.arange(GRID_COLUMNS)) * FRAME_PX_PER_SQUARE
    sheet = fit_smoothest_plate(grid.offsets - uneven, np.where(near, 0.0, grid.weight))
    mean = sheet[..., 0].mean(axis=0)
    sheet[..., 0] -= mean
    frame_xy = REFERENCE + uneven + sheet
    return map_points(frame_xy, np.linalg.inv(grid.homography)).astype(np.float32)


@torch.inference_mode()
def find_grid(
    upright: np.ndarray, page: PageLocation, net: torch.nn.Module, device: torch.device | str = "cpu"
) -> GridFound:
    """The lattice of the page in the upright (H, W, 3) uint8 image.

    Stage 1 runs once; if it sees less than CLEAR_PAGE_SHARE of the points it runs again under a homography
    fitted to these, as long as the score rises. Raises PageNotFound with the reason.
    """
    grid = run_stage1(upright, page, net, device)
    for _ in range(MAX_RERUNS):
        if grid.seen.mean() >= CLEAR_PAGE_SHARE:
            break
        seen = grid.gridpoint_xy[grid.seen].astype(np.float64)
        homography, _ = cv2.findHomography(seen, REFERENCE[grid.seen], cv2.RANSAC, FRAME_PX_PER_SQUARE)
        if homography is None:
            break
        try:
            again = run_stage1(upright, replace(page, homography=homography), net, device)
        except PageNotFound:
            break
        if again.score <= grid.score:
            break
        grid = again
    return grid


def run_stage1(
    upright: np.ndarray, page: PageLocation, net: torch.nn.Module, device: torch.device | str
) -> GridFound:
    """One run of stage 1 on the upright image (H, W, 3) uint8 RGB; arguments as in find_grid."""
    tensor = to_tensor(warp_to_frame(upright, page.homography)).to(device)
    maps = {head: logits[0, 0].float().sigmoid().cpu().numpy() for head, logits in net(tensor).items()}
    return decode_grid(maps["gridpoint"], page, maps.get("leadend"))
