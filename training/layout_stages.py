"""The networks of pages of any layout in the training loop: that of the landmarks, that of the boundaries."""

import numpy as np
import torch

from configs.boundaries import PX_PER_SQUARE
from datasets.boundaries import BoundarySamples
from datasets.landmarks import LandmarkSamples
from models.boundaries import BoundariesNet
from models.checkpoint import BOUNDARIES, LANDMARKS
from models.landmarks import LandmarksNet
from models.tensors import to_tensor
from training.losses import boundaries_loss, landmarks_loss
from training.stage import Stage, ValidationPage

CLOSE = 0.05  # squares (10 ms) from its place within which a boundary counts as found


class TrainLandmarks(Stage[LandmarksNet, dict[str, torch.Tensor]]):
    number, network = LANDMARKS, LandmarksNet

    def samples(self, net: LandmarksNet) -> LandmarkSamples:
        return LandmarkSamples(net.config, net.decoder.stride[0])

    def loss(
        self, output: dict[str, torch.Tensor], target: list[torch.Tensor], net: LandmarksNet
    ) -> torch.Tensor:
        classes, maps = target
        return landmarks_loss(output, classes, maps, net.config)

    @torch.no_grad()
    def validate(
        self, net: LandmarksNet, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        """The negative loss; shares of the keypoints' and of the zero lines' pixels that are recognized."""
        losses, keypoints, lines = [], [], []
        for page in pages:
            image, *target = page.sample
            output = net(to_tensor(image).to(device))
            classes, maps = (torch.from_numpy(part)[None].to(device) for part in target)
            losses.append(float(self.loss(output, [classes, maps], net)))
            keypoints.append((output["keypoint"].argmax(1) == classes)[classes > 0])
            lines.append((output["maps"][:, 0] > 0)[maps[:, 0] > 200])
        facts = {"loss": float(np.mean(losses))}
        facts |= {"keypoint": float(torch.cat(keypoints).float().mean())}
        facts |= {"zero line": float(torch.cat(lines).float().mean())}
        return -facts["loss"], facts


class TrainBoundaries(Stage[BoundariesNet, torch.Tensor]):
    number, network = BOUNDARIES, BoundariesNet

    def samples(self, net: BoundariesNet) -> BoundarySamples:
        return BoundarySamples(net.config)

    def loss(self, output: torch.Tensor, target: list[torch.Tensor], net: BoundariesNet) -> torch.Tensor:
        kind, column = target
        return boundaries_loss(output, kind, column, net.config)

    @torch.no_grad()
    def validate(
        self, net: BoundariesNet, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        """The negative loss; the median error in squares, and the share of places found within CLOSE."""
        losses, errors = [], []
        for page in pages:
            image, *target = page.sample
            output = net(to_tensor(image).to(device))
            kind, column = (torch.from_numpy(part)[None].to(device) for part in target)
            losses.append(float(self.loss(output, [kind, column], net)))
            errors.append(abs(float(output[0, kind[0, 0]].argmax() - column[0, 0])) / PX_PER_SQUARE)
        off = np.array(errors)
        facts = {"loss": float(np.mean(losses)), "median error": float(np.nanmedian(off))}
        facts["close"] = float(np.mean(off <= CLOSE))
        return -facts["loss"], facts
