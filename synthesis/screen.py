"""Photos of a laptop's screen that shows the page, with the display's subpixels."""

import cv2
import numpy as np

from synthesis.background import table
from synthesis.page import PAGE_WIDTH
from synthesis.scene import composite, through_bayer_filter
from synthesis.warp import Warp

COLOUR_FILTER_SHARE = 0.7  # share of these photos with the coloured moire of a Bayer filter
SCREEN_SUBPIXELS = 3  # image px along each side of a screen pixel


def show_on_screen(
    image: np.ndarray, scale: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The image (H, W, 3) uint8 on a liquid-crystal display of `scale` screen pixels per image px.

    Each screen pixel becomes 3 x 3 px of red, green and blue stripes with dark gaps. Returns the screen
    (h, w, 3) uint8 and its exact px per px of the given image, (2,) for x and y.
    """
    height, width = image.shape[:2]
    size = (round(width * scale), round(height * scale))
    pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    leak = rng.uniform(0.25, 0.75)  # of the other colours in a stripe, by blur in optics and coating
    stripes = np.full((SCREEN_SUBPIXELS, SCREEN_SUBPIXELS, 3), leak, np.float32)
    stripes[:, np.arange(3), np.arange(3) if rng.random() < 0.8 else np.arange(3)[::-1]] = 1
    stripes[-1] *= rng.uniform(0.55, 0.95)
    stripes *= 1 / stripes.mean()
    mask = cv2.repeat(np.clip(stripes * 128, 0, 255).astype(np.uint8), size[1], size[0])
    shown = cv2.resize(pixels, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    shown = cv2.multiply(shown, mask, scale=rng.uniform(0.75, 0.95) / 128)
    return shown, np.array(shown.shape[1::-1]) / (width, height)


def photograph_screen(image: np.ndarray, warp: Warp, rng: np.random.Generator) -> np.ndarray:
    """A photo (H, W, 3) uint8 RGB of a laptop's screen that shows the page, with bars and a dark bezel."""
    left, top, right, bottom = (rng.uniform(0.0, 0.12, 4) * PAGE_WIDTH).astype(int).tolist()
    desk = (rng.uniform(20, 220) + rng.uniform(0, 30, 3)).tolist()
    screen = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=desk)
    for edge, free in ((slice(0, top), top), (slice(screen.shape[0] - bottom, None), bottom)):
        if free > 40 and rng.random() < 0.7:
            draw_menu(screen[edge], rng)
    bezel = int(rng.uniform(0.02, 0.06) * PAGE_WIDTH)
    case = [int(rng.integers(5, 45))] * 3
    screen = cv2.copyMakeBorder(screen, bezel, bezel, bezel, bezel, cv2.BORDER_CONSTANT, value=case)
    shown, scale = show_on_screen(screen, rng.uniform(0.42, 0.7), rng)
    shown = cv2.cvtColor(shown, cv2.COLOR_RGB2RGBA)
    origin = (-left - bezel, -top - bezel)
    photo = composite(
        warp.resample(shown, cv2.INTER_LINEAR, (0, 0, 0, 0), scale, origin), table(*warp.size, rng)
    )
    return through_bayer_filter(photo) if rng.random() < COLOUR_FILTER_SHARE else photo


def draw_menu(bar: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a menu or task bar with coloured boxes, in place."""
    bar[:] = rng.integers(20, 245)
    middle = bar.shape[0] // 2
    for x in range(int(rng.integers(10, 400)), bar.shape[1] - 120, int(rng.integers(60, 240))):
        width, height = int(rng.integers(12, 50)), int(rng.integers(4, 16))
        if rng.random() < 0.8:
            colour = rng.integers(0, 256, 3).tolist()
            cv2.rectangle(bar, (x, middle - height), (x + width, middle + height), colour, -1)
