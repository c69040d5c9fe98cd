"""The shipped stage 2: small enough to train and run on a CPU."""

from configs.stage2 import Stage2Config

config = Stage2Config(fine_blocks=1)
