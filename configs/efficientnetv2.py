"""Stage 2 over timm's tf_efficientnetv2_s."""

from configs.stage2 import Stage2Config

config = Stage2Config(backbone="tf_efficientnetv2_s", decoder_channels=(256, 128, 64, 32), learning_rate=5e-4)
