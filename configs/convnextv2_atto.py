"""Stage 2 with timm's convnextv2_atto, the smallest of its family, for a CPU: narrow crops, many steps."""

from configs.stage2 import Stage2Config

config = Stage2Config(
    backbone="convnextv2_atto",
    fine_channels=16,
    fine_blocks=1,
    decoder_channels=(96, 64, 40, 24),
    prior_mv=1.5,
    learning_rate=1.5e-3,
    crop_columns=192,
    batch_size=2,
    samples_per_page=16,
    pool=40,
)
