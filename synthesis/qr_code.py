"""The QR code in a white box at the top right corner of the competition's pages, on paper and on screens."""

import cv2
import numpy as np

from configs.page import PAGE_PX_PER_MM

QR_SIDE_MM = (12.8, 14.0)  # 13.3 measured on seven pages of one record
QUIET_MM = (1.3, 2.2)  # of white around the code; the box reaches to the corner of the page's frame
QR_MODULES = (21, 25, 29)  # versions 1 to 3
FINDER_MODULES = 7


def draw_qr_code(image: np.ndarray, rng: np.random.Generator) -> None:
    """Put the code over whatever the page's corner holds, frame and grid alike: (H, W, 3) uint8, in place."""
    side = round(rng.uniform(*QR_SIDE_MM) * PAGE_PX_PER_MM)
    quiet = round(rng.uniform(*QUIET_MM) * PAGE_PX_PER_MM)
    code = cv2.resize(qr_modules(rng), (side, side), interpolation=cv2.INTER_NEAREST)
    image[: side + 2 * quiet, -side - 2 * quiet :] = 255
    image[quiet : quiet + side, -quiet - side : -quiet] = code[..., None]


def qr_modules(rng: np.random.Generator) -> np.ndarray:
    """Finders at three corners, random modules elsewhere: (n, n) uint8 of 0 and 255. It encodes nothing."""
    count = int(rng.choice(QR_MODULES))
    modules = (rng.random((count, count)) < 0.5).astype(np.uint8) * 255
    finder = np.full((FINDER_MODULES + 1,) * 2, 255, np.uint8)  # with its white separator
    finder[:FINDER_MODULES, :FINDER_MODULES] = 0
    finder[1:-2, 1:-2] = 255
    finder[2:-3, 2:-3] = 0
    size = len(finder)
    modules[:size, :size] = finder
    modules[:size, -size:] = finder[:, ::-1]
    modules[-size:, :size] = finder[::-1]
    return modules
