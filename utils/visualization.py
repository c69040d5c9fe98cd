"""Pictures for people: what was read, drawn over what was seen."""

import cv2
import numpy as np

ROW_COLOURS = ((0, 90, 255), (0, 150, 60), (220, 0, 160), (230, 110, 0))  # RGB, the four rows from the top


def draw_heights(image: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A copy of an image (H, W, 3) uint8 RGB with a line for each row of y (R, W) px, broken where NaN."""
    drawn = np.ascontiguousarray(image).copy()
    for heights, colour in zip(y, ROW_COLOURS, strict=False):
        known = np.flatnonzero(np.isfinite(heights))
        for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
            points = np.stack([run, np.round(heights[run])], axis=-1).astype(np.int32)
            cv2.polylines(drawn, [points[:, None]], isClosed=False, color=colour)
    return drawn
