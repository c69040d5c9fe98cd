"""Backgrounds of photos: tables of wood, metal or cloth, and other sheets of paper."""

import cv2
import numpy as np

from synthesis.fields import smooth_noise
from synthesis.warp import project

BACKGROUND_SHRINK = 4  # factor by which a table is drawn smaller than the photo
PAPER_SIZES = (0.3, 0.9)  # range of the sides of other sheets on the table, in widths of the photo
OTHER_TABLE_SHARE = 0.15  # share of competition-style photos with the table of a random image type
PALE_WOOD, DARK_WOOD = ((122, 86, 50), (226, 190, 140)), ((32, 20, 12), (150, 104, 66))  # darkest, lightest
TEXTURE_PX = 1344  # long side of a table's texture before it is enlarged to the photo, px
SIMILAR_WOOD = 0.12  # standard deviation of the logarithm of the brightness between tables
BRUSHED_STEEL = ((92, 94, 91), (232, 233, 228))  # darkest and lightest RGB
STACK_SHEETS = (2, 7)  # range of the number of sheets under the page; the upper end is excluded
STACK_STEP_PX = 9.0  # standard deviation of the offset between a sheet of the stack and the next, page px


def table(width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A wooden, cloth, rough or plain table, sometimes with other sheets: (height, width, 3) uint8 RGB."""
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
            add_paper(image, rng)
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)


def add_paper(image: np.ndarray, rng: np.random.Generator) -> None:
    """Put a sheet with printed lines at a random place of the image (H, W, 3) uint8, in place."""
    height, width = image.shape[:2]
    w, h = width * rng.uniform(*PAPER_SIZES), width * rng.uniform(*PAPER_SIZES)
    sheet = np.full((int(h), int(w), 3), rng.uniform(200, 250), np.uint8)
    ink = (int(rng.integers(60, 200)), int(rng.integers(60, 180)), int(rng.integers(60, 180)))
    pitch = rng.uniform(6, 14)
    for y in np.arange(pitch, int(h) - 1, pitch):
        sheet[int(y), int(w * 0.08) : int(w * rng.uniform(0.4, 0.95))] = ink
    rotation = cv2.getRotationMatrix2D((w / 2, h / 2), rng.uniform(0, 360), 1.0)
    rotation[:, 2] += rng.uniform(0, 1, 2) * (width, height) - (w / 2, h / 2)
    cv2.warpAffine(sheet, rotation, (width, height), dst=image, borderMode=cv2.BORDER_TRANSPARENT)


def competition_table(image_type: str, width: int, height: int, rng: np.random.Generator) -> np.ndarray:
    """A table as in the competition's photos of an image type: (height, width, 3) uint8 RGB."""
    types = ("0005", "0009", "0010")
    if rng.random() < OTHER_TABLE_SHARE:
        image_type = str(rng.choice(types))
    shrink = max(width, height) / TEXTURE_PX
    rows, columns = max(round(height / shrink), 1), max(round(width / shrink), 1)
    if image_type == "0010":
        field, (dark, pale) = brushed_steel(rows, columns, rng), BRUSHED_STEEL
    else:
        upright = rng.random() < (0.9 if image_type == "0009" else 0.1)
        field = wood_grain(columns, rows, rng).T if upright else wood_grain(rows, columns, rng)
        dark, pale = DARK_WOOD if image_type == "0009" else PALE_WOOD
    fine = cv2.resize(np.clip(field * 255, 0, 255).astype(np.uint8), (width, height))
    brightness = np.exp(rng.normal(0, SIMILAR_WOOD)) * (1 + rng.normal(0, 0.02, 3))
    colours = np.linspace(dark, pale, 256) * brightness  # (256, 3)
    return cv2.LUT(cv2.merge([fine] * 3), np.clip(colours, 0, 255).astype(np.uint8)[:, None])


def streaks(rows: int, columns: int, length: float, rng: np.random.Generator) -> np.ndarray:
    """Normal noise in horizontal streaks `length` px long: (rows, columns) float32."""
    coarse = rng.normal(0, 1, (rows, int(columns / length) + 3)).astype(np.float32)
    coarse = np.take_along_axis(  # a random offset for each row, so that streaks do not line up
        np.repeat(coarse, 4, axis=1),
        rng.integers(0, 4, (rows, 1)) + np.arange(coarse.shape[1] * 4 - 4),
        axis=1,
    )
    return cv2.resize(coarse, (columns, rows), interpolation=cv2.INTER_LINEAR)


def wood_grain(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Wood with horizontal fibres: brightness (rows, columns) float32, mostly in 0..1."""
    y = np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    bend = smooth_noise(rows, columns, (6, 3), rng)
    rings = np.sin(2 * np.pi * rng.uniform(8, 30) * y + rng.uniform(1, 4) * bend)
    fibres = streaks(rows, columns, rng.uniform(25, 80), rng)
    pores = np.minimum(streaks(rows, columns, 12, rng) + 1.2, 0)
    slow = smooth_noise(rows, columns, (9, 3), rng)
    return 0.58 + rng.uniform(0.03, 0.14) * rings + 0.12 * fibres + 0.15 * pores + 0.07 * slow


def brushed_steel(rows: int, columns: int, rng: np.random.Generator) -> np.ndarray:
    """Horizontally brushed steel with reflections: brightness (rows, columns) float32, mostly in 0..1."""
    field = (
        0.38
        + 0.12 * streaks(rows, columns, rng.uniform(15, 60), rng)
        + 0.03 * smooth_noise(rows, columns, (3, 3), rng)
    )
    x, y = np.linspace(0, 1, columns, dtype=np.float32), np.linspace(0, 1, rows, dtype=np.float32)[:, None]
    streaky = 1 + 0.15 * np.sign(field - 0.38)
    for _ in range(rng.integers(1, 4)):
        along, across, wide, high = rng.uniform((0, 0, 0.1, 0.1), (1, 1, 0.3, 0.3)).astype(np.float32)
        spot = np.exp(-(((x - along) / wide) ** 2)) * np.exp(-(((y - across) / high) ** 2))
        field += rng.uniform(0.2, 0.6) * spot * streaky
    return field


def add_paper_stack(
    background: np.ndarray,
    homography: np.ndarray,
    origin: tuple[float, float],
    shape: tuple[int, ...],
    rng: np.random.Generator,
) -> None:
    """Draw a stack of sheets under the page into the background (H, W, 3) uint8, in place.

    The sheets have the page's `shape` (h, w, ...) in page px, its top left corner at `origin`; `homography`
    maps page px to photo px.
    """
    height, width = shape[:2]
    along = np.linspace(0, 1, 24, endpoint=False)[:, None]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float64)
    outline = np.concatenate(
        [a + (b - a) * along for a, b in zip(corners, np.roll(corners, -1, 0), strict=True)]
    )
    centre = np.array([width, height]) / 2
    drift = rng.normal(0, STACK_STEP_PX, 2)
    count = int(rng.integers(*STACK_SHEETS))
    thick = max(1, round(background.shape[1] / 2000))
    for below in range(count, 0, -1):
        angle = rng.normal(0, 0.006)
        rotation = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        wavy = smooth_noise(len(outline), 1, (30, 1), rng, channels=2).reshape(-1, 2) * 3
        place = (
            (outline - centre) @ rotation + centre + origin + drift * below + rng.normal(0, STACK_STEP_PX, 2)
        )
        points = np.round(project(homography, place + wavy) * 16).astype(np.int32)
        cv2.fillPoly(background, [points], (float(rng.uniform(215, 250)),) * 3, cv2.LINE_AA, 4)
        cv2.polylines(background, [points], True, (float(rng.uniform(110, 190)),) * 3, thick, cv2.LINE_AA, 4)
