"""Stage 0 decoded: its maps as lead-label keypoints of the image."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from configs.page import LEAD_LABELS
from configs.stage0 import ORIENTATIONS, Stage0Config
from digitization.geometry.orientation import flipped_class
from models.tensors import to_tensor
from utils.rescaling import Rescaling, rescale

INPUT_MULTIPLE = 32  # px, of the sides of the network's input
MIN_OBJECTNESS = 0.3  # probability at a lead label's peak below which it is left out


@dataclass(frozen=True)
class Stage0Input:
    """An image as stage 0 is shown it.

    tensor: (1, 3, H, W) float32 in 0..1, H and W multiples of 32.
    rescaling: from px of the image to px of the input.
    """

    tensor: torch.Tensor
    rescaling: Rescaling


def prepare_input(image: np.ndarray, config) -> Stage0Input:
    """An (H, W, 3) uint8 image scaled as the Stage0Config says, zeros padded at the right and the bottom."""
    height, width = image.shape[:2]
    scale = config.input_width / (width if config.scale_by == "width" else max(height, width))
    rescaling = Rescaling.by(image.shape, scale)
    right, bottom = (-side % INPUT_MULTIPLE for side in rescaling.size)
    padded = np.pad(rescaling.image(image), ((0, bottom), (0, right), (0, 0)))
    return Stage0Input(to_tensor(padded), rescaling)


def stage0_config(net: torch.nn.Module) -> Stage0Config:
    """The configuration from which stage 0's network, or its stand-in in another process, was built."""
    config = net.config
    assert isinstance(config, Stage0Config)
    return config


@torch.inference_mode()
def run_stage0(
    net: torch.nn.Module, tensor: torch.Tensor, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the label classes (14, h, w), class 0 for none, and of the orientations (8,), float32.

    With net.config.flips both are averaged over the image as it is, flipped left-right, up-down and both.
    """
    flips = ((), (3,), (2,), (2, 3)) if stage0_config(net).flips else ((),)
    label_map, orientation = torch.zeros(()), torch.zeros(())
    for flip in flips:
        output = net(torch.flip(tensor, flip).to(device))
        label_map = label_map + torch.flip(output["marker"].float().softmax(dim=1), flip)[0]
        order = [flipped_class(k, left_right=3 in flip, up_down=2 in flip) for k in range(ORIENTATIONS)]
        orientation = orientation + output["orientation"].float().softmax(dim=1)[0, order]
    return (label_map / len(flips)).cpu().numpy(), (orientation / len(flips)).cpu().numpy()


def find_keypoints(probability: np.ndarray, stride: float, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """The lead labels in stage 0's maps: keypoints (13, 2) float32 px of the input, and objectness (13,).

    probability (14, h, w) has class 0 for none, `stride` is px of the input per px of the maps; the weighted
    centroid is taken within `radius`, px of the input, of each peak. Doubtful ones are NaN, of objectness 0.
    """
    keypoints = np.full((len(LEAD_LABELS), 2), np.nan, np.float32)
    objectness = np.zeros(len(LEAD_LABELS), np.float32)
    reach = max(int(np.ceil(radius / stride)), 2)
    for index, found in enumerate(probability[1:]):
        smooth = cv2.blur(found, (3, 3))
        y, x = np.unravel_index(smooth.argmax(), smooth.shape)
        if not smooth[y, x] >= MIN_OBJECTNESS:  # NaN is doubtful too
            continue
        objectness[index] = smooth[y, x]
        keypoints[index] = rescale(refine_centroid(found, x, y, reach), stride)
    return keypoints, objectness


def refine_centroid(found: np.ndarray, x: float, y: float, reach: int) -> np.ndarray:
    """The centroid (x, y) of an (h, w) map within `reach` of a place; NaN where the map is empty."""
    for _ in range(2):  # the second window is centred better than on the peak of a plateau
        top, left = max(round(y) - reach, 0), max(round(x) - reach, 0)
        window = found[top : round(y) + reach + 1, left : round(x) + reach + 1]
        weight = window.sum(dtype=np.float64)
        if not weight > 0:
            return np.full(2, np.nan)
        y = top + window.sum(axis=1) @ np.arange(window.shape[0]) / weight
        x = left + window.sum(axis=0) @ np.arange(window.shape[1]) / weight
    return np.array([x, y])


def find_keypoints_near(
    probability: np.ndarray, expected: np.ndarray, stride: float, radius: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lead labels of any class near where the layout expects each: keypoints, objectness, class probability.

    Once the page is roughly known, the place of a label says which lead it is better than its letters do.
    `expected` is (13, 2) px of the input, the rest as in `find_keypoints`. The class probability (13,) is the
    highest of the expected class within `radius`.
    """
    labelled = 1 - probability[0]
    labelled[labelled < MIN_OBJECTNESS] = 0
    keypoints = np.full((len(LEAD_LABELS), 2), np.nan, np.float32)
    objectness, class_probability = np.zeros((2, len(LEAD_LABELS)), np.float32)
    height, width = labelled.shape
    reach = max(int(np.ceil(radius / stride)), 2)
    for index, (x, y) in enumerate(rescale(expected, 1 / stride)):
        if not (0 <= x < width and 0 <= y < height):
            continue
        x, y = refine_centroid(labelled, x, y, reach)
        if np.isfinite(x) and labelled[round(y), round(x)] >= MIN_OBJECTNESS:
            keypoints[index] = rescale(np.array([x, y]), stride)
            objectness[index] = labelled[round(y), round(x)]
            about = [slice(max(round(centre) - reach, 0), round(centre) + reach + 1) for centre in (y, x)]
            class_probability[index] = probability[1 + index][tuple(about)].max()
    return keypoints, objectness, class_probability
