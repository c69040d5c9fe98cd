"""The shipped stage 2: small enough to train and run on a CPU."""

from configs.page import HARDEST_TYPES, IMAGE_TYPES
from configs.stage2 import Stage2Config

config = Stage2Config(
    fine_blocks=1,
    context_blocks=(1, 2, 4),
    overlap_probability=0.06,
    image_types=(*IMAGE_TYPES, *HARDEST_TYPES),
)
