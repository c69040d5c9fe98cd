"""Stage 0 decoded: from its maps to the lead labels as keypoints of the image."""

from dataclasses import dataclass

import cv2
import numpy as np
import torch

from configs.page import LEAD_LABELS
from configs.stage0 import ORIENTATIONS, Stage0Config
from digitization.geometry.orientation import flipped_class
from models.tensors import to_tensor
from utils.rescaling import Rescaling, rescale

INPUT_MULTIPLE = 32  # px, of which the sides of the network's input are multiples
MIN_OBJECTNESS = 0.3  # probability at its peak below which a lead label is left out


@dataclass(frozen=True)
class Stage0Input:
    """An image as the input of stage 0.

    tensor: (1, 3, H, W) float32 in 0..1, H and W multiples of 32.
    rescaling: from px of the image to px of the input.
    """

    tensor: torch.Tensor
    rescaling: Rescaling


def prepare_input(image: np.ndarray, config) -> Stage0Input:
    """An (H, W, 3) uint8 RGB image scaled as its Stage0Config says, padded right and below with zeros."""
    height, width = image.shape[:2]
    scale = config.input_width / (width if config.scale_by == "width" else max(height, width))
    rescaling = Rescaling.by(image.shape, scale)
    right, bottom = (-side % INPUT_MULTIPLE for side in rescaling.size)
    padded = np.pad(rescaling.image(image), ((0, bottom), (0, right), (0, 0)))
    return Stage0Input(to_tensor(padded), rescaling)


def stage0_config(net: torch.nn.Module) -> Stage0Config:
    """The configuration of stage 0's network, or of the proxy of a network in another process."""
    config = net.config
    assert isinstance(config, Stage0Config)
    return config


@torch.inference_mode()
def run_stage0(
    net: torch.nn.Module, tensor: torch.Tensor, device: torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of the label classes (14, h, w), class 0 for none, and of the orientations (8,), float32.

    tensor is that of Stage0Input. With net.config.flips both are averaged over the image and its three flips.
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

    probability (14, h, w) has class 0 for none; `stride` is px of the input per px of the maps. A keypoint is
    the weighted centroid within `radius`, px of the input, of its peak. Labels below MIN_OBJECTNESS are NaN,
    of objectness 0.
    """
    keypoints = np.full((len(LEAD_LABELS), 2), np.nan, np.float32)
    objectness = np.zeros(len(LEAD_LABELS), np.float32)
    reach = max(int(np.ceil(radius / stride)), 2)
    for index, found in enumerate(probability[1:]):
        smooth = cv2.blur(found, (3, 3))
        y, x = np.unravel_index(smooth.argmax(), smooth.shape)
        if not smooth[y, x] >= MIN_OBJECTNESS:  # written so that NaN is left out too
            continue
        objectness[index] = smooth[y, x]
        keypoints[index] = rescale(refine_centroid(found, x, y, reach), stride)
    return keypoints, objectness


def refine_centroid(found: np.ndarray, x: float, y: float, reach: int) -> np.ndarray:
    """The centroid (x, y) of a map (h, w) within `reach` px of a point x, y; NaN where the map is empty."""
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
    """Lead labels of any class near their expected positions: keypoints, objectness and class probability.

    Once the page is roughly located, the position of a label identifies its lead better than its text does.
    `expected` is (13, 2) px of the input, the rest as in `find_keypoints`. The class probability (13,) is the
    maximum of the expected class within `radius`.
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
