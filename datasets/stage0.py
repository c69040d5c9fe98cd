"""Stage 0's samples: a whole image in any orientation, that orientation, and a map of its lead labels."""

import cv2
import numpy as np

from configs.stage0 import Stage0Config
from datasets.augmentation import augment_colours
from digitization.geometry.orientation import apply_orientation, orient_points
from synthesis import Capture
from synthesis.layouts.capture import LayoutCapture
from synthesis.signals import Record
from utils.rescaling import Rescaling, rescale

# Share of upright samples. Lead labels are learnt upright only: prediction undoes the orientation first.
UPRIGHT_SHARE = 0.75
ROTATED_ORIENTATIONS = (1, 2, 3, 1, 2, 3, 4, 5, 6, 7)  # rotations are twice as frequent as mirrored ones


def draw_keypoints(classes: np.ndarray, points: np.ndarray, radius: float) -> None:
    """Draw a disc of the value 1 + k around the k-th of (13, 2) points, in place, on an (h, w) uint8 map."""
    for index, (x, y) in enumerate(np.round(points * 16).astype(int)):
        cv2.circle(classes, (int(x), int(y)), round(radius * 16), index + 1, -1, shift=4)


class Stage0Samples:
    """Images resized to the network's input; each sample has its own geometry, colours and orientation.

    A sample is (image (H, W, 3) uint8, classes (H / stride, W / stride) uint8, orientation (1,) int in 0..7).
    A class is 0 for the background and 1 + k for the k-th lead label.
    """

    def __init__(self, config: Stage0Config, stride: int):
        self.config, self.stride = config, stride

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        shape = capture.image.shape
        rescaling = Rescaling.by(shape, self.config.input_width / max(shape))
        return {"image": rescaling.image(capture.image), "points": rescaling.points(capture.leadpoint_xy)}

    def prepare_layout(self, capture: LayoutCapture, record: Record, rng: np.random.Generator) -> dict:
        """Raises ValueError: this stage learns from the competition's layout alone."""
        raise ValueError("layout_share: only stage 2 learns from other layouts")

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        orientation = 0 if rng.random() < UPRIGHT_SHARE else int(rng.choice(ROTATED_ORIENTATIONS))
        image = apply_orientation(page["image"], orientation)
        points = orient_points(page["points"], orientation, page["image"].shape[:2])
        width, height = self.config.input_width, self.config.canvas_height
        scale = rng.uniform(0.6, 1.0) if self.config.geometric_augmentation and rng.random() < 0.4 else 1.0
        angle = rng.normal(0, 4) if self.config.geometric_augmentation and rng.random() < 0.4 else 0.0
        affine: np.ndarray = cv2.getRotationMatrix2D((0, 0), angle, scale)
        spread = np.array([image.shape[1], image.shape[0]]) * scale
        slack = np.array([width, height]) - spread
        shift = (
            rng.uniform(np.minimum(slack, 0), np.maximum(slack, 0))
            if self.config.geometric_augmentation
            else slack / 2
        )
        if slack[1] < 0:  # too tall for the canvas: keep the lead labels inside
            shift[1] = height / 2 - scale * points[:, 1].mean()
        affine[:, 2] += shift
        warped = cv2.warpAffine(image, affine, (width, height), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
        classes = np.zeros((height // self.stride, width // self.stride), np.uint8)
        if orientation == 0:
            points = points @ affine[:, :2].T + affine[:, 2]
            radius = max(self.config.keypoint_radius / self.stride * scale, 1.5)
            draw_keypoints(classes, rescale(points, 1 / self.stride), radius)
        image = augment_colours(warped, rng) if self.config.colour_augmentation else warped
        return image, classes, np.array([orientation])
