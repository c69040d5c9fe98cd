"""What surrounds the page in a photo: the table it lies on, a laptop's screen, light and the camera."""

import cv2
import numpy as np

from synthesis.fields import NOISE_TILE, repeat_tile, smooth_noise

BACKGROUND_SHRINK = 4
PAPER_SIZES = (0.3, 0.9)  # of other papers on the table, in widths of the photo


def table(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """Wood, cloth or plain stuff, sometimes with other papers on it: (height, width, 3) uint8 RGB."""
    rows, columns = -(-height // BACKGROUND_SHRINK), -(-width // BACKGROUND_SHRINK)
    kind = rng.choice(["wood", "cloth", "plain", "rough"])
    colour = rng.uniform(20, 235) * rng.uniform(0.75, 1.15, 3)
    if kind == "wood":
        colour = np.array([1.0, rng.uniform(0.6, 0.85), rng.uniform(0.3, 0.65)]) * rng.uniform(50, 230)
        cells = (int(rng.integers(40, 160)), int(rng.integers(2, 8)))
        cells = cells if rng.random() < 0.5 else cells[::-1]
        grain = smooth_noise(rows, columns, cells, rng) + 0.5 * smooth_noise(rows, columns, (8, 8), rng)
    elif kind == "cloth":
        pitch = rng.uniform(3, 14)
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        grain = np.sin(2 * np.pi * x / pitch) * np.sin(2 * np.pi * y / pitch)
        grain = grain + 0.5 * smooth_noise(rows, columns, (12, 16), rng)
    elif kind == "rough":
        grain = smooth_noise(rows, columns, (rows // 3, columns // 3), rng)
    else:
        grain = smooth_noise(rows, columns, (3, 3), rng)
    gain = 1 + rng.uniform(0.03, 0.18) * grain
    image = np.clip(gain[..., None] * colour, 0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        for _ in range(rng.integers(1, 4)):
            lay_paper(image, rng)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def lay_paper(image: np.ndarray, rng: np.random.Generator) -> None:
    """Another sheet with lines of print or a grid of its own, in place."""
    height, width = image.shape[:2]
    w, h = width * rng.uniform(*PAPER_SIZES), width * rng.uniform(*PAPER_SIZES)
    sheet = np.full((int(h), int(w), 3), rng.uniform(200, 250), np.uint8)
    ink = (int(rng.integers(60, 200)), int(rng.integers(60, 180)), int(rng.integers(60, 180)))
    pitch = rng.uniform(6, 14)
    for y in np.arange(pitch, int(h) - 1, pitch):
        sheet[int(y), int(w * 0.08) : int(w * rng.uniform(0.4, 0.95))] = ink
    turn = cv2.getRotationMatrix2D((w / 2, h / 2), rng.uniform(0, 360), 1.0)
    turn[:, 2] += rng.uniform(0, 1, 2) * (width, height) - (w / 2, h / 2)
    cv2.warpAffine(sheet, turn, (width, height), dst=image, borderMode=cv2.BORDER_TRANSPARENT)


def light(height: int, width: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Falling light, its colour, vignetting and shadows: a coarse gain (h, w, 3) float32 for `multiply`."""
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


SCREEN_SUBPIXELS = 3


def show_on_screen(
    image: np.ndarray, scale: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The page on a liquid-crystal display: each screen pixel becomes 3 x 3 px of red, green and blue
    stripes with dark gaps. Given (H, W, 3) uint8 and `scale` screen px per page px; returns the screen and
    its exact px per px of the given image, (2,) of x and y."""
    height, width = image.shape[:2]
    size = (round(width * scale), round(height * scale))
    pixels = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    leak = rng.uniform(0.25, 0.75)  # light of the other colours in a stripe; blurs of optics and coating
    stripes = np.full((SCREEN_SUBPIXELS, SCREEN_SUBPIXELS, 3), leak, np.float32)
    stripes[:, np.arange(3), np.arange(3) if rng.random() < 0.8 else np.arange(3)[::-1]] = 1
    stripes[-1] *= rng.uniform(0.55, 0.95)
    stripes *= 1 / stripes.mean()
    mask = cv2.repeat(np.clip(stripes * 128, 0, 255).astype(np.uint8), size[1], size[0])
    shown = cv2.resize(pixels, None, fx=3, fy=3, interpolation=cv2.INTER_NEAREST)
    shown = cv2.multiply(shown, mask, scale=rng.uniform(0.75, 0.95) / 128)
    return shown, np.array(shown.shape[1::-1]) / (width, height)


def add_glare(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Reflections on a screen or glossy paper added to the image."""
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


def through_colour_filter(image: np.ndarray) -> np.ndarray:
    """What a sensor with a Bayer filter makes of (H, W, 3) uint8: each pixel sees one colour only."""
    mosaic = image[..., 1].copy()
    mosaic[::2, ::2] = image[::2, ::2, 0]
    mosaic[1::2, 1::2] = image[1::2, 1::2, 2]
    return cv2.cvtColor(mosaic, cv2.COLOR_BayerRGGB2RGB)


def expose(
    image: np.ndarray, blur: float, noise: float, quality: int, rng: np.random.Generator
) -> np.ndarray:
    """Blur (px), noise (grey values) and JPEG of a camera or scanner: (H, W, 3) uint8 RGB to the same."""
    if blur > 0.25:
        image = cv2.GaussianBlur(image, (0, 0), blur)
    if noise > 0.3:
        image = add_noise(image, noise, rng)
    image = through_jpeg(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def through_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """(H, W, 3) uint8 BGR as a JPEG file gives it back."""
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(code, cv2.IMREAD_COLOR)
    assert decoded is not None
    return decoded


def add_noise(image: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Noise of standard deviation `size`, mostly common to the colours and slightly correlated."""
    tile: np.ndarray = rng.normal(0, 1, (*NOISE_TILE, 1)) + 0.6 * rng.normal(0, 1, (*NOISE_TILE, 3))
    tile = cv2.GaussianBlur(tile.astype(np.float32), (0, 0), 0.5)
    tile = np.round(tile * (size / tile.std())).astype(np.int8)
    return cv2.add(image, repeat_tile(tile, *image.shape[:2]), dtype=cv2.CV_8U)


def motion_blur(image: np.ndarray, length: float, rng: np.random.Generator) -> np.ndarray:
    """A shaken camera: the image averaged over a straight path of `length` px."""
    side = int(np.ceil(length)) | 1
    kernel: np.ndarray = np.zeros((side * 8, side * 8), np.uint8)
    angle = rng.uniform(0, np.pi)
    offset = np.array([np.cos(angle), np.sin(angle)]) * length * 4
    centre = np.array([side * 4, side * 4])
    begin, end = (tuple(np.round(p).astype(int).tolist()) for p in (centre - offset, centre + offset))
    cv2.line(kernel, begin, end, 255, 8)
    kernel = cv2.resize(kernel.astype(np.float32), (side, side), interpolation=cv2.INTER_AREA)
    kernel = (kernel + kernel[::-1, ::-1]) / 2  # symmetric: nothing moves
    return cv2.filter2D(image, -1, kernel / kernel.sum())
