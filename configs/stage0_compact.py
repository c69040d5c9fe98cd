"""The shipped stage 0: 704 px and a stem of stride 4, so that a CPU trains it in half an hour."""

from configs.stage0 import Stage0Config

config = Stage0Config(
    input_width=704,
    encoder_channels=(24, 48, 96, 160),
    stem_stride=(4, 4),
    decoder_channels=(96, 48, 24),
    learning_rate=3e-3,
)
