"""The parts of all three networks: an encoder that gives a feature pyramid, and a U-Net decoder over it."""

from functools import partial
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

from configs.network import NetworkConfig
from models.imagenet import PretrainedUnavailable, load_imagenet_weights

Stride = tuple[int, int]  # (rows, columns)


def conv_norm(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3 x 3 convolution without bias and a batch norm."""
    conv = nn.Conv2d(inputs, outputs, kernel_size=3, stride=stride, padding=1, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(outputs))


def space_to_depth(image: torch.Tensor, stride: Stride) -> torch.Tensor:
    """(B, C, H, W) to (B, C * rows * columns, H / rows, W / columns), invertible."""
    batch, channels, height, width = image.shape
    rows, columns = stride
    image = image.reshape(batch, channels, height // rows, rows, width // columns, columns)
    return image.permute(0, 1, 3, 5, 2, 4).reshape(batch, -1, height // rows, width // columns)


def depth_to_space(maps: torch.Tensor, columns: int) -> torch.Tensor:
    """(B, C * columns, H, W) to (B, C, H, W * columns): groups of channels become neighbouring columns."""
    batch, channels, height, width = maps.shape
    maps = maps.reshape(batch, channels // columns, columns, height, width)
    return maps.permute(0, 1, 3, 4, 2).reshape(batch, channels // columns, height, width * columns)


class ResidualBlock(nn.Module):
    """Two convolutions beside a skip; with `zero_init_residual` it starts as the identity."""

    def __init__(self, channels: int, zero_init_residual: bool = False):
        super().__init__()
        self.conv1 = conv_norm(channels, channels)
        self.conv2 = conv_norm(channels, channels)
        if zero_init_residual:
            nn.init.zeros_(self.conv2.get_parameter("1.weight"))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu_(self.conv2(F.relu_(self.conv1(x))).add_(x))


def identity_blocks(channels: int, count: int) -> nn.Sequential:
    """Residual blocks that, added to a trained network after a ReLU, leave its output unchanged at first."""
    return nn.Sequential(*(ResidualBlock(channels, zero_init_residual=True) for _ in range(count)))


class CompactEncoder(nn.Module):
    """A small encoder for CPUs: space-to-depth and a convolution, then stages of stride 2.

    Input (B, 3, H, W); output a list of maps at strides stem, 2 stem, 4 stem, ... `uses_space_to_depth` is
    False if the stem convolves the pixels directly, see models/inference.py.
    """

    uses_space_to_depth = True
    stem: nn.Module

    def __init__(
        self,
        channels: tuple[int, ...],
        stem_stride: Stride,
        fine_blocks: int = 0,
        context_blocks: tuple[int, ...] = (),
    ):
        super().__init__()
        self.stem_stride = stem_stride
        self.stem = conv_norm(3 * stem_stride[0] * stem_stride[1], channels[0])
        self.fine = identity_blocks(channels[0], fine_blocks)
        self.downs = nn.ModuleList(conv_norm(a, b, stride=2) for a, b in pairwise(channels))
        self.blocks = nn.ModuleList(ResidualBlock(c) for c in channels[1:])
        if len(context_blocks) > len(self.blocks):
            raise ValueError(f"{len(context_blocks)} context blocks for {len(self.blocks)} stages")
        counts = (0,) * (len(self.blocks) - len(context_blocks)) + context_blocks
        self.context = nn.ModuleList(map(identity_blocks, channels[1:], counts))

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        pixels = space_to_depth(image, self.stem_stride) if self.uses_space_to_depth else image
        features = [self.fine(F.relu_(self.stem(pixels)))]
        for down, block, context in zip(self.downs, self.blocks, self.context, strict=True):
            features.append(context(block(F.relu_(down(features[-1])))))
        return features


def build_encoder(config: NetworkConfig, pretrained: bool) -> tuple[nn.Module, list[int], list[Stride]]:
    """An encoder with the channels and strides of its features, fine to coarse.

    Raises PretrainedUnavailable if `pretrained` and ImageNet weights cannot be had, ValueError for an unknown
    backbone.
    """
    if config.backbone == "compact":
        if pretrained:
            raise PretrainedUnavailable("the compact encoder has no ImageNet weights; train it from scratch")
        rows, columns = config.stem_stride
        return (
            CompactEncoder(
                config.encoder_channels, config.stem_stride, config.fine_blocks, config.context_blocks
            ),
            list(config.encoder_channels),
            [(rows << i, columns << i) for i in range(len(config.encoder_channels))],
        )
    import timm  # imported here: it takes seconds and 190 MB, and the shipped networks do not need it

    create = partial(timm.create_model, config.backbone, pretrained=False, features_only=True)
    try:
        encoder = create(out_indices=(1, 2, 3, 4)) if config.skip_stem_pool else create()
    except RuntimeError as error:
        raise ValueError(f"backbone {config.backbone!r}: {error}") from None
    if pretrained:
        load_imagenet_weights(encoder, config.backbone)
    pyramid = encoder.feature_info
    assert isinstance(pyramid, timm.models.FeatureInfo)
    strides = [(s, s) for s in pyramid.reduction()]
    if config.skip_stem_pool:
        encoder.maxpool = nn.Identity()
        strides = [(s // 2, s // 2) for s, _ in strides]
    return encoder, pyramid.channels(), strides


class DecoderBlock(nn.Module):
    """Nearest upsampling to the next finer stride, concatenation of the skip, and two convolutions."""

    def __init__(self, inputs: int, skip: int, outputs: int, scale: Stride):
        super().__init__()
        self.inputs, self.scale = inputs, scale
        self.conv1 = nn.Sequential(*conv_norm(inputs + skip, outputs), nn.ReLU(inplace=True))
        self.conv2 = nn.Sequential(*conv_norm(outputs, outputs), nn.ReLU(inplace=True))

    def forward(self, x: torch.Tensor, skip: torch.Tensor | None) -> torch.Tensor:
        if self.scale != (1, 1):
            x = F.interpolate(x, scale_factor=tuple(float(s) for s in self.scale), mode="nearest")
        if skip is not None:
            x = torch.cat([x, skip], dim=1)
        return self.conv2(self.conv1(x))


class UNetDecoder(nn.Module):
    """From the coarsest map to the finest: a block per skip, then blocks that upsample by 2 without a skip.

    `channels` and `strides` go fine to coarse, `widths` coarse to fine; `stride` is that of the output.
    """

    def __init__(
        self, channels: list[int], strides: list[Stride], widths: tuple[int, ...], fine_blocks: int = 0
    ):
        super().__init__()
        skips = list(zip(channels, strides, strict=True))[-2::-1]
        if len(widths) < len(skips):
            raise ValueError(f"{len(skips)} skips need as many decoder channels, not {len(widths)}")
        blocks = []
        inputs, stride = channels[-1], strides[-1]
        for index, width in enumerate(widths):
            if index < len(skips):
                skip, finer = skips[index]
            else:
                skip, finer = 0, (max(stride[0] // 2, 1), max(stride[1] // 2, 1))
            scale = (stride[0] // finer[0], stride[1] // finer[1])
            blocks.append(DecoderBlock(inputs, skip, width, scale))
            inputs, stride = width, finer
        self.block = nn.ModuleList(blocks)
        self.fine = identity_blocks(inputs, fine_blocks)
        self.stride = stride

    def forward(self, features: list[torch.Tensor], checkpointing: bool = False) -> torch.Tensor:
        x, *skips = features[::-1]
        for index, block in enumerate(self.block):
            x = run_block(block, checkpointing, x, skips[index] if index < len(skips) else None)
        return self.fine(x)


def run_block(module: nn.Module, checkpointing: bool, *inputs):
    """module(*inputs); with checkpointing its activations are recomputed in the backward pass."""
    return checkpoint(module, *inputs, use_reentrant=False) if checkpointing else module(*inputs)


class UNet(nn.Module):
    """ImageNet normalisation, encoder and decoder; the networks of the stages add their heads.

    `fine`, beside a timm encoder, computes the finest features from the image alone: in stage 2 at 4 rows x 2
    columns, like the compact encoder. A timm encoder's finest, at 4 x 4, merge the columns of a steep stroke.

    `mean`, `std` and `D` are buffers because the public weights contain them. `checkpointing` trades time for
    memory in training; batch norms then see each batch twice, so their running averages adapt faster.
    `precision` is that of the convolutions; weights and output are always float32. `normalises` is False if
    the encoder's stem normalises the image, see models/inference.py.
    """

    checkpointing = False
    normalises = True
    precision = torch.float32
    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: NetworkConfig, pretrained: bool = False, extra_channels: int = 0):
        super().__init__()
        self.config = config
        self.register_buffer("D", torch.tensor(0))
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).reshape(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor([0.229, 0.224, 0.225]).reshape(1, 3, 1, 1))
        self.encoder, channels, strides = build_encoder(config, pretrained)
        self.coarsest_channels, self.coarsest_stride = channels[-1], strides[-1]
        self.fine: CompactEncoder | None = None
        if config.fine_channels:
            self.fine = CompactEncoder((config.fine_channels,), config.stem_stride, config.fine_blocks)
            strides = [stride for stride in strides if stride[0] >= config.stem_stride[0]]
            channels = [config.fine_channels, *channels[-len(strides) :]]
            strides = [config.stem_stride, *strides]
        self.levels = len(strides)
        self.decoder = UNetDecoder(
            [*channels[:-1], channels[-1] + extra_channels],
            strides,
            config.decoder_channels,
            config.fine_blocks,
        )

    def __call__(self, image: torch.Tensor):
        if self.precision == torch.float32:
            return super().__call__(image)
        with torch.autocast(image.device.type, self.precision):
            output = super().__call__(image)
        if isinstance(output, torch.Tensor):
            return output.float()
        return {name: maps.float() for name, maps in output.items()}

    def encode(self, image: torch.Tensor) -> list[torch.Tensor]:
        """Features of an image (B, 3, H, W) in 0..1, fine to coarse."""
        if self.normalises:
            image = (image - self.mean).div_(self.std)
        fine = run_block(self.fine, self.uses_checkpointing, image) if self.fine else []
        coarse = list(run_block(self.encoder, self.uses_checkpointing, image))
        return [*fine, *coarse[len(fine) - self.levels :]]  # without features finer than the stem's

    def decode(self, features: list[torch.Tensor]) -> torch.Tensor:
        return self.decoder(features, self.uses_checkpointing)

    @property
    def uses_checkpointing(self) -> bool:
        return self.checkpointing and self.training and torch.is_grad_enabled()
