"""The network that finds the landmarks of a page of any layout on its straightened paper."""

import torch
from torch import nn

from configs.landmarks import KEYPOINTS, MAPS, LandmarksConfig
from models.stage0 import NONE_BIAS
from models.unet import UNet

RARE_BIAS = -4.0  # initial logit of the maps, whose targets cover few pixels


class LandmarksNet(UNet):
    """Input (B, 3, H, W) float RGB in 0..1, H and W multiples of 32.

    Output a dict: `keypoint` (B, 1 + len(KEYPOINTS), H/s, W/s) logits of a softmax, class 0 for none; `maps`
    (B, len(MAPS), H/s, W/s) logits of sigmoids.
    """

    config: LandmarksConfig

    def __init__(self, config: LandmarksConfig, pretrained: bool = False):
        super().__init__(config, pretrained)
        self.keypoint = nn.Conv2d(config.decoder_channels[-1], 1 + len(KEYPOINTS), kernel_size=1)
        self.keypoint.bias = nn.Parameter(NONE_BIAS * torch.eye(1, 1 + len(KEYPOINTS))[0])
        self.maps = nn.Conv2d(config.decoder_channels[-1], len(MAPS), kernel_size=1)
        self.maps.bias = nn.Parameter(torch.full((len(MAPS),), RARE_BIAS))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        decoded = self.decode(self.encode(image))
        return {"keypoint": self.keypoint(decoded), "maps": self.maps(decoded)}
