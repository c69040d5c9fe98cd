"""The compact stage 2 with a wider decoder: what reads the finest features has 32 channels rather than 16."""

from dataclasses import replace

from configs.compact import config as compact

config = replace(compact, decoder_channels=(64, 48, 32, 32))
