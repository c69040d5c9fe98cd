"""Stage 0's samples: the whole image at any orientation, its turn, and a map of its lead names."""

import cv2
import numpy as np

from configs.page import LEAD_MARKERS
from configs.stage0 import ORIENTATIONS, Stage0Config
from datasets.augmentation import vary_colours
from synthesis import Capture
from synthesis.signals import Record
from utils.upright import turn, turn_points

MIRRORED_SHARE = 0.15  # rarer than quarter turns, in training as in life


def draw_markers(points: np.ndarray, height: int, width: int, radius: float) -> np.ndarray:
    """(13, 2) points to a (height, width) uint8 map of classes: 0, or 1 + the marker's index in a disc."""
    classes = np.zeros((height, width), np.uint8)
    for index in range(len(LEAD_MARKERS)):
        x, y = np.round(points[index] * 16).astype(int)
        cv2.circle(classes, (int(x), int(y)), round(radius * 16), index + 1, -1, shift=4)
    return classes


class Stage0Samples:
    """Pages shrunk to the input size; each sample is turned, scaled, shifted and coloured anew."""

    def __init__(self, config: Stage0Config, stride: int):
        self.config, self.stride = config, stride

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        height, width = capture.image.shape[:2]
        scale = self.config.input_width / max(height, width)
        size = (round(width * scale), round(height * scale))
        image = cv2.resize(capture.image, size, interpolation=cv2.INTER_AREA)
        return {"image": image, "points": (capture.leadpoint_xy + 0.5) * scale - 0.5}

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        mirrored = rng.random() < MIRRORED_SHARE
        orientation = int(rng.integers(ORIENTATIONS // 2)) + (ORIENTATIONS // 2 if mirrored else 0)
        height, width = page["image"].shape[:2]
        image = turn(page["image"], orientation)
        points = turn_points(page["points"], orientation, (height, width))
        side = -(-self.config.input_width // 32) * 32
        scale = rng.uniform(0.6, 1.0) if rng.random() < 0.5 else 1.0
        angle = rng.normal(0, 4) if rng.random() < 0.5 else 0.0
        slack = (1 - scale) * self.config.input_width
        place = cv2.getRotationMatrix2D((0, 0), angle, scale)
        place[:, 2] += rng.uniform(0, 1, 2) * slack
        warped = cv2.warpAffine(image, place, (side, side), flags=cv2.INTER_LINEAR, borderValue=(0, 0, 0))
        points = points @ place[:, :2].T + place[:, 2]
        output = (points + 0.5) / self.stride - 0.5
        radius = max(self.config.marker_radius / self.stride * scale, 1.5)
        classes = draw_markers(output, side // self.stride, side // self.stride, radius)
        return vary_colours(warped, rng), classes, np.int64(orientation)[None]
