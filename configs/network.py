"""The configuration common to all stages: the network's architecture and its training recipe."""

from dataclasses import dataclass

from configs.page import IMAGE_TYPES


def check_ranges(config: object, ranges: dict[str, tuple[float, float]]) -> None:
    """Raise ValueError for a field whose number, or one of whose numbers, is outside its (least, most)."""
    for name, (least, most) in ranges.items():
        value = getattr(config, name)
        for number in value if isinstance(value, tuple) else (value,):
            if not isinstance(number, (int, float)) or not least <= number <= most:  # NaN is outside too
                raise ValueError(f"{name} {value}: must be from {least:g} to {most:g}")


@dataclass(frozen=True)
class NetworkConfig:
    """An encoder, a U-Net decoder and a training recipe; stages add their own fields.

    `backbone` is a timm model name, or "compact" for the small encoder of models/unet.py. With
    `fine_channels` a light stem beside a timm encoder computes features finer than its strides 4, 8, ...
    """

    backbone: str = "compact"
    encoder_channels: tuple[int, ...] = (16, 24, 48, 64, 96)  # compact encoder, fine to coarse
    stem_stride: tuple[int, int] = (2, 2)  # (rows, columns), stride of the finest features
    fine_channels: int = 0  # channels of the finest skip, at stem_stride, beside a timm encoder; 0: none
    skip_stem_pool: bool = False  # no max-pool in a ResNet's stem: features at strides 2, 4, 8, 16
    fine_blocks: int = 0  # number of residual blocks added to the finest features of encoder and decoder
    context_blocks: tuple[int, ...] = ()  # likewise for each of the encoder's coarsest stages, for context
    decoder_channels: tuple[int, ...] = (64, 48, 24, 16)  # coarse to fine

    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup: float = 0.05  # share of all steps with a rising learning rate
    batch_size: int = 4
    steps: int = 20_000
    gradient_clip: float = 1.0  # largest norm of the gradient
    ema_decay: float = 0.995  # decay per step of the average of the weights
    image_types: tuple[str, ...] = IMAGE_TYPES  # image types of the synthetic training pages
    overlap_probability: float = 0.0  # share of pages with overlapping rows, synthesis.signals.overlap_rows
    colour_augmentation: bool = True  # whether colours are augmented, datasets/augmentation.py
    layout_share: float = (
        0.0  # share of synthetic pages of any layout, datasets/layouts.py; not in stages 0, 1
    )
    samples_per_page: int = 8  # samples drawn from each synthetic page
    pool: int = 24  # number of synthetic pages that a loader process holds at once

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "learning_rate": (1e-12, 10),
                "weight_decay": (0, 10),
                "warmup": (0, 0.99),
                "batch_size": (1, 10_000),
                "steps": (1, 10**9),
                "gradient_clip": (1e-6, 1e6),
                "ema_decay": (0, 0.999999),
                "overlap_probability": (0, 1),
                "layout_share": (0, 1),
                "samples_per_page": (1, 10_000),
                "pool": (1, 100_000),
                "fine_channels": (0, 4096),
                "fine_blocks": (0, 100),
                "context_blocks": (0, 100),
                "encoder_channels": (1, 4096),
                "decoder_channels": (1, 4096),
                "stem_stride": (1, 8),
            },
        )
        if unknown := sorted(set(self.image_types) - set(IMAGE_TYPES)) or not self.image_types:
            raise ValueError(f"image_types {unknown or 'none'}: must be among {', '.join(IMAGE_TYPES)}")
        if any(stride & (stride - 1) for stride in self.stem_stride):
            raise ValueError(f"stem_stride {self.stem_stride}: must be powers of two")
        if not self.encoder_channels or not self.decoder_channels or not self.backbone:
            raise ValueError("encoder_channels, decoder_channels and backbone must not be empty")
        if self.fine_channels and (self.backbone == "compact" or self.skip_stem_pool):
            raise ValueError(
                f"fine_channels {self.fine_channels}: only for timm backbones that keep their stem's max-pool"
            )
