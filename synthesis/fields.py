"""Smooth random fields, gain maps and blending."""

import cv2
import numpy as np


def smooth_noise(
    height: int, width: int, cells: tuple[int, int], rng: np.random.Generator, channels: int = 1
) -> np.ndarray:
    """Standard normal noise on a grid of `cells` (rows, columns), interpolated bicubically.

    Returns (height, width) float32, or (height, width, channels) for more than one channel.
    """
    shape = (max(cells[0], 1), max(cells[1], 1), channels)
    return cv2.resize(
        rng.normal(0, 1, shape).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC
    )


def multiply(image: np.ndarray, gain: np.ndarray) -> np.ndarray:
    """Multiply an image (H, W, 3) uint8 by a coarse gain map (h, w) or (h, w, 3) in 0..2, interpolated."""
    coarse = np.clip(gain * 128, 0, 255).astype(np.uint8)
    if coarse.ndim == 2:
        coarse = cv2.merge([coarse] * 3)
    fine = cv2.resize(coarse, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return cv2.multiply(image, fine, scale=1 / 128)


NOISE_TILE = (509, 521)  # height and width of a repeated noise tile, px; primes, so that no repeat is seen


def repeat_tile(tile: np.ndarray, height: int, width: int) -> np.ndarray:
    """Repeat a tile (h, w, C) in both directions to (height, width, C)."""
    rows, columns = -(-height // tile.shape[0]), -(-width // tile.shape[1])
    return cv2.repeat(tile, rows, columns)[:height, :width]


def blend(image: np.ndarray, colour: tuple[float, float, float], share: np.ndarray) -> None:
    """Blend an RGB colour into (H, W, 3) uint8 in place, by the opacity `share` (H, W) float32 in 0..1.

    Opacities up to 0.01 may be ignored.
    """
    rows = np.flatnonzero(share.max(axis=1) > 0.01)
    columns = np.flatnonzero(share.max(axis=0) > 0.01)
    if not len(rows):
        return
    part = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    window, weight = image[part], share[part][..., None]
    window[:] = np.round(window + (np.asarray(colour, np.float32) - window) * weight).astype(np.uint8)
