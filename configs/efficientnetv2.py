"""Stage 2 over timm's tf_efficientnetv2_s."""

from configs.stage2 import Stage2Config

config = Stage2Config(
    backbone="tf_efficientnetv2_s",
    fine_channels=32,
    fine_blocks=1,
    decoder_channels=(256, 192, 128, 64),
    learning_rate=5e-4,
    batch_size=6,
)
