"""Stage 2 with timm's tf_efficientnet_lite0, for one GPU of 16 GB.

The tensors of a training step take 5.9 GiB in mixed precision
(`benchmarks/backbones.py --no-times --configs efficientnet_lite0`); CUDA and its workspaces add to that.
"""

from configs.stage2 import Stage2Config

config = Stage2Config(
    backbone="tf_efficientnet_lite0",
    fine_channels=32,
    fine_blocks=1,
    decoder_channels=(128, 96, 64, 48),
    prior_mv=1.5,
    learning_rate=1e-3,
    batch_size=8,
)
