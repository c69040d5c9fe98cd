"""Antialiased lines, placed with sub-pixel accuracy, and text."""

import importlib.util
from functools import cache, lru_cache
from pathlib import Path

import cv2
import numpy as np
from PIL import ImageFont

DEJAVU = "DejaVuSans.ttf"
FONT_FOLDERS = (Path("/usr/share/fonts"), Path("/Library/Fonts"), Path("C:/Windows/Fonts"))
LATIN_FONTS = (  # font files that are used where installed, beside BUILT_IN and HERSHEY
    DEJAVU,
    "DejaVuSans-Bold.ttf",
    "DejaVuSansCondensed.ttf",
    "DejaVuSansMono.ttf",
    "DejaVuSerif.ttf",
    "LiberationSans-Regular.ttf",
    "LiberationMono-Regular.ttf",
    "Arial.ttf",
)
SERIF_FONTS = ("STIXGeneral.ttf", "STIXGeneralBol.ttf")  # like the Times of many electrocardiographs
BUILT_IN = "Aileron"  # the font that comes with Pillow
HERSHEY = {"Hershey simplex": cv2.FONT_HERSHEY_SIMPLEX, "Hershey duplex": cv2.FONT_HERSHEY_DUPLEX}
HERSHEY_CAP_HEIGHT = 21  # height of capital letters at scale 1, px
CAP_HEIGHT = 0.73  # height of capital letters in em


def stroke(coverage: np.ndarray, points: np.ndarray, width: float) -> None:
    """Draw a polyline into `coverage` (H, W) float32 in 0..1, in place.

    `points` is (N, 2) of (x, y) px, integers at pixel centres; `width` is in px. The line is the union of
    discs half a pixel apart, antialiased by the distance from each pixel's centre.
    """
    points = np.asarray(points, np.float64)
    length = np.concatenate([[0], np.hypot(*np.diff(points, axis=0).T).cumsum()])
    at = np.linspace(0, length[-1], max(int(length[-1] * 2) + 1, 2))
    x, y = np.interp(at, length, points[:, 0]), np.interp(at, length, points[:, 1])
    radius = width / 2
    reach = int(np.ceil(radius))
    left, top = np.round(x).astype(np.int32), np.round(y).astype(np.int32)
    height, width_px = coverage.shape
    inside = (left >= reach) & (left < width_px - reach) & (top >= reach) & (top < height - reach)
    left, top = left[inside], top[inside]
    dx, dy = (x[inside] - left).astype(np.float32), (y[inside] - top).astype(np.float32)
    flat = coverage.reshape(-1)
    base = top.astype(np.int64) * width_px + left
    for row in range(-reach, reach + 1):
        for column in range(-reach, reach + 1):
            ink = radius + 0.5 - np.hypot(column - dx, row - dy)
            some = ink > 0
            value = np.minimum(ink[some], min(1.0, width))
            np.maximum.at(flat, base[some] + (row * width_px + column), value)


def put_ink(image: np.ndarray, coverage: np.ndarray, colour: tuple[float, float, float]) -> None:
    """Blend `colour` (RGB 0..255) into (H, W, 3) uint8 by coverage (H, W) in 0..1, in place."""
    pixels = image.reshape(-1, 3)
    inked = np.flatnonzero(coverage > 0)
    share = coverage.reshape(-1)[inked, None]
    pixels[inked] = np.round(pixels[inked] * (1 - share) + np.asarray(colour, np.float32) * share)


@cache
def font_files() -> dict[str, Path]:
    """Paths of those of LATIN_FONTS and SERIF_FONTS that are installed, by file name."""
    found: dict[str, Path] = {}
    folders = list(FONT_FOLDERS)
    matplotlib = importlib.util.find_spec("matplotlib")
    if matplotlib and matplotlib.origin:
        folders.append(Path(matplotlib.origin).parent / "mpl-data" / "fonts")
    for folder in folders:
        for path in sorted(folder.rglob("*.ttf")) if folder.is_dir() else ():
            if path.name in (*LATIN_FONTS, *SERIF_FONTS):
                found.setdefault(path.name, path)
    return found


@cache
def font_names() -> tuple[str, ...]:
    """The fonts that `rasterize_text` can use here, first ECG-image-kit's DejaVu Sans if it is installed."""
    return (*(name for name in LATIN_FONTS if name in font_files()), BUILT_IN, *HERSHEY)


@cache
def text_fonts() -> tuple[str, ...]:
    """The fonts of pages of any layout: those of `font_names` and the serif ones that are installed."""
    return (*font_names(), *(name for name in SERIF_FONTS if name in font_files()))


@lru_cache(maxsize=2048)
def rasterize_text(text: str, font: str, size: float) -> tuple[np.ndarray, int, int]:
    """Text at `size` px per em: coverage (h, w) float32 in 0..1, and the x and y px of its top left corner
    relative to the start of the baseline."""
    if font in HERSHEY:
        scale = size * CAP_HEIGHT / HERSHEY_CAP_HEIGHT
        thickness = max(1, round(size / 16))
        (width, height), below = cv2.getTextSize(text, HERSHEY[font], scale, thickness)
        mask = np.zeros((height + below + 4, width + 4), np.uint8)
        cv2.putText(mask, text, (2, height + 2), HERSHEY[font], scale, 255, thickness, cv2.LINE_AA)
        return mask.astype(np.float32) / 255, -2, -height - 2
    path = font_files().get(font)
    face = ImageFont.truetype(str(path), size) if path else ImageFont.load_default(size)
    assert isinstance(face, ImageFont.FreeTypeFont)
    glyphs, (left, top) = face.getmask2(text, mode="L", anchor="ls")
    width, height = glyphs.size
    return np.array(glyphs, np.float32).reshape(height, width) / 255, left, top


def put_text(
    image: np.ndarray,
    text: str,
    xy: tuple[float, float],
    font: str,
    size: float,
    colour: tuple[float, float, float],
) -> None:
    """Write text into (H, W, 3) uint8 in place, its baseline starting at `xy` px, clipped to the image."""
    coverage, left, top = rasterize_text(text, font, size)
    left, top = left + round(xy[0]), top + round(xy[1])
    x0, y0 = max(left, 0), max(top, 0)
    x1, y1 = min(left + coverage.shape[1], image.shape[1]), min(top + coverage.shape[0], image.shape[0])
    if x0 < x1 and y0 < y1:
        window = image[y0:y1, x0:x1]
        share = coverage[y0 - top : y1 - top, x0 - left : x1 - left, None]
        window[:] = np.round(window * (1 - share) + np.asarray(colour, np.float32) * share)
