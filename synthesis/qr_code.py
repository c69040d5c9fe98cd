"""The QR code in a white box in the top right corner of the competition's pages, on paper and screens."""

import cv2
import numpy as np

from configs.page import PAGE_PX_PER_MM

QR_SIDE_MM = (12.8, 14.0)  # range of the code's side; 13.3 was measured on seven pages of one record
QUIET_MM = (1.3, 2.2)  # range of the white margin around the code; the box touches the corner of the frame
QR_MODULES = (21, 25, 29)  # modules along a side, in QR versions 1 to 3
FINDER_MODULES = 7  # modules along the side of a finder pattern


def draw_qr_code(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draw the code over frame and grid in the corner of a page (H, W, 3) uint8, in place."""
    side = round(rng.uniform(*QR_SIDE_MM) * PAGE_PX_PER_MM)
    quiet = round(rng.uniform(*QUIET_MM) * PAGE_PX_PER_MM)
    code = cv2.resize(qr_modules(rng), (side, side), interpolation=cv2.INTER_NEAREST)
    image[: side + 2 * quiet, -side - 2 * quiet :] = 255
    image[quiet : quiet + side, -quiet - side : -quiet] = code[..., None]


def qr_modules(rng: np.random.Generator) -> np.ndarray:
    """Three finder patterns and random modules that encode nothing: (n, n) uint8 of 0 and 255."""
    count = int(rng.choice(QR_MODULES))
    modules = (rng.random((count, count)) < 0.5).astype(np.uint8) * 255
    finder = np.full((FINDER_MODULES + 1,) * 2, 255, np.uint8)  # finder pattern with its white separator
    finder[:FINDER_MODULES, :FINDER_MODULES] = 0
    finder[1:-2, 1:-2] = 255
    finder[2:-3, 2:-3] = 0
    size = len(finder)
    modules[:size, :size] = finder
    modules[:size, -size:] = finder[:, ::-1]
    modules[-size:, :size] = finder[::-1]
    return modules
