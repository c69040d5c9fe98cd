"""The networks of pages of any layout in the training loop: that of the landmarks, that of the close-ups."""

import numpy as np
import torch

from configs.close_ups import PX_PER_SQUARE
from datasets.close_ups import CloseUpSamples
from datasets.landmarks import LandmarkSamples
from models.checkpoint import CLOSE_UPS, LANDMARKS
from models.close_ups import CloseUpsNet
from models.landmarks import LandmarksNet
from models.tensors import to_tensor
from training.losses import close_ups_loss, landmarks_loss
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


class TrainCloseUps(Stage[CloseUpsNet, torch.Tensor]):
    number, network = CLOSE_UPS, CloseUpsNet

    def samples(self, net: CloseUpsNet) -> CloseUpSamples:
        return CloseUpSamples(net.config)

    def loss(self, output: torch.Tensor, target: list[torch.Tensor], net: CloseUpsNet) -> torch.Tensor:
        place, column = target
        return close_ups_loss(output, place, column, net.config)

    @torch.no_grad()
    def validate(
        self, net: CloseUpsNet, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        """The negative loss; the median error in squares, and the share of places found within CLOSE."""
        losses, errors = [], []
        for page in pages:
            image, *target = page.sample
            output = net(to_tensor(image).to(device))
            place, column = (torch.from_numpy(part)[None].to(device) for part in target)
            losses.append(float(self.loss(output, [place, column], net)))
            errors.append(abs(float(output[0, place[0, 0]].argmax() - column[0, 0])) / PX_PER_SQUARE)
        off = np.array(errors)
        facts = {"loss": float(np.mean(losses)), "median error": float(np.nanmedian(off))}
        facts["close"] = float(np.mean(off <= CLOSE))
        return -facts["loss"], facts
