"""Stage 2 over timm's convnextv2_tiny."""

from configs.stage2 import Stage2Config

config = Stage2Config(backbone="convnextv2_tiny", decoder_channels=(256, 128, 64), learning_rate=5e-4)
