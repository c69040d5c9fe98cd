"""Damage to paper and print: fading, stains, water, mould, dirt, tears and pen strokes.

Every function takes and returns an image (H, W, 3) uint8 RGB unless its docstring says otherwise.
"""

import cv2
import numpy as np

from synthesis.fields import NOISE_TILE, blend, multiply, repeat_tile, smooth_noise
from synthesis.ink import stroke
from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH

TAN = np.array([0.03, 0.08, 0.11], np.float32)  # shares of red, green and blue light that a stain absorbs


def fade(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Patches where ink ran low: all colours move towards white by a share of up to `strength` (0..1)."""
    patches = smooth_noise(PAGE_HEIGHT // 8, PAGE_WIDTH // 8, tuple(rng.integers(2, 14, 2)), rng)
    keep = 1 - strength * np.clip(0.5 + 0.5 * patches, 0, 1)
    inverted = cv2.bitwise_not(image)
    return cv2.bitwise_not(multiply(inverted, keep))


def speckle(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """The grain of a printer's raster: the density of all ink varies from pixel to pixel by `strength`."""
    grain = cv2.GaussianBlur(rng.normal(0, 1, NOISE_TILE).astype(np.float32), (0, 0), rng.uniform(0.4, 0.9))
    laid = np.clip(128 * (1 + strength * (grain / grain.std() - 0.5)), 0, 255).astype(np.uint8)
    laid = repeat_tile(cv2.merge([laid] * 3), *image.shape[:2])
    return cv2.bitwise_not(cv2.multiply(cv2.bitwise_not(image), laid, scale=1 / 128))


def blotch(rng: np.random.Generator, radius: float, roughness: float, shrink: int = 4) -> np.ndarray:
    """An irregular spot at a random place: (PAGE_HEIGHT / shrink, PAGE_WIDTH / shrink) float32.

    The values are the depth below the spot's rim, in units of `radius` (px): positive inside, 0 on the rim.
    """
    height, width = PAGE_HEIGHT // shrink, PAGE_WIDTH // shrink
    x, y = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
    centre_x, centre_y = rng.uniform(0, width), rng.uniform(0, height)
    radius = radius / shrink
    aspect = rng.uniform(0.6, 1.6)
    distance = np.hypot((x - centre_x) * aspect, (y - centre_y) / aspect) / radius
    cells = np.maximum(np.array([height, width]) / radius * rng.uniform(1, 2.5), 2).astype(int)
    return 1 - distance + roughness * smooth_noise(height, width, tuple(np.minimum(cells, 200)), rng)


def stain(image: np.ndarray, rng: np.random.Generator, opacity: float = 1.0) -> np.ndarray:
    """A spill of coffee, tea or ink with a darker rim; `opacity` is in 0..1."""
    depth = blotch(rng, rng.uniform(60, 420), rng.uniform(0.08, 0.4))
    body = np.clip(depth * 12, 0, 1)
    rim = np.exp(-((depth / rng.uniform(0.03, 0.1)) ** 2))
    # Absorbed shares of RGB.
    colour = np.array([rng.uniform(0.1, 0.4), rng.uniform(0.3, 0.7), rng.uniform(0.6, 1.0)])
    if rng.random() < 0.15:
        colour = rng.uniform(0.2, 0.9, 3)
    strength = rng.uniform(0.1, 0.6) * opacity
    absorbed = strength * (body * rng.uniform(0.3, 0.8) + rim * rng.uniform(0.2, 0.7))
    return multiply(image, np.clip(1 - absorbed[..., None] * colour, 0, 1).astype(np.float32))


def soak(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A wet region: darker, with blurred ink and a dark rim."""
    depth = blotch(rng, rng.uniform(250, 900), rng.uniform(0.1, 0.3))
    wet = cv2.resize(np.clip(depth * 8, 0, 1), image.shape[1::-1])
    run = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.8, 2.2))
    image = cv2.blendLinear(image, run, 1 - wet, wet)
    rim = np.exp(-((depth / 0.03) ** 2)) * 0.15
    tint = np.array([0.6, 0.8, 1.0], np.float32)
    darker = np.clip(depth * 8, 0, 1) * rng.uniform(0.05, 0.25) + rim
    return multiply(image, 1 - darker[..., None] * tint)


def grow_mould(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Yellowed paper with colonies and spots of mould."""
    height, width = PAGE_HEIGHT // 4, PAGE_WIDTH // 4
    patches = smooth_noise(height, width, tuple(rng.integers(2, 8, 2)), rng)
    yellow = rng.uniform(0.02, 0.25) * np.clip(0.6 + 0.5 * patches, 0, 1.6)
    gain = 1 - yellow[..., None] * np.array([0.25, 0.5, 1.0], np.float32)
    for _ in range(rng.integers(1, 6)):
        depth = blotch(rng, rng.uniform(40, 350), rng.uniform(0.2, 0.5))
        grain = smooth_noise(height, width, (height // 4, width // 4), rng)
        colony = np.clip(depth * rng.uniform(1, 4), 0, 1) * np.clip(0.5 + 0.6 * grain, 0, 1)
        absorbed = rng.uniform(0.3, 1.0, 3) if rng.random() < 0.5 else np.array([0.6, 0.5, 0.8])
        gain -= colony[..., None] * absorbed.astype(np.float32) * rng.uniform(0.1, 0.55)
    spots: np.ndarray = np.zeros((height, width), np.uint8)
    for _ in range(rng.integers(10, 250)):
        centre = int(rng.integers(width) * 8), int(rng.integers(height) * 8)
        cv2.circle(
            spots, centre, int(rng.exponential(10) + 5), int(rng.integers(60, 256)), -1, cv2.LINE_AA, 3
        )
    spots = cv2.GaussianBlur(spots, (0, 0), rng.uniform(0.5, 1.5)).astype(np.float32) / 255
    gain -= spots[..., None] * rng.uniform(0.3, 0.8, 3).astype(np.float32)
    return multiply(image, np.clip(gain, 0.08, 1))


def soil(image: np.ndarray, strength: float, rng: np.random.Generator) -> np.ndarray:
    """Dirt and light mould: pale tan stains, a film of dust and clusters of brown-grey specks."""
    height, width = image.shape[0] // 3, image.shape[1] // 3
    wash = smooth_noise(height, width, tuple(rng.integers(3, 8, 2)), rng) + rng.normal(0, 0.4)
    tan = (TAN * (1, rng.uniform(0.6, 1.1), 1)).astype(np.float32)
    gain = 1 - (strength * rng.uniform(0.2, 0.8) * wash.clip(0, 1.5))[..., None] * tan
    cells = int(rng.integers(10, 22))
    clusters = smooth_noise(height, width, (cells, cells), rng) + smooth_noise(height, width, (4, 5), rng)
    clusters += 0.7 * smooth_noise(height, width, (3 * cells, 4 * cells), rng)
    clusters = np.clip(0.6 * (clusters - rng.uniform(1.2, 2.4)), 0, 1)
    grain = cv2.GaussianBlur(rng.normal(0, 1, NOISE_TILE).astype(np.float32), (0, 0), rng.uniform(0.4, 1.0))
    grain = repeat_tile((grain / grain.std())[..., None], height, width)
    specks = clusters * (0.1 + np.clip(0.6 * (grain + clusters - 0.7), 0, 0.6))
    film = smooth_noise(height, width, (3, 4), rng) + rng.uniform(-0.8, 0.4)
    specks += film.clip(0, 1) * np.clip(0.1 + 0.08 * grain, 0, 0.3)
    specks += np.clip(grain - rng.uniform(3.2, 4.2), 0, 0.6)
    gain -= (strength * specks)[..., None] * np.array([0.88, 0.93, 1.0], np.float32)
    return multiply(image, np.clip(gain, 0.08, 1))


def scribble(image: np.ndarray, rng: np.random.Generator) -> None:
    """Draw a few strokes of a pen, in place."""
    coverage = np.zeros(image.shape[:2], np.float32)
    width = rng.uniform(2, 6)
    x, y = rng.uniform(100, PAGE_WIDTH - 500), rng.uniform(60, PAGE_HEIGHT - 60)
    for _ in range(rng.integers(1, 9)):
        knots = rng.normal(0, 1, (rng.integers(4, 10), 2)).cumsum(axis=0) * rng.uniform(8, 22) + (x, y)
        smooth = cv2.resize(knots.astype(np.float32), (2, 60), interpolation=cv2.INTER_CUBIC)
        stroke(coverage, smooth, width)
        x += rng.uniform(20, 60)
    colour = [(20, 30, 120), (30, 30, 30), (170, 30, 30), (20, 90, 60)][rng.integers(4)]
    blend(image, colour, coverage * rng.uniform(0.6, 0.95))


def paper_mask(rng: np.random.Generator) -> np.ndarray:
    """A sheet with holes, torn edges and missing corners: (1700, 2200) uint8, 255 where there is paper."""
    paper = np.full((PAGE_HEIGHT // 2, PAGE_WIDTH // 2), 255, np.uint8)
    for _ in range(rng.integers(0, 6)):
        depth = blotch(rng, rng.uniform(15, 90), rng.uniform(0.1, 0.4), shrink=2)
        paper[depth > 0] = 0
    for _ in range(rng.integers(0, 5)):
        tear(paper, rng)
    return cv2.resize(paper, (PAGE_WIDTH, PAGE_HEIGHT))


def tear(paper: np.ndarray, rng: np.random.Generator) -> None:
    """Set a wedge at a random edge, or a corner, of the mask (H, W) uint8 to 0, in place."""
    height, width = paper.shape
    perimeter = np.array([[0, 0], [width, 0], [width, height], [0, height], [0, 0]], np.float64)
    side = rng.integers(4)
    begin, end = perimeter[side], perimeter[side + 1]
    if rng.random() < 0.4:
        legs = rng.uniform(20, 130, 2)
        previous = perimeter[(side - 1) % 4]
        a = begin + (end - begin) / np.linalg.norm(end - begin) * legs[0]
        b = begin + (previous - begin) / np.linalg.norm(previous - begin) * legs[1]
        outline = [begin, a, *ragged(a, b, 6, rng), b]
    else:
        at = begin + (end - begin) * rng.uniform(0.1, 0.9)
        tangent = (end - begin) / np.linalg.norm(end - begin)
        inward = np.array([-tangent[1], tangent[0]])
        tip = at + inward * rng.uniform(30, 260) + tangent * rng.normal(0, 40)
        gap = tangent * rng.uniform(3, 25)
        outline = [at - gap, *ragged(at - gap, tip, 2, rng), tip, *ragged(tip, at + gap, 2, rng), at + gap]
    cv2.fillPoly(paper, [np.round(outline).astype(np.int32)], 0)


def ragged(a: np.ndarray, b: np.ndarray, size: float, rng: np.random.Generator) -> np.ndarray:
    """Points (14, 2) px of a torn edge from a to b; their noise has the standard deviation `size`."""
    share = np.linspace(0, 1, 16)[1:-1, None]
    return a + (b - a) * share + rng.normal(0, size, (14, 2))
