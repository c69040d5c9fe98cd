"""A trained network rewritten for prediction: the same function, in fewer multiplications and copies.

On a processor the networks' convolutions already run at its peak, so what is left is to multiply less and to
write fewer large maps: batch norms go into the convolutions before them, an upsampled map is never written,
and the compact encoder reads the image as it is, neither normalised nor folded first.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.unet import CompactEncoder, DecoderBlock, Stride, UNet


def prepare_for_inference(net: UNet) -> UNet:
    """Rewrite a network in evaluation mode, in place, and return it. It cannot be trained any more.

    `net.precision` is to be set before: in bfloat16 the image keeps being normalised first, as white and
    nearly white are the same number there otherwise.
    """
    fuse_conv_bn(net)
    blocks = net.decoder.block
    for index, block in enumerate(blocks):
        assert isinstance(block, DecoderBlock)
        if block.scale != (1, 1):
            blocks[index] = SplitDecoderBlock(block)
    if isinstance(net.encoder, CompactEncoder) and net.precision == torch.float32:
        net.encoder.stem = ImageStem(net.encoder, net.mean, net.std)
        net.encoder.folds_pixels = net.normalises = False
    return net


def fuse_conv_bn(net: nn.Module) -> nn.Module:
    """Put each batch norm that follows a convolution into its weights, in place, and return the network.

    It has to be in evaluation mode, and cannot be trained any more.
    """
    for module in net.modules():
        if isinstance(module, nn.Sequential):
            for index, (conv, norm) in enumerate(pairwise(module)):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[index] = fuse_conv_bn_eval(conv, norm)
                    module[index + 1] = nn.Identity()
    return net


class SplitDecoderBlock(nn.Module):
    """A DecoderBlock that convolves the coarse map and the skip apart and adds the results.

    Nearest upsampling by s and a 3 x 3 convolution together are one transposed convolution of stride s with a
    kernel of s + 2: at s = 2 four multiplications for each output instead of nine, zero padding included.
    """

    def __init__(self, block: DecoderBlock):
        super().__init__()
        conv = block.conv1[0]
        assert isinstance(conv, nn.Conv2d)
        inputs = block.inputs
        self.skip = None
        if conv.in_channels > inputs:
            self.skip = nn.Conv2d(conv.in_channels - inputs, conv.out_channels, 3, padding=1, bias=False)
            self.skip.weight = frozen(conv.weight[:, inputs:])
        kernel = upsampling_kernel(conv.weight[:, :inputs], block.scale)
        size = block.scale[0] + 2, block.scale[1] + 2
        self.coarse = nn.ConvTranspose2d(inputs, conv.out_channels, size, block.scale, padding=1)
        self.coarse.weight = frozen(kernel)
        assert conv.bias is not None
        self.coarse.bias = frozen(conv.bias)
        self.conv2 = block.conv2

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        x = self.coarse(x)
        if self.skip is not None and skip is not None:
            x = x.add_(self.skip(skip))
        return self.conv2(F.relu_(x))


def frozen(weight: torch.Tensor) -> nn.Parameter:
    return nn.Parameter(weight.detach().contiguous(), requires_grad=False)


def upsampling_kernel(weight: torch.Tensor, scale: Stride) -> torch.Tensor:
    """(outputs, inputs, 3, 3) to the transposed convolution's (inputs, outputs, rows + 2, columns + 2).

    Each coarse pixel stands for `scale` fine ones of the same value, and what it gives to the output is the
    sum of what these give. A transposed convolution lays its kernel on the output turned by 180 degrees.
    """
    rows, columns = scale
    turned = weight.detach().flip(2, 3).transpose(0, 1)
    kernel = turned.new_zeros(*turned.shape[:2], rows + 2, columns + 2)
    for down in range(rows):
        for right in range(columns):
            kernel[:, :, down : down + 3, right : right + 3] += turned
    return kernel


class ImageStem(nn.Module):
    """The compact encoder's stem on the image itself, by one convolution whose stride is the stem's.

    ImageNet normalisation goes into the weights. Zeros beyond a normalised image are the mean colour; beyond
    the image as it is they are black, so that the outermost cells get the difference added.
    """

    rim: torch.Tensor

    def __init__(self, encoder: CompactEncoder, mean: torch.Tensor, std: torch.Tensor):
        super().__init__()
        assert isinstance(encoder.stem, nn.Sequential)
        conv, (rows, columns) = encoder.stem[0], encoder.stem_stride
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        weight = conv.weight.detach().reshape(-1, 3, rows, columns, 3, 3)  # space_to_depth' order of channels
        weight = weight.permute(0, 1, 4, 2, 5, 3).reshape(-1, 3, 3 * rows, 3 * columns) / std
        size = 3 * rows, 3 * columns
        self.conv = nn.Conv2d(3, len(weight), size, encoder.stem_stride, padding=encoder.stem_stride)
        self.conv.weight = frozen(weight)
        cells = mean.expand(1, 3, 3 * rows, 3 * columns)  # 3 x 3 cells of the mean colour
        given = F.conv2d(cells, weight, stride=encoder.stem_stride, padding=encoder.stem_stride)[0]
        self.conv.bias = frozen(conv.bias - given[:, 1, 1])
        self.register_buffer("rim", given[:, 1:2, 1:2] - given)  # (outputs, 3, 3): what black takes away

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.conv(image)
        height, width = x.shape[2:]
        down, right = (rim_places(size, x.device) for size in (height, width))
        for row in {0, height - 1}:
            x[:, :, row] += self.rim[:, down[row]][:, right]
        for column in {0, width - 1}:
            x[:, :, 1:-1, column] += self.rim[:, 1:2, right[column]]
        return x


def rim_places(size: int, device: torch.device) -> torch.Tensor:
    """Of each of `size` cells its place in ImageStem.rim: 0 first, 1 within, 2 last. ValueError for one."""
    if size < 2:
        raise ValueError("an image of a single cell of the stem in height or width")
    places = torch.ones(size, dtype=torch.long, device=device)
    places[0], places[-1] = 0, 2
    return places
