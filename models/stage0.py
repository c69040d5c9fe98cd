"""Stage 0's network: orientation of the image and maps of the thirteen lead labels."""

import torch
from torch import nn

from configs.stage0 import KEYPOINT_CLASSES, ORIENTATIONS, Stage0Config
from models.unet import UNet

NONE_BIAS = 5.0  # initial logit of class 0: nearly every pixel is of it, so this saves the first steps


class Stage0Net(UNet):
    """Input (B, 3, H, W) float RGB in 0..1, H and W multiples of 32.

    Output a dict: `marker` (B, 14, H/s, W/s) logits, class 0 for none, then the lead labels in the order
    of LEAD_LABELS; `orientation` (B, 8) logits.
    """

    config: Stage0Config

    def __init__(self, config: Stage0Config, pretrained: bool = False):
        super().__init__(config, pretrained)
        self.marker = nn.Conv2d(config.decoder_channels[-1], KEYPOINT_CLASSES, kernel_size=1)
        self.marker.bias = nn.Parameter(NONE_BIAS * torch.eye(1, KEYPOINT_CLASSES)[0])
        self.orientation = nn.Linear(self.coarsest_channels, ORIENTATIONS)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.encode(image)
        return {
            "marker": self.marker(self.decode(features)),
            "orientation": self.orientation(features[-1].mean(dim=(2, 3))),
        }
