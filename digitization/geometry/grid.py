"""Stage 1 decoded: from a map of grid points to the lattice of the page, complete and smooth."""

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from configs.page import GRID_COLUMNS
from configs.stage1 import FRAME_PX_PER_SQUARE, FRAME_WIDTH
from digitization.geometry.frame import MARKER_COLUMNS, MARKER_ROWS, REFERENCE, warp_to_frame
from digitization.geometry.lattice import (
    find_peaks,
    label_peaks,
    renumber,
)
from digitization.geometry.locate import PageFound, PageNotFound
from digitization.geometry.projective import map_points
from digitization.geometry.surface import (
    reject_outliers,
    smooth_best,
)
from models.tensors import to_tensor

BORDER_WEIGHT = 0.1  # of the outer rows and columns, which lie on the paper's edge and are seen worse
RESIDUAL_SCALE = 0.075  # squares, at which the part of the score for smoothness falls to 1/e
MARKER_TOLERANCE = 0.8  # squares between stage 0's lead name and the lattice
CLEAR_SHARE = 0.7  # of the grid points, seen at first look
MORE_LOOKS = 2  # at most
PLAIN_ENDS = 0.6  # mean probability of the lead ends on a plain page
PLAIN_LETTERS = 0.8  # mean probability of the right lead names on a plain page


@dataclass(frozen=True)
class GridFound:
    """The lattice of the page in the unturned image.

    gridpoint_xy: (44, 57, 2) float32 px, finite everywhere; columns and rows outside the paper too.
    seen: (44, 57) bool, points that the network saw and the smooth surface confirmed.
    residual: median distance of the seen points from a smooth surface, in px of the stage-1 frame.
    parts: what is known without truth of how right it is, name -> 0..1; see judge_grid.
    homography: (3, 3) float64, px of the unturned image to px of the stage-1 frame that was looked at.
    offsets: (44, 57, 2) float64 px of the frame, by which the points seen lie off REFERENCE.
    weight: (44, 57) float64, how much each of them counts; 0 where none is seen.
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
        """How far to trust the lattice, 0..1: the geometric mean of the parts."""
        return float(np.prod(list(self.parts.values())) ** (1 / len(self.parts)))


def judge_grid(
    gridpoints: np.ndarray,
    seen: np.ndarray,
    residual: float,
    probability: np.ndarray,
    page: PageFound,
    ends: float,
) -> dict[str, float]:
    """What the lattice (44, 57, 2), seen (44, 57) px of the frame, has for itself, each 0..1.

    points: the share of them that were seen. smooth: falls with their median distance from a smooth surface.
    sure: their mean probability (N,). names: the share of the 13 lead names that lie on the lattice.
    letters: their mean probability of being the right ones, against PLAIN_LETTERS. ends: the mean probability
    of the leads' ends, against PLAIN_ENDS.
    """
    markers = map_points(page.points, page.homography)
    misplaced = np.linalg.norm(markers - gridpoints[MARKER_ROWS, MARKER_COLUMNS], axis=1)
    return {
        "points": float(seen.mean()),
        "smooth": float(np.exp(-residual / (RESIDUAL_SCALE * FRAME_PX_PER_SQUARE))),
        "sure": float(probability.mean()),
        "names": float((misplaced < MARKER_TOLERANCE * FRAME_PX_PER_SQUARE).mean()),
        "letters": min(float(page.letters.mean()) / PLAIN_LETTERS, 1.0),
        "ends": min(ends / PLAIN_ENDS, 1.0),
    }


def decode_grid(probability: np.ndarray, page: PageFound, ends: np.ndarray | None = None) -> GridFound:
    """The lattice from the (h, w) map of grid-point probabilities over the stage-1 frame.

    ends: the (h, w) map of the leads' ends, if the network has one.
    Raises PageNotFound when too few points lie as on a page.
    """
    stride = FRAME_WIDTH / probability.shape[1]
    peaks, peak_probability = find_peaks(probability, stride)
    markers = map_points(page.points, page.homography)
    label = label_peaks(peaks, markers)
    agreement = 1.0
    if ends is not None:
        label, agreement = renumber(peaks, label, ends)
    offsets = peaks[label] - REFERENCE
    seen, residual = reject_outliers(offsets, label >= 0)
    weight = np.where(seen, peak_probability[label], 0.0)
    weight[[0, -1]] *= BORDER_WEIGHT
    weight[:, [0, -1]] *= BORDER_WEIGHT
    frame_xy = REFERENCE + smooth_best(offsets, weight)
    gridpoint_xy = map_points(frame_xy, np.linalg.inv(page.homography)).astype(np.float32)
    parts = judge_grid(frame_xy, seen, residual, peak_probability[label[seen]], page, agreement)
    return GridFound(gridpoint_xy, seen, residual, parts, page.homography, offsets, weight)


def refit_grid(grid: GridFound, places: np.ndarray, near: np.ndarray) -> np.ndarray:
    """The lattice (44, 57, 2) float32 px of the unturned image, of a page whose columns are not even.

    places (44, 57) are those of the columns in each row, in squares of the frame, as their lines were
    measured over all rows at once. What the points seen lie off them is smooth and says how the rows differ.
    Stage 1 takes lines for even, so that points of columns near (57,) bool a step do not count.
    """
    uneven = np.zeros_like(grid.offsets)
    uneven[..., 0] = (places - np.arange(GRID_COLUMNS)) * FRAME_PX_PER_SQUARE
    sheet = smooth_best(grid.offsets - uneven, np.where(near, 0.0, grid.weight))
    mean = sheet[..., 0].mean(axis=0)
    sheet[..., 0] -= mean
    frame_xy = REFERENCE + uneven + sheet
    return map_points(frame_xy, np.linalg.inv(grid.homography)).astype(np.float32)


@torch.inference_mode()
def find_grid(
    upright: np.ndarray, page: PageFound, net: torch.nn.Module, device: torch.device | str = "cpu"
) -> GridFound:
    """The lattice of the page in the unturned (H, W, 3) uint8 image.

    One run of stage 1; where that saw less than CLEAR_SHARE of the points it runs again on the page as the
    points seen straighten it, as long as the score rises. Raises PageNotFound with the reason.
    """
    grid = look(upright, page, net, device)
    for _ in range(MORE_LOOKS):
        if grid.seen.mean() >= CLEAR_SHARE:
            break
        seen = grid.gridpoint_xy[grid.seen].astype(np.float64)
        homography, _ = cv2.findHomography(seen, REFERENCE[grid.seen], cv2.RANSAC, FRAME_PX_PER_SQUARE)
        if homography is None:
            break
        try:
            again = look(upright, replace(page, homography=homography), net, device)
        except PageNotFound:
            break
        if again.score <= grid.score:
            break
        grid = again
    return grid


def look(upright: np.ndarray, page: PageFound, net: torch.nn.Module, device: torch.device | str) -> GridFound:
    """One run of stage 1."""
    tensor = to_tensor(warp_to_frame(upright, page.homography)).to(device)
    maps = {head: logits[0, 0].float().sigmoid().cpu().numpy() for head, logits in net(tensor).items()}
    return decode_grid(maps["gridpoint"], page, maps.get("leadend"))
