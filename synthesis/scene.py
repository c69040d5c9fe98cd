"""Illumination, and the degradation of an image by optics, sensor and compression."""

import cv2
import numpy as np

from synthesis.fields import NOISE_TILE, repeat_tile, smooth_noise
from utils.images import encode_jpeg


def light(height: int, width: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Directional light with a tint, vignetting and shadows: a coarse gain (h, w, 3) float32 for `multiply`.

    height, width: of the image, px. strength: of all effects, 0..1.
    """
    rows, columns = max(height // 16, 2), max(width // 16, 2)
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    angle = rng.uniform(0, 2 * np.pi)
    gain = 1 + strength * rng.uniform(0, 0.3) * (x * np.cos(angle) + y * np.sin(angle))
    gain = gain * (1 - strength * rng.uniform(0, 0.2) * (x**2 + y**2))
    gain = gain * (1 + strength * 0.06 * smooth_noise(rows, columns, (4, 5), rng))
    for _ in range(rng.integers(0, 3)):
        angle, softness = rng.uniform(0, 2 * np.pi), rng.uniform(0.02, 0.5)
        edge = x * np.cos(angle) + y * np.sin(angle) + rng.uniform(-0.2, 1.0)
        edge = edge + 0.2 * smooth_noise(rows, columns, (3, 4), rng)
        gain = gain * (1 - strength * rng.uniform(0.05, 0.45) / (1 + np.exp(edge / softness * 4)))
    warmth = rng.normal(0, 0.09) * strength
    colour = np.array([1 + warmth, 1 + rng.normal(0, 0.02), 1 - warmth])
    return (gain[..., None] * colour * rng.uniform(0.75, 1.08)).astype(np.float32)


def soft_light(height: int, width: int, dim: bool, rng: np.random.Generator) -> np.ndarray:
    """Even indoor light without shadows: a coarse gain (h, w, 3) float32 for `multiply`.

    dim: whether white paper is exposed as phones do, to grey values of 150 to 215.
    """
    rows, columns = max(height // 16, 2), max(width // 16, 2)
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    angle = rng.uniform(0, 2 * np.pi)
    gain = 1 + rng.uniform(0, 0.12) * (x * np.cos(angle) + y * np.sin(angle))
    gain = gain * (1 - rng.uniform(0, 0.08) * (x**2 + y**2))
    gain = gain * (1 + 0.03 * smooth_noise(rows, columns, (3, 4), rng))
    warmth = rng.normal(0.018, 0.018)
    colour = np.array([1 + warmth, 1 + rng.normal(0, 0.01), 1 - warmth])
    exposure = rng.uniform(0.62, 0.9) if dim else rng.uniform(0.85, 1.05)
    return (gain[..., None] * colour * exposure).astype(np.float32)


def sharpen(image: np.ndarray, amount: float, scale: float) -> np.ndarray:
    """Unsharp masking as in phones: add `amount` of the difference from a mean over about two page px.

    `scale` is in image px per page px.
    """
    side = 2 * round(max(scale, 0.5)) + 1
    return cv2.addWeighted(image, 1 + amount, cv2.blur(image, (side, side)), -amount, 0)


def add_glare(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add reflections, as on a screen or glossy paper, to (H, W, 3) uint8."""
    rows, columns = image.shape[0] // 16, image.shape[1] // 16
    x, y = np.meshgrid(np.linspace(-1, 1, columns), np.linspace(-1, 1, rows))
    reflection = np.zeros((rows, columns), np.float32)
    for _ in range(rng.integers(1, 3)):
        across, along = rng.uniform(-1, 1, 2)
        spread = rng.uniform(0.1, 0.8, 2)
        reflection += rng.uniform(5, 60) * np.exp(
            -(((x - across) / spread[0]) ** 2 + ((y - along) / spread[1]) ** 2)
        )
    added = cv2.merge([np.clip(reflection, 0, 255).astype(np.uint8)] * 3)
    return cv2.add(image, cv2.resize(added, image.shape[1::-1], interpolation=cv2.INTER_LINEAR))


def through_bayer_filter(image: np.ndarray) -> np.ndarray:
    """Sample (H, W, 3) uint8 RGB by a Bayer colour filter, one colour per pixel, and demosaic it."""
    mosaic = image[..., 1].copy()
    mosaic[::2, ::2] = image[::2, ::2, 0]
    mosaic[1::2, 1::2] = image[1::2, 1::2, 2]
    return cv2.cvtColor(mosaic, cv2.COLOR_BayerRGGB2RGB)


def degrade(
    image: np.ndarray, blur: float, noise: float, quality: int, rng: np.random.Generator
) -> np.ndarray:
    """The blur, noise and JPEG compression of a camera or scanner: (H, W, 3) uint8 RGB to the same.

    blur: standard deviation in px; noise: standard deviation in grey values; quality: of the JPEG, 0..100.
    """
    if blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if noise > 0.3:
        image = add_noise(image, noise, rng)
    return jpeg_roundtrip(image, quality)


def jpeg_roundtrip(image: np.ndarray, quality: int) -> np.ndarray:
    """Compress (H, W, 3) uint8 RGB as JPEG of a quality in 0..100 and decode it."""
    decoded = cv2.imdecode(np.frombuffer(encode_jpeg(image, quality), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def add_noise(image: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Add noise of standard deviation `size` grey values, correlated between colours and between pixels."""
    tile: np.ndarray = rng.normal(0, 1, (*NOISE_TILE, 1)) + 0.6 * rng.normal(0, 1, (*NOISE_TILE, 3))
    tile = cv2.GaussianBlur(tile.astype(np.float32), (0, 0), 0.5)
    tile = np.round(tile * (size / tile.std())).astype(np.int8)
    return cv2.add(image, repeat_tile(tile, *image.shape[:2]), dtype=cv2.CV_8U)


def motion_blur(image: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """The blur of a shaken camera: the image averaged over a straight path of `length` px."""
    side = int(np.ceil(length)) | 1
    kernel: np.ndarray = np.zeros((side * 8, side * 8), np.uint8)
    angle = rng.uniform(0, np.pi)
    offset = np.array([np.cos(angle), np.sin(angle)]) * length * 4
    centre = np.array([side * 4, side * 4])
    begin, end = (tuple(np.round(p).astype(int).tolist()) for p in (centre - offset, centre + offset))
    cv2.line(kernel, begin, end, 255, 8)
    kernel = cv2.resize(kernel.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    kernel = (kernel + kernel[::-1, ::-1]) / 2  # symmetric, so that the image is not shifted
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def composite(picture: np.ndarray, background: np.ndarray) -> np.ndarray:
    """Put (H, W, 4) uint8 RGBA on the background (H, W, 3) where its alpha is above 127."""
    colours = cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB)
    _, mask = cv2.threshold(picture[..., 3], 127, 255, cv2.THRESH_BINARY)
    return cv2.copyTo(colours, mask, background)
