"""Pages drawn from records, and captured as scans and photos with exact labels."""

import numpy as np

from synthesis.capture import Capture, capture
from synthesis.page import draw_page
from synthesis.signals import Record

__all__ = ["Capture", "Record", "synthesize"]


def synthesize(record: Record, image_type: str, rng: np.random.Generator, turn: int | None = None) -> Capture:
    """Print a record as it is and capture the page as one of IMAGE_TYPES; `turn` fixes the orientation."""
    return capture(draw_page(record, rng, image_type), image_type, rng, turn)
