"""The compact stage 2 with a wider decoder: its finest block has 32 channels instead of 16."""

from dataclasses import replace

from configs.compact import config as compact

config = replace(compact, decoder_channels=(64, 48, 32, 32))
