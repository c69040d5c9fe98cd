"""The network that says where in a close-up a row begins, a lead follows another, or a row ends."""

import torch
from torch import nn

from configs.close_ups import PLACES, CloseUpsConfig
from models.unet import UNet, depth_to_space

KERNEL = 5  # columns over which the profile along the row is convolved


class CloseUpsNet(UNet):
    """Input (B, 3, H, W) float RGB in 0..1, H and W multiples of the coarsest stride, see CLOSE_UP.

    Output (B, len(PLACES), W) logits, for each kind of place those of a softmax over the columns.
    """

    config: CloseUpsConfig

    def __init__(self, config: CloseUpsConfig, pretrained: bool = False):
        super().__init__(config, pretrained)
        channels = config.decoder_channels[-1]
        self.profile = nn.Conv2d(2 * channels, 2 * channels, (1, KERNEL), padding=(0, KERNEL // 2))
        self.head = nn.Conv2d(2 * channels, len(PLACES) * self.decoder.stride[1], kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        decoded = self.decode(self.encode(image))
        columns = torch.cat([decoded.mean(dim=2, keepdim=True), decoded.amax(dim=2, keepdim=True)], dim=1)
        logits = self.head(torch.relu(self.profile(columns)))
        return depth_to_space(logits, self.decoder.stride[1])[:, :, 0]
