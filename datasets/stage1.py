"""Stage 1's samples: crops of the page in the stage-1 frame, and maps of grid points and lead boundaries."""

import cv2
import numpy as np

from configs.page import LEAD_BOUNDARIES, LEAD_LABEL_POINTS
from configs.stage1 import FRAME_HEIGHT, FRAME_WIDTH, Stage1Config, reference_points
from datasets.augmentation import augment_colours
from digitization.geometry.frame import warp_to_frame
from digitization.geometry.rectify import lattice_at
from synthesis import Capture
from synthesis.layouts.capture import LayoutCapture
from synthesis.signals import Record
from utils.rescaling import rescale


def draw_points(points: np.ndarray, side: int, sigma: float) -> np.ndarray:
    """A map (side, side) float16 with a Gaussian of peak 1, `sigma` px wide, at each of (N, 2) px points."""
    image = np.zeros((side, side), np.float32)
    reach = int(np.ceil(3 * sigma))
    for x, y in points:
        left, top = round(x) - reach, round(y) - reach
        xs = np.arange(max(left, 0), min(left + 2 * reach + 1, side))
        ys = np.arange(max(top, 0), min(top + 2 * reach + 1, side))
        if len(xs) and len(ys):
            blob = np.exp(-((ys[:, None] - y) ** 2 + (xs[None] - x) ** 2) / (2 * sigma**2))
            window = image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
            np.maximum(window, blob, out=window)
    return image.astype(np.float16)


class Stage1Samples:
    """Pages warped by a homography with errors like stage 0's; each sample is a crop with its own colours.

    A sample is (image (crop, crop, 3) uint8, target (2, crop / stride, crop / stride) float16).
    """

    def __init__(self, config: Stage1Config, stride: int):
        self.config, self.stride = config, stride

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        square = np.linalg.norm(np.diff(capture.gridpoint_xy[26, 20:22], axis=0))
        found = capture.leadpoint_xy + rng.normal(
            0, self.config.keypoint_error * square, capture.leadpoint_xy.shape
        )
        homography, _ = cv2.findHomography(found, reference_points(LEAD_LABEL_POINTS))
        flat = capture.gridpoint_xy.reshape(1, -1, 2).astype(np.float64)
        points = cv2.perspectiveTransform(flat, homography)[0]
        height, width = capture.image.shape[:2]
        inside = ((flat[0] > 0) & (flat[0] < (width - 1, height - 1))).all(axis=1)
        image = warp_to_frame(capture.image, homography)
        ends = lattice_at(points.reshape(capture.gridpoint_xy.shape), np.array(LEAD_BOUNDARIES))
        return {"image": image, "points": points[inside], "ends": ends}

    def prepare_layout(self, capture: LayoutCapture, record: Record, rng: np.random.Generator) -> dict:
        """Raises ValueError: this stage learns from the competition's layout alone."""
        raise ValueError("layout_share: only stage 2 learns from other layouts")

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        crop = self.config.crop
        left = rng.integers(0, FRAME_WIDTH - crop + 1)
        top = rng.integers(0, FRAME_HEIGHT - crop + 1)
        image = page["image"][top : top + crop, left : left + crop]
        target = [
            self.draw(page["points"] - (left, top), self.config.point_sigma),
            self.draw(page["ends"] - (left, top), self.config.boundary_sigma),
        ]
        image = np.ascontiguousarray(image)
        return augment_colours(image, rng) if self.config.colour_augmentation else image, np.stack(target)

    def draw(self, points: np.ndarray, sigma: float) -> np.ndarray:
        """A map of points (N, 2), in px of the crop, at the network's output stride; `sigma` is in px too."""
        crop, margin = self.config.crop, 3 * sigma
        near = points[((points > -margin) & (points < crop + margin)).all(axis=1)]
        return draw_points(rescale(near, 1 / self.stride), crop // self.stride, sigma / self.stride)
