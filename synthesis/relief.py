"""Shapes of a sheet that is not flat (bent, curling, rippled, creased) as displacements and shading.

A relief is a field on a lattice of nodes RELIEF_CELL page px apart that reaches beyond the page: a
displacement (h, w, 2) in page px for Warp, or the light on the paper (h, w) as a gain around 1.
"""

import cv2
import numpy as np

from synthesis.fields import smooth_noise
from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH

RELIEF_CELL = 16  # distance between the nodes, page px
RELIEF_MARGIN = 10  # number of nodes beyond each edge of the page
RELIEF_SHAPE = (PAGE_HEIGHT // RELIEF_CELL + 2 * RELIEF_MARGIN, PAGE_WIDTH // RELIEF_CELL + 2 * RELIEF_MARGIN)
RELIEF_ORIGIN = -RELIEF_MARGIN * RELIEF_CELL  # x and y of the first node, page px


def relief_nodes() -> tuple[np.ndarray, np.ndarray]:
    """x and y of the nodes from the page's centre, in page widths: two (h, w) float32 arrays."""
    rows, columns = RELIEF_SHAPE
    x = (np.arange(columns) - columns / 2) * RELIEF_CELL / PAGE_WIDTH
    y = (np.arange(rows) - rows / 2) * RELIEF_CELL / PAGE_WIDTH
    return np.meshgrid(x.astype(np.float32), y.astype(np.float32))


def curl(size: float, rng: np.random.Generator) -> np.ndarray:
    """Displacement (h, w, 2) of a bent sheet, up to `size` page px."""
    x, y = relief_nodes()
    angle = rng.uniform(0, np.pi)
    across = x * np.cos(angle) + y * np.sin(angle)
    a, b, phase = rng.normal(0, 1), rng.normal(0, 0.7), rng.uniform(0, 2 * np.pi)
    height = a * (2 * across) ** 2 + b * (2 * across) ** 3 + 0.4 * np.sin(5 * across + phase)
    direction = rng.uniform(0, 2 * np.pi)
    field = np.stack([height * np.cos(direction), height * np.sin(direction)], axis=-1)
    return (field * (size / max(np.abs(field).max(), 1e-6))).astype(np.float32)


def waves(size: float, cells: int, rng: np.random.Generator) -> np.ndarray:
    """Displacement (h, w, 2) of an uneven sheet, of standard deviation `size` page px."""
    rows, columns = RELIEF_SHAPE
    return size * smooth_noise(rows, columns, (cells * 3 // 4 + 1, cells), rng, channels=2)


def creases(count: int, size: float, reach: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Straight creases: displacement (h, w, 2), up to `size` page px for each, and light (h, w).

    The displacement falls off exponentially over `reach` page widths from a crease.
    """
    x, y = relief_nodes()
    displacement = np.zeros((*RELIEF_SHAPE, 2), np.float32)
    light = np.ones(RELIEF_SHAPE, np.float32)
    for _ in range(count):
        angle = rng.uniform(0, np.pi)
        normal = np.array([np.cos(angle), np.sin(angle)])
        along = -x * normal[1] + y * normal[0]
        distance = x * normal[0] + y * normal[1] - rng.uniform(-0.45, 0.45)
        begin, length = rng.uniform(-0.6, 0.4), rng.uniform(0.2, 1.2)
        ends = np.clip(np.minimum(along - begin, begin + length - along) * 12, 0, 1)
        pull = np.exp(-np.abs(distance) / reach) * ends * rng.uniform(-size, size)
        displacement += pull[..., None] * normal.astype(np.float32)
        slope = np.exp(-np.abs(distance) / (2 * reach)) * np.sign(distance) * ends
        light += slope * rng.uniform(-0.16, 0.16)
        light -= np.exp(-((distance / 0.006) ** 2)) * ends * rng.uniform(-0.1, 0.2)
    return displacement, light


def curl_edge(size: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """An edge or corner curling up: displacement (h, w, 2), about `size` page px at the rim; light (h, w)."""
    x, y = relief_nodes()
    angle = rng.uniform(0, 2 * np.pi)
    normal = np.array([np.cos(angle), np.sin(angle)])
    towards = x * normal[0] + y * normal[1]
    rim = 0.5 * abs(normal[0]) + 0.5 * PAGE_HEIGHT / PAGE_WIDTH * abs(normal[1])
    begin = rng.uniform(0.2, 0.7)
    lift = np.clip((towards / rim - begin) / (1 - begin), 0, 1.2)
    pull = -normal * rng.uniform(0.3, 1) + np.array([-normal[1], normal[0]]) * rng.uniform(-0.7, 0.7)
    displacement = size * (lift**2)[..., None] * pull
    return displacement.astype(np.float32), 1 + rng.uniform(-0.15, 0.08) * lift


def ripples(size: float, cells: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Paper that rippled as it dried, most at its rim: displacement (h, w, 2) and light (h, w).

    size: standard deviation at the rim, page px. cells: of the noise across the relief, two to a wave.
    """
    x, y = relief_nodes()
    height = smooth_noise(*RELIEF_SHAPE, (cells * 3 // 4 + 1, cells), rng)
    height *= 0.4 + 0.6 * np.maximum(np.abs(x), np.abs(y) * PAGE_WIDTH / PAGE_HEIGHT).clip(0, 0.6) / 0.5
    angle, sun = rng.uniform(0, 2 * np.pi, 2)
    away = np.stack([np.cos(angle) + 2 * x, np.sin(angle) + 2 * y], axis=-1)  # from below the camera
    slope_y, slope_x = np.gradient(height)
    slope = slope_x * np.cos(sun) + slope_y * np.sin(sun)
    light = 1 + rng.uniform(0.015, 0.05) * slope / slope.std()
    return (size * height[..., None] * away).astype(np.float32), light.astype(np.float32)


def crop_to_page(relief: np.ndarray, cells: tuple[int, ...] = (0, 0, 0, 0)) -> np.ndarray:
    """The part of a relief on the page and its margins, which are as wide as `cells` in `add_margins`."""
    left, top, right, bottom = (RELIEF_MARGIN - count for count in cells)
    return relief[top : len(relief) - bottom, left : relief.shape[1] - right]


def add_margins(image: np.ndarray, cells: tuple[int, ...]) -> tuple[np.ndarray, tuple[float, float]]:
    """Add white margins to a print, in `cells` of the relief at its left, top, right and bottom.

    Returns the sheet and its top left corner (x, y) in page px.
    """
    left, top, right, bottom = (count * RELIEF_CELL for count in cells)
    sheet = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=(255, 255, 255))
    return sheet, (-left, -top)
