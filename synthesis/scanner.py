"""Scans of a page: in colour, grey or nearly black and white, clean or mouldy."""

from dataclasses import replace

import cv2
import numpy as np

from configs.page import PAGE_WIDTH_MM
from synthesis import damage, relief
from synthesis.fields import NOISE_TILE, repeat_tile
from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH, Page
from synthesis.scene import degrade
from synthesis.slip import Feed, feed_on_scan
from synthesis.warp import Warp

GREY_TYPES = ("0004", "0012")
MOULDY_TYPES = ("0011", "0012")
MARGIN_CELLS = 3  # white margin around a print, 6 mm, in cells of the relief; most of it is on the scan
DRY_BUCKLE, MOULDY_BUCKLE = 0.2, 1.0  # sizes given to `buckle`
INK_GAIN = (1.3, 2.3)  # range of the contrast gain, at which red lines become black and pale ones stay pale
STIPPLE = (20.0, 40.0)  # range of the standard deviation of the dithering noise, grey values
# Range of the distance from the threshold to white paper, in standard deviations of that noise: 1 to 10 % of
# the paper becomes black.
WHITE_DEVIATIONS = (1.3, 2.5)
SOFTNESS = (4.0, 12.0)  # range of the scale of the sigmoid that binarizes, grey values
CUT_PX = 15  # greatest part of the margin that a scan loses, in px of the scan, beyond what does not fit


def scan(
    page: Page, image_type: str, rng: np.random.Generator, feed: Feed | None = None
) -> tuple[np.ndarray, Warp]:
    """Scan a print: (H, W, 3) uint8 RGB, and the page's warp. The feed is steady when `feed` is None."""
    if page.competition:
        return scan_for_competition(page, image_type, rng, feed)
    image = page.image
    if rng.random() < 0.15:
        image = image.copy()
        damage.scribble(image, rng)
    if rng.random() < 0.5:
        image = damage.fade(image, rng.uniform(0.05, 0.45), rng)
    if rng.random() < 0.5:
        image = damage.speckle(image, rng.uniform(0.05, 0.3), rng)
    if image_type in MOULDY_TYPES:
        image = damage.grow_mould(image, rng)
    warp = scanner_warp(rng)
    if feed:
        warp = replace(warp, feed=feed_on_scan(feed, warp, page))
    cubic = rng.random() < 0.5
    border = (255, 255, 255) if rng.random() < 0.7 else (int(rng.integers(120, 255)),) * 3
    scanned = warp.resample(image, cv2.INTER_CUBIC if cubic else cv2.INTER_LINEAR, border)
    if image_type in GREY_TYPES:
        scanned = cv2.cvtColor(cv2.cvtColor(scanned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    scanned = cv2.LUT(scanned, tone_curve(rng, grey=image_type in GREY_TYPES))
    blur = rng.uniform(0, 0.9)
    return degrade(scanned, blur, rng.uniform(0, 5), int(rng.integers(60, 97)), rng), warp


def scan_for_competition(
    page: Page, image_type: str, rng: np.random.Generator, feed: Feed | None
) -> tuple[np.ndarray, Warp]:
    """A scan in the competition's style: white paper, salmon grid and greyish traces, or nearly bilevel."""
    mouldy = image_type in MOULDY_TYPES
    sheet, origin = relief.add_margins(page.image, (MARGIN_CELLS,) * 4)
    if mouldy:
        strength = rng.uniform(0.15, 0.5) if image_type in GREY_TYPES else rng.uniform(0.3, 0.9)
        sheet = damage.soil(sheet, strength, rng)
    if image_type in GREY_TYPES:
        sheet = cv2.cvtColor(sheet, cv2.COLOR_RGB2GRAY)
    warp = buckle(scanner_warp(rng), MOULDY_BUCKLE if mouldy else DRY_BUCKLE, rng)
    if feed:
        warp = replace(warp, feed=feed_on_scan(feed, warp, page))
    smooth = cv2.INTER_CUBIC if rng.random() < 0.5 else cv2.INTER_LINEAR
    scanned = warp.resample(sheet, smooth, (255, 255, 255), origin=origin)
    if image_type in GREY_TYPES:
        scanned = cv2.cvtColor(dither(scanned, rng), cv2.COLOR_GRAY2RGB)
        scanned = degrade(scanned, rng.uniform(0, 0.5), rng.uniform(0, 3), int(rng.integers(75, 97)), rng)
        return cv2.cvtColor(cv2.cvtColor(scanned, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB), warp
    scanned = cv2.LUT(scanned, white_curve(rng))
    return degrade(scanned, rng.uniform(0, 0.7), rng.uniform(0, 2.5), int(rng.integers(75, 97)), rng), warp


def buckle(warp: Warp, size: float, rng: np.random.Generator) -> Warp:
    """Add the deformation of a sheet that dried unevenly to a scan's warp.

    At a size of 1 each side of the sheet leans by an angle of its own, 1 to 2 degrees, and the width of the
    squares varies by some 7 %.
    """
    x, y = relief.relief_nodes()
    lean, twist = np.tan(np.deg2rad(rng.normal(0, (1, 0.6), (2, 2)) * size))
    along = np.stack([y * (lean[0] + twist[0] * x), x * (lean[1] + twist[1] * y)], axis=-1) * PAGE_WIDTH
    waves = relief.waves(rng.uniform(3, 12) * size, int(rng.integers(4, 7)), rng)
    return replace(warp, displacement=(warp.displacement + along + waves).astype(np.float32))


def dither(grey: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A scanner's text mode: binarize (H, W) uint8 almost, with light tones dithered to dots.

    Adding high-pass noise before a steep sigmoid imitates error diffusion, but is faster: pale lines become
    dots, and the mean density of the dots follows the darkness of the paper.
    """
    noise = rng.normal(0, 1, NOISE_TILE).astype(np.float32)
    noise -= cv2.GaussianBlur(noise, (0, 0), 1.2)
    spread = rng.uniform(*STIPPLE)
    noise *= spread / noise.std()
    tile = np.clip(noise, -128, 127).astype(np.int8)[..., None]
    ink = cv2.convertScaleAbs(cv2.bitwise_not(grey), alpha=rng.uniform(*INK_GAIN))
    noisy = cv2.add(cv2.bitwise_not(ink), repeat_tile(tile, *grey.shape), dtype=cv2.CV_8U)
    threshold = 250 - spread * rng.uniform(*WHITE_DEVIATIONS)
    levels = (np.arange(256) - threshold) / rng.uniform(*SOFTNESS)
    return cv2.LUT(noisy, (255 / (1 + np.exp(-levels))).astype(np.uint8))


def white_curve(rng: np.random.Generator) -> np.ndarray:
    """A look-up table (256,) uint8 that clips paper to white and lifts black ink to grey."""
    ramp = np.clip(np.arange(256) / rng.uniform(238, 254), 0, 1) ** rng.uniform(0.8, 1.2)
    black = rng.uniform(10, 45)
    return (black + ramp * (rng.uniform(250, 255) - black)).astype(np.uint8)


def scanner_warp(rng: np.random.Generator) -> Warp:
    """A random warp: up to 2 degrees of skew, a print smaller than the page, cut margins and uneven feed."""
    if rng.random() < 0.65:
        width, height = int(rng.integers(2130, 2201)), 1652
        scale = rng.uniform(7.35, 7.75) * PAGE_WIDTH_MM / PAGE_WIDTH
    else:
        width, height = 2038, 1554
        scale = rng.uniform(7.22, 7.34) * PAGE_WIDTH_MM / PAGE_WIDTH
    angle = np.deg2rad(np.clip(rng.normal(0, 0.5), -2, 2))
    stretch = 1 + rng.normal(0, 0.002, 2)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * (scale * stretch)
    slack = np.array([width - PAGE_WIDTH * scale, height - PAGE_HEIGHT * scale])
    corner = rng.uniform(np.minimum(slack, 0) - CUT_PX, np.maximum(slack, 0) + CUT_PX)
    centre = np.array([PAGE_WIDTH, PAGE_HEIGHT]) / 2
    homography = np.eye(3)
    homography[:2, :2] = matrix
    homography[:2, 2] = corner + centre * scale - matrix @ centre
    feed = relief.waves(rng.uniform(0, 1.0), 4, rng)
    return Warp(homography, feed, relief.RELIEF_CELL, relief.RELIEF_ORIGIN, 0.0, (width, height))


def tone_curve(rng: np.random.Generator, grey: bool) -> np.ndarray:
    """A look-up table (256, 1, 3) uint8 for contrast, brightness and, unless `grey`, a slight tint."""
    ramp = np.linspace(0, 1, 256)[:, None] ** rng.uniform(0.75, 1.4)
    black, white = rng.uniform(0, 45), rng.uniform(215, 262)
    tint = np.zeros(3) if grey else rng.normal(0, 4, 3)
    return np.clip(black + ramp * (white - black + tint), 0, 255).astype(np.uint8)[:, None, :]
