"""A trained network rewritten for inference: the same function, with fewer multiplications and copies.

On a CPU the convolutions already run at its peak, so only fewer multiplications and fewer large maps save
time: batch norms are fused into the convolutions before them, no upsampled map is written, and the compact
encoder convolves the image directly, without normalisation and space-to-depth before.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.unet import CompactEncoder, DecoderBlock, Stride, UNet


def prepare_for_inference(net: UNet) -> UNet:
    """Rewrite a network in evaluation mode, in place, and return it. It cannot be trained afterwards.

    `net.precision` must be set before: in bfloat16 the image is still normalised first, because white and
    nearly white pixels would become the same number otherwise.
    """
    fuse_conv_bn(net)
    blocks = net.decoder.block
    for index, block in enumerate(blocks):
        assert isinstance(block, DecoderBlock)
        if block.scale != (1, 1):
            blocks[index] = SplitDecoderBlock(block)
    if isinstance(net.encoder, CompactEncoder) and net.precision == torch.float32:
        net.encoder.stem = ImageStem(net.encoder, net.mean, net.std)
        net.encoder.uses_space_to_depth = net.normalises = False
    return net


def fuse_conv_bn(net: nn.Module) -> nn.Module:
    """Fuse each batch norm that follows a convolution into its weights, in place, and return the network.

    The network must be in evaluation mode, and cannot be trained afterwards.
    """
    for module in net.modules():
        if isinstance(module, nn.Sequential):
            for index, (conv, norm) in enumerate(pairwise(module)):
                if isinstance(conv, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                    module[index] = fuse_conv_bn_eval(conv, norm)
                    module[index + 1] = nn.Identity()
    return net


class SplitDecoderBlock(nn.Module):
    """A DecoderBlock that convolves the coarse map and the skip separately and adds the results.

    Nearest upsampling by s and a 3 x 3 convolution are together a transposed convolution of stride s with a
    kernel of size s + 2: at s = 2 four multiplications per output instead of nine, zero padding included.
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
    """A contiguous copy of a weight without gradient."""
    return nn.Parameter(weight.detach().contiguous(), requires_grad=False)


def upsampling_kernel(weight: torch.Tensor, scale: Stride) -> torch.Tensor:
    """A kernel (outputs, inputs, 3, 3) as that of the transposed convolution of SplitDecoderBlock.

    The result is (inputs, outputs, rows + 2, columns + 2). Each coarse pixel stands for `scale` fine ones of
    the same value and contributes the sum of their contributions. A transposed convolution places its kernel
    on the output rotated by 180 degrees.
    """
    rows, columns = scale
    flipped = weight.detach().flip(2, 3).transpose(0, 1)
    kernel = flipped.new_zeros(*flipped.shape[:2], rows + 2, columns + 2)
    for down in range(rows):
        for right in range(columns):
            kernel[:, :, down : down + 3, right : right + 3] += flipped
    return kernel


class ImageStem(nn.Module):
    """The compact encoder's stem as one convolution of the image, whose stride is the stem's.

    ImageNet normalisation is fused into the weights. Zero padding of a normalised image is the mean colour,
    that of the image itself is black, so the difference is added to the outermost cells.
    """

    border: torch.Tensor

    def __init__(self, encoder: CompactEncoder, mean: torch.Tensor, std: torch.Tensor):
        super().__init__()
        assert isinstance(encoder.stem, nn.Sequential)
        conv, (rows, columns) = encoder.stem[0], encoder.stem_stride
        assert isinstance(conv, nn.Conv2d)
        assert conv.bias is not None
        weight = conv.weight.detach().reshape(
            -1, 3, rows, columns, 3, 3
        )  # the channel order of space_to_depth
        weight = weight.permute(0, 1, 4, 2, 5, 3).reshape(-1, 3, 3 * rows, 3 * columns) / std
        size = 3 * rows, 3 * columns
        self.conv = nn.Conv2d(3, len(weight), size, encoder.stem_stride, padding=encoder.stem_stride)
        self.conv.weight = frozen(weight)
        cells = mean.expand(1, 3, 3 * rows, 3 * columns)  # 3 x 3 cells of the mean colour
        response = F.conv2d(cells, weight, stride=encoder.stem_stride, padding=encoder.stem_stride)[0]
        self.conv.bias = frozen(conv.bias - response[:, 1, 1])
        # (outputs, 3, 3): what black padding lacks
        self.register_buffer("border", response[:, 1:2, 1:2] - response)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        x = self.conv(image)
        height, width = x.shape[2:]
        down, right = (border_indices(size, x.device) for size in (height, width))
        for row in {0, height - 1}:
            x[:, :, row] += self.border[:, down[row]][:, right]
        for column in {0, width - 1}:
            x[:, :, 1:-1, column] += self.border[:, 1:2, right[column]]
        return x


def border_indices(size: int, device: torch.device) -> torch.Tensor:
    """The index in ImageStem.border of each of `size` cells: 0 first, 1 inner, 2 last. ValueError for one."""
    if size < 2:
        raise ValueError("the image is only one cell of the stem high or wide")
    places = torch.ones(size, dtype=torch.long, device=device)
    places[0], places[-1] = 0, 2
    return places
