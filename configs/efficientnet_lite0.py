"""Stage 2 over timm's tf_efficientnet_lite0."""

from configs.stage2 import Stage2Config

config = Stage2Config(
    backbone="tf_efficientnet_lite0", decoder_channels=(128, 64, 48, 32), learning_rate=5e-4
)
