"""Stage 2 over timm's resnet34."""

from configs.stage2 import Stage2Config

config = Stage2Config(backbone="resnet34", decoder_channels=(256, 128, 64, 32), learning_rate=5e-4)
