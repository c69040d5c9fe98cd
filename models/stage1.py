"""Stage 1's network: the grid points of the page in the stage-1 frame."""

import torch
from torch import nn

from configs.stage1 import HEAD_CLASSES, Stage1Config
from models.unet import UNet


class Stage1Net(UNet):
    """Input (B, 3, H, W) float RGB in 0..1, H and W multiples of 32.

    Output a dict of logits (B, classes, H/s, W/s), one for each of the config's heads: `gridpoint` and
    `leadend` (sigmoid), `gridhline`, `gridvline` and `marker` (softmax; class 0 for none).
    """

    config: Stage1Config

    def __init__(self, config: Stage1Config, pretrained: bool = False):
        super().__init__(config, pretrained)
        for head in config.heads:
            setattr(self, head, nn.Conv2d(config.decoder_channels[-1], HEAD_CLASSES[head], kernel_size=1))

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        decoded = self.decode(self.encode(image))
        return {head: getattr(self, head)(decoded) for head in self.config.heads}
