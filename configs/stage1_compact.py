"""The shipped stage 1."""

from configs.stage1 import Stage1Config

config = Stage1Config()
