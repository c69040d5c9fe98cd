"""Stage 2 with timm's resnet34, for one GPU of 16 GB.

The tensors of a training step take 4.5 GiB in mixed precision
(`benchmarks/backbones.py --no-times --configs resnet34`); CUDA and its workspaces add to that.
"""

from configs.stage2 import Stage2Config

config = Stage2Config(
    backbone="resnet34",
    fine_channels=32,
    fine_blocks=1,
    decoder_channels=(256, 192, 128, 64),
    prior_mv=1.5,
    learning_rate=1e-3,
    batch_size=8,
)
