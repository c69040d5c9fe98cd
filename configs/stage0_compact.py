"""The shipped stage 0."""

from configs.stage0 import Stage0Config

config = Stage0Config()
