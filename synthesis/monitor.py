"""Photos of a desktop monitor that shows the page, with bezel, stand and room, as in the competition."""

import cv2
import numpy as np

from synthesis.background import competition_table
from synthesis.fields import multiply, smooth_noise
from synthesis.ink import font_names, put_text
from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH
from synthesis.scene import composite
from synthesis.warp import Warp, project

BRANDS = ("lumeno", "VIEWTEC", "Solaris", "hanno", "dexel", "AQUOR")  # fictitious
ROOM_SHRINK = 8  # factor by which the room is drawn smaller than the photo
STAND_WIDTHS = 0.7  # height of the monitor's image below its bezel, which shows the stand, in page widths


def photograph_monitor(image: np.ndarray, warp: Warp, rng: np.random.Generator) -> np.ndarray:
    """A photo (H, W, 3) uint8 RGB of a monitor that shows the page, (1700, 2200, 3), in a wide window."""
    screen, origin = render_screen(image, rng)
    monitor, shift = build_monitor(screen, rng)
    origin = (origin[0] + shift[0], origin[1] + shift[1])
    seen = warp.resample(monitor, cv2.INTER_LINEAR, (0, 0, 0, 0), origin=origin)
    bezel_foot = project(warp.homography, np.array([PAGE_WIDTH / 2, PAGE_HEIGHT * 1.1]))[1]
    return composite(seen, room(*warp.size, float(bezel_foot), rng))


def render_screen(image: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """The screen, (h, w, 3) uint8: the page in a window with a dark title bar, its contrast reduced.

    Also returns the (x, y) of the screen's top left corner in page px.
    """
    left, right, bottom = (rng.uniform(0.0, (0.05, 0.05, 0.06)) * PAGE_WIDTH).astype(int).tolist()
    bar, above = (rng.uniform((0.02, 0.0), (0.06, 0.04)) * PAGE_WIDTH).astype(int).tolist()
    window = [int(rng.uniform(215, 252))] * 3
    edge = int(rng.integers(2, 7))
    screen = cv2.copyMakeBorder(image, 0, edge, edge, edge, cv2.BORDER_CONSTANT, value=(90, 90, 95))
    screen = cv2.copyMakeBorder(screen, 0, bottom, left, right, cv2.BORDER_CONSTANT, value=window)
    screen = cv2.copyMakeBorder(
        screen, bar, 0, 0, 0, cv2.BORDER_CONSTANT, value=[int(rng.integers(5, 70))] * 3
    )
    write_title(screen[:bar], rng)
    screen = cv2.copyMakeBorder(screen, above, 0, 0, 0, cv2.BORDER_CONSTANT, value=window)
    black = rng.uniform(25, 70)  # grey value of black, raised by the room's light
    screen = cv2.convertScaleAbs(screen, alpha=(rng.uniform(205, 245) - black) / 255, beta=black)
    return multiply(screen, moire_gain(rng)), (-left - edge, -bar - above)


def write_title(bar: np.ndarray, rng: np.random.Generator) -> None:
    """Write a file name and a few buttons on a title bar, in place."""
    y = bar.shape[0] * rng.uniform(0.4, 0.8)
    name = f"{rng.integers(10**7, 10**9)}-0006.png"
    put_text(bar, name, (rng.uniform(20, 600), y), font_names()[0], rng.uniform(16, 30), (190, 190, 190))
    for x in PAGE_WIDTH - rng.uniform(20, 700, 5):
        put_text(
            bar, str(rng.choice(["x", "-", "o", "+", "..."])), (x, y), font_names()[0], 28, (150, 150, 155)
        )


def moire_gain(rng: np.random.Generator) -> np.ndarray:
    """Low-frequency colour moire between the pixels of screen and camera: a gain map (90, 120, 3) float32."""
    x, y = np.meshgrid(np.linspace(-1, 1, 120), np.linspace(-1, 1, 90))
    gain = 1 + rng.uniform(0.004, 0.016) * smooth_noise(90, 120, (5, 7), rng, channels=3)
    for _ in range(rng.integers(1, 4)):
        angle, waves = rng.uniform(0, np.pi), rng.uniform(1, 6)
        path = waves * (x * np.cos(angle) + y * np.sin(angle)) + 0.6 * smooth_noise(90, 120, (3, 4), rng)
        colour = rng.normal(0, 1, 3)
        colour -= colour.mean()
        gain = gain + 0.015 * np.sin(np.pi * path)[..., None] * colour
    return gain.astype(np.float32)


def build_monitor(screen: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, tuple[int, int]]:
    """The screen with bezel and stand: (h, w, 4) uint8 RGBA, and its top left corner (x, y) in screen px."""
    side, top, bottom = (rng.uniform((0.02, 0.04, 0.05), (0.05, 0.09, 0.1)) * PAGE_WIDTH).astype(int).tolist()
    foot = int(STAND_WIDTHS * PAGE_WIDTH)
    black = int(rng.integers(8, 50))
    height, width = screen.shape[:2]
    lower = top + height + bottom
    case, nothing = (black, black, black + 2, 255), (0, 0, 0, 0)
    screen = cv2.cvtColor(screen, cv2.COLOR_RGB2RGBA)
    monitor = cv2.copyMakeBorder(screen, top, bottom, side, side, cv2.BORDER_CONSTANT, value=case)
    monitor = cv2.copyMakeBorder(monitor, 0, foot, 0, 0, cv2.BORDER_CONSTANT, value=nothing)
    shine = (black + 18,) * 3
    cv2.rectangle(monitor, (side - 6, top - 6), (side + width + 6, top + height + 6), (*shine, 255), 6)
    size = top * rng.uniform(0.35, 0.6)
    logo = monitor[:top, :, :3]
    put_text(logo, str(rng.choice(BRANDS)), (width * 0.45, top * 0.7), font_names()[0], size, (170,) * 3)
    lamp = (side + round(width * rng.uniform(0.85, 0.97)), lower - bottom // 2)
    cv2.circle(monitor, lamp, 12, (90, 110, 220, 255), -1)
    neck, middle = int(width * rng.uniform(0.08, 0.14)), width // 2 + side
    cv2.rectangle(monitor, (middle - neck, lower), (middle + neck, lower + foot // 2), (*shine, 255), -1)
    base = (int(width * rng.uniform(0.2, 0.32)), int(foot * rng.uniform(0.15, 0.3)))
    cv2.ellipse(
        monitor, (middle, lower + foot // 2), base, 0, 0, 360, (black + 8,) * 3 + (255,), -1, cv2.LINE_AA
    )
    return monitor, (-side, -top)


def room(width: int, height: int, horizon: float, rng: np.random.Generator) -> np.ndarray:
    """Pale walls and a wooden desk below the row `horizon` (px): (height, width, 3) uint8 RGB."""
    rows, columns = -(-height // ROOM_SHRINK), -(-width // ROOM_SHRINK)
    wall = rng.uniform(90, 200) * (1 + rng.normal(0, 0.03, 3))
    image = np.full((rows, columns, 3), wall, np.float32)
    for _ in range(rng.integers(1, 4)):
        points = rng.uniform(-0.2, 1.2, (3, 2)) * (columns, rows)
        tone = float(rng.uniform(0.8, 1.15))
        cv2.fillPoly(image, [np.round(points).astype(np.int32)], (wall * tone).tolist(), cv2.LINE_AA)
    image *= 1 + 0.05 * smooth_noise(rows, columns, (3, 3), rng)[..., None]
    plain = cv2.resize(np.clip(image, 0, 255).astype(np.uint8), (width, height))
    desk = int(horizon + height * rng.uniform(0.0, 0.2))
    if desk < height - 8:
        wood = competition_table(str(rng.choice(["0005", "0009"])), width, height - max(desk, 0), rng)
        plain[max(desk, 0) :] = wood
    return plain
