"""Stage 2 over timm's tf_efficientnet_lite0."""

from configs.stage2 import Stage2Config

config = Stage2Config(
    backbone="tf_efficientnet_lite0",
    fine_channels=32,
    fine_blocks=1,
    decoder_channels=(128, 96, 64, 48),
    learning_rate=5e-4,
    batch_size=8,
)
