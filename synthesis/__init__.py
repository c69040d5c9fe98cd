"""Synthetic ECG pages: printed from digital records, then captured as scans or photos with exact labels."""

import numpy as np

from synthesis.capture import Capture, capture
from synthesis.page import draw_page
from synthesis.pose import Pose
from synthesis.signals import Record

__all__ = ["Capture", "Pose", "Record", "synthesize"]


def synthesize(
    record: Record,
    image_type: str,
    rng: np.random.Generator,
    orientation: int | None = None,
    pose: Pose | None = None,
    second_sheet: bool | None = None,
    slips: bool | None = None,
) -> Capture:
    """Print a record unchanged and capture the page; image types and other arguments are as in `capture`."""
    return capture(
        draw_page(record, rng, image_type), image_type, rng, orientation, pose, second_sheet, slips
    )
