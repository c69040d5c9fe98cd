"""What every stage's configuration shares: the network's shape and the recipe that trains it."""

import math
from dataclasses import dataclass

from configs.page import IMAGE_TYPES


@dataclass(frozen=True)
class NetworkConfig:
    """An encoder, a U-Net decoder and a training recipe; stages add their own fields.

    `backbone` is a timm model name, or "compact" for the small encoder of models/unet.py. With
    `fine_channels` a timm encoder keeps its weights and its features of strides 4, 8, ..., and a light stem
    beside it makes finer ones.
    """

    backbone: str = "compact"
    encoder_channels: tuple[int, ...] = (16, 24, 48, 64, 96)  # of the compact encoder, fine to coarse
    stem_stride: tuple[int, int] = (2, 2)  # (rows, columns) folded into channels, the finest features
    fine_channels: int = 0  # of features at stem_stride beside a timm encoder's, the decoder's finest skip
    skip_stem_pool: bool = False  # ResNets without max-pool keep features at strides 2, 4, 8, 16
    fine_blocks: int = 0  # residual blocks of the compact encoder's finest features, and of the decoder's
    context_blocks: tuple[int, ...] = ()  # and of its coarsest stages', the coarsest last: what lies far
    decoder_channels: tuple[int, ...] = (64, 48, 24, 16)  # coarse to fine

    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warmup: float = 0.05  # share of all steps
    batch_size: int = 4
    steps: int = 20_000
    gradient_clip: float = 1.0
    ema_decay: float = 0.995
    image_types: tuple[str, ...] = IMAGE_TYPES  # of the pages that are drawn to learn from
    crowded: float = 0.0  # of the drawn pages have rows that run into one another, synthesis.signals.crowd
    colours: bool = True  # whether samples are coloured anew, datasets/augmentation.py
    echo: int = 8  # samples drawn from each synthetic page
    pool: int = 24  # synthetic pages held at once by a loader

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps", "echo", "pool"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} {getattr(self, name)}: must be at least 1")
        if not 0 < self.learning_rate < math.inf:
            raise ValueError(f"learning_rate {self.learning_rate}: must be above 0, and finite")
        if self.fine_channels and (self.backbone == "compact" or self.skip_stem_pool):
            raise ValueError(
                f"fine_channels {self.fine_channels}: only for timm backbones that keep their stem's max-pool"
            )
