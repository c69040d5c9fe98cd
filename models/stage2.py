"""Stage 2's network: the traces of the four rows on the rectified page."""

import torch
from torch import nn

from configs.page import RECTIFIED
from configs.stage2 import CROP_TOP, ROW_CHANNELS, Stage2Config
from models.unet import UNet, depth_to_space
from utils.rescaling import rescale


class Stage2Net(UNet):
    """Input (B, 3, H, W) float RGB in 0..1: the rectified page without its header, or some columns of it.

    Output (B, 4, H / row_stride, W) logits: channel r is the trace of row r from the top. The output has all
    columns of the input; `row_stride` is the height of an output bin in px.
    """

    config: Stage2Config

    def __init__(self, config: Stage2Config, pretrained: bool = False):
        super().__init__(config, pretrained, extra_channels=int(config.row_coordinate))
        self.row_stride, self.column_stride = self.decoder.stride
        self.head = nn.Conv2d(config.decoder_channels[-1], ROW_CHANNELS * self.column_stride, kernel_size=1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        features = self.encode(image)
        if self.config.row_coordinate:
            coarse = features[-1]
            y = torch.linspace(-1, 1, coarse.shape[2], device=coarse.device, dtype=coarse.dtype)
            y = y[None, None, :, None].expand(coarse.shape[0], 1, -1, coarse.shape[3])
            features[-1] = torch.cat([coarse, y], dim=1)
        logits = depth_to_space(self.head(self.decode(features)), self.column_stride)
        if self.config.prior_mv:
            logits = logits + row_prior(logits, self.row_stride, self.config.prior_mv)
        return logits


def row_prior(logits: torch.Tensor, row_stride: int, deviation_mv: float) -> torch.Tensor:
    """The log of a Gaussian around the zero line of each row, (4, bins, 1), for logits (B, 4, bins, W).

    Its standard deviation is deviation_mv, its dtype that of the logits. Networks find ink in tens of steps;
    without this prior they need hundreds to learn to which row it belongs.
    """
    bins = torch.arange(logits.shape[2], device=logits.device)
    y = rescale(bins, row_stride) + CROP_TOP
    lines = torch.tensor(RECTIFIED.zero_lines, device=logits.device)
    deviations = (y - lines[:, None]) / (deviation_mv * RECTIFIED.px_per_mv)
    return (-0.5 * deviations.square())[:, :, None].to(logits.dtype)
