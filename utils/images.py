"""Images on disk: any file that a phone or a scanner writes to RGB, and RGB to PNG."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from utils.files import replacing

MAX_PIXELS = 200_000_000  # refused before decoding; an A4 page at 1200 dpi has 139 million
MAX_SIDE = 32_766  # px, of cv2.remap
PNG_COMPRESSION = 1  # zlib's fastest

Image.MAX_IMAGE_PIXELS = None  # read_rgb has its own limit, and says so


def read_rgb(path: Path) -> np.ndarray:
    """An image file as (H, W, 3) uint8 RGB, turned as its EXIF orientation says.

    16 bits become 8; grey, palette and CMYK become RGB; what is transparent becomes white.
    Raises ValueError with the file's name: missing, empty, not an image, broken, or above MAX_PIXELS or
    MAX_SIDE.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such image")
    if path.stat().st_size == 0:
        raise ValueError(f"{path}: empty file")
    try:
        with Image.open(path) as image:
            check_size(*image.size)
            ImageOps.exif_transpose(image, in_place=True)
            return as_rgb(image)
    except Exception as error:  # decoders raise whatever they like on broken files
        reason = "not an image" if isinstance(error, Image.UnidentifiedImageError) else error
        raise ValueError(f"{path}: {reason}") from error


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} px, above the limit of {MAX_PIXELS // 10**6} megapixels")
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width} x {height} px, a side above the limit of {MAX_SIDE} px")


def as_rgb(image: Image.Image) -> np.ndarray:
    """A Pillow image of any mode but F (float) as (H, W, 3) uint8."""
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers, of no known range")
    if image.mode.startswith("I"):
        grey = np.round(np.asarray(image).clip(0, 65535) / 257).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def write_png(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG, atomically. Raises ValueError for any other array."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{path}: {image.dtype} of shape {image.shape} is not (H, W, 3) uint8")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    encoded = cv2.imencode(".png", bgr, [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION])[1]
    with replacing(Path(path)) as partial:
        partial.write_bytes(encoded)
