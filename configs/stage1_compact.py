"""The shipped stage 1."""

from configs.page import HARDEST_TYPES, IMAGE_TYPES
from configs.stage1 import Stage1Config

config = Stage1Config(context_blocks=(1, 2, 3), image_types=(*IMAGE_TYPES, *HARDEST_TYPES))
