"""Reading images of phones and scanners as RGB, and writing RGB as PNG."""

import warnings
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from utils.files import atomic_write
from utils.pdf import PDF_DPI, PDF_SUFFIX, render_pdf_page

MAX_PIXELS = 178_000_000  # limit before decoding, as in Pillow; A4 at 1200 dpi has 139 million
MAX_SIDE = 32_766  # limit of cv2.remap, px
PNG_COMPRESSION = 1  # zlib's fastest level that still compresses
# The PNG filter "up", from OpenCV 4.12 on: 40 % faster than a filter for each line, files up to 15 % larger.
PNG_FILTER_UP = 32
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
DEPTHS = (8, 12, 16)  # bits per grey value in scanners and cameras


def read_rgb(path: Path) -> np.ndarray:
    """An image file, or the first page of a PDF, as (H, W, 3) uint8 RGB, rotated by its EXIF orientation.

    Greater bit depths become 8 bits; grey, palette and CMYK images become RGB; transparency becomes white.
    Raises ValueError with the file's name when it is missing, empty, not an image, broken, or above
    MAX_PIXELS or MAX_SIDE; for a PDF also when pypdfium2 is not installed.
    """
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"{path}: no such image")
    try:
        if path.stat().st_size == 0:
            raise ValueError("empty file")
        if path.suffix.lower() == PDF_SUFFIX:
            return render_pdf_page(path, 0, PDF_DPI, MAX_PIXELS, MAX_SIDE)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # damaged EXIF, and Pillow's first limit of 89 megapixels
            with Image.open(path) as image:
                check_size(*image.size)
                ImageOps.exif_transpose(image, in_place=True)
                return as_rgb(image)
    except Exception as error:  # decoders raise exceptions of many types on broken files
        if isinstance(error, Image.UnidentifiedImageError):
            reason: object = "not an image"
        elif isinstance(error, Image.DecompressionBombError):
            reason = f"above the limit of {MAX_PIXELS // 10**6} megapixels"
        elif isinstance(error, OSError) and error.strerror:
            reason = error.strerror
        else:
            reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: {reason}") from error


def check_size(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise ValueError(f"{width} x {height} px, above the limit of {MAX_PIXELS // 10**6} megapixels")
    if max(width, height) > MAX_SIDE:
        raise ValueError(f"{width} x {height} px, a side above the limit of {MAX_SIDE} px")


def as_rgb(image: Image.Image) -> np.ndarray:
    """A Pillow image as (H, W, 3) uint8 RGB. Raises ValueError for mode F (float)."""
    if image.mode == "F":
        raise ValueError("pixels are floating-point numbers, of no known range")
    if image.mode.startswith("I"):
        grey = to_8_bits(np.asarray(image))
        return np.repeat(grey[..., None], 3, axis=2)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image if image.mode == "RGB" else image.convert("RGB"))


def to_8_bits(grey: np.ndarray) -> np.ndarray:
    """Integers of unknown bit depth as uint8; the depth is the least of DEPTHS that holds the maximum."""
    top = int(grey.max(initial=0))
    bits = next((bits for bits in DEPTHS if top < 2**bits), top.bit_length())
    return np.round(grey.clip(0) * (255 / (2**bits - 1))).astype(np.uint8)


def encode_jpeg(image: np.ndarray, quality: int) -> bytes:
    """The contents of a JPEG file of an image (H, W, 3) uint8 RGB; `quality` is in 0..100."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    return cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


def write_png(path: Path, image: np.ndarray) -> None:
    """Write (H, W, 3) uint8 RGB as PNG, atomically. Raises ValueError for any other array."""
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{path}: {image.dtype} of shape {image.shape} is not (H, W, 3) uint8")
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_PNG_COMPRESSION, PNG_COMPRESSION]
    if hasattr(cv2, "IMWRITE_PNG_FILTER"):
        options += [cv2.IMWRITE_PNG_FILTER, PNG_FILTER_UP]
    encoded = cv2.imencode(".png", bgr, options)[1]
    with atomic_write(Path(path)) as partial:
        partial.write_bytes(encoded.tobytes())
