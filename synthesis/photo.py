"""Photos of a page, handheld in varied conditions or in the style of the competition's photos."""

import cv2
import numpy as np

from synthesis import damage, relief
from synthesis.background import add_paper_stack, competition_table, table
from synthesis.fields import multiply
from synthesis.monitor import photograph_monitor
from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH, Page
from synthesis.pose import Pose, draw_frontal_pose, draw_pose, photo_scale, photo_size
from synthesis.scene import add_glare, composite, degrade, light, motion_blur, sharpen, soft_light
from synthesis.screen import photograph_screen
from synthesis.warp import Warp

SECOND_SHEET_SHARE = 0.06  # share of photos of paper with another ECG in the frame
SECOND_SHEET_OFFSET = (0.4, 1.1)  # range of the distance between the two, in page widths and heights
PORTRAIT_SHARES = {"0006": 0.8}  # share in portrait format of the competition's photos, 0 for other types
MARGIN_CELLS = (2, 4)  # range of the white margin around a print, 4 to 8 mm, in cells of the relief
SOFT_SHADOW = 0.35  # greatest share of the light that a sheet's shadow takes under even light
LAPTOP_SHARE = 0.2  # share of competition-style photos of screens with a laptop, not a desktop monitor


def photograph(
    page: Page,
    image_type: str,
    rng: np.random.Generator,
    pose: Pose | None = None,
    second_sheet: bool | None = None,
) -> tuple[np.ndarray, Warp]:
    """Photograph a print on a table, or the page on a screen: (H, W, 3) uint8 RGB, and the page's warp."""
    if page.competition:
        return photograph_for_competition(page.image, image_type, rng, pose, second_sheet)
    image, on_screen = page.image, image_type == "0006"
    size = photo_size(on_screen, rng)
    if not on_screen:
        image, displacement = handle_paper(image, image_type, rng)
    else:
        displacement = np.zeros((*relief.RELIEF_SHAPE, 2), np.float32)
    drawn = draw_pose(size, rng)
    pose = pose or drawn
    lens = rng.normal(0, 0.012)
    warp = Warp(pose.homography(), displacement, relief.RELIEF_CELL, relief.RELIEF_ORIGIN, lens, pose.size)
    scale = photo_scale(warp)
    if on_screen:
        photo = photograph_screen(image, warp, rng)
    else:
        photo = photograph_paper(image, image_type, warp, scale, rng, second_sheet)
    gain = light(pose.size[1], pose.size[0], 0.5 if on_screen else 1.0, rng)
    photo = multiply(photo, gain)
    if rng.random() < (0.5 if on_screen else 0.12):
        photo = add_glare(photo, rng)
    if rng.random() < 0.15:
        photo = motion_blur(photo, rng.uniform(1, 3.5) * scale, rng)
    blur = abs(rng.normal(0, 0.7)) * scale
    return degrade(photo, blur, rng.uniform(0.5, 7), int(rng.integers(55, 96)), rng), warp


def photograph_for_competition(
    image: np.ndarray, image_type: str, rng: np.random.Generator, pose: Pose | None, second_sheet: bool | None
) -> tuple[np.ndarray, Warp]:
    """A photo in the competition's style: the whole page under even light, on its tables and monitors."""
    on_screen = image_type == "0006"
    size = photo_size(on_screen, rng, PORTRAIT_SHARES.get(image_type, 0.0))
    drawn = draw_frontal_pose(size, on_screen, rng)
    pose = pose or drawn
    cells = tuple(rng.integers(*MARGIN_CELLS, 4, endpoint=True).tolist())
    displacement = np.zeros((*relief.RELIEF_SHAPE, 2), np.float32)
    if not on_screen:
        image, origin = relief.add_margins(image, cells)
        image, displacement = wear_paper(image, cells, image_type, rng)
    lens = rng.normal(0, 0.008)
    warp = Warp(pose.homography(), displacement, relief.RELIEF_CELL, relief.RELIEF_ORIGIN, lens, pose.size)
    scale = photo_scale(warp)
    if not on_screen:
        background = competition_table(image_type, *pose.size, rng)
        if image_type == "0009":
            add_paper_stack(background, warp.homography, origin, image.shape, rng)
        sheet = cv2.cvtColor(antialias(scale, image), cv2.COLOR_RGB2RGBA)
        photo = composite_sheet(sheet, background, warp, rng, second_sheet, origin, SOFT_SHADOW)
    elif rng.random() < LAPTOP_SHARE:
        photo = photograph_screen(image, warp, rng)
    else:
        photo = photograph_monitor(antialias(scale, image), warp, rng)
    photo = multiply(photo, soft_light(pose.size[1], pose.size[0], not on_screen, rng))
    if on_screen and rng.random() < 0.4:
        photo = add_glare(photo, rng)
    photo = sharpen(photo, rng.uniform(0.3 if image_type == "0010" else 0.0, 1.2), scale)
    blur = abs(rng.normal(0, 0.4)) * scale
    return degrade(photo, blur, rng.uniform(0.5, 3), int(rng.integers(70, 97)), rng), warp


def wear_paper(
    image: np.ndarray, cells: tuple[int, ...], image_type: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Age a sheet with margins as in the competition: the image (h, w, 3) and the displacement of its relief.

    An edge curls; type 0009 also has ripples and pale stains, 0010 ripples and dirt.
    """
    displacement, shade = relief.curl_edge(rng.uniform(5, 45), rng)
    displacement += relief.waves(rng.uniform(0, 2), 5, rng)
    if image_type != "0005":
        cells_across = int(rng.integers(8, 20) if image_type == "0009" else rng.integers(5, 14))
        rippled, light_on_ripples = relief.ripples(rng.uniform(2, 8), cells_across, rng)
        displacement, shade = displacement + rippled, shade * light_on_ripples
    if image_type == "0009":
        for _ in range(rng.integers(0, 4)):
            image = damage.stain(image, rng, opacity=0.3)
    if image_type == "0010":
        image = damage.soil(image, rng.uniform(0.4, 1.1), rng)
    return multiply(image, relief.crop_to_page(shade, cells)), displacement


def handle_paper(
    image: np.ndarray, image_type: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Damage a print as its image type requires: the image (h, w, 3) and the displacement of its relief."""
    image = image.copy()
    displacement = relief.curl(45 * rng.uniform(0, 1) ** 1.5, rng) + relief.waves(rng.uniform(0, 2), 6, rng)
    if rng.random() < (0.15 if image_type == "0005" else 0.3):
        damage.scribble(image, rng)
    if rng.random() < 0.25:
        image = damage.fade(image, rng.uniform(0.05, 0.35), rng)
    folds = int(rng.integers(0, 4))
    if image_type == "0009":
        for _ in range(rng.integers(1, 6)):
            image = damage.stain(image, rng)
        for _ in range(rng.integers(1, 3)):
            image = damage.soak(image, rng)
        displacement += relief.waves(rng.uniform(0.5, 3), 10, rng)
    if image_type == "0010":
        folds = int(rng.integers(8, 60))
        displacement += relief.waves(rng.uniform(0.5, 2.5), 14, rng)
        if rng.random() < 0.4:
            image = damage.stain(image, rng)
    pulled, shade = relief.creases(folds, rng.uniform(0.5, 3.5), rng.uniform(0.015, 0.08), rng)
    return multiply(image, relief.crop_to_page(shade)), displacement + pulled


def photograph_paper(
    image: np.ndarray,
    image_type: str,
    warp: Warp,
    scale: float,
    rng: np.random.Generator,
    second_sheet: bool | None = None,
) -> np.ndarray:
    """The photo of a sheet on a table; `scale` is photo px per page px.

    second_sheet: whether another sheet lies there; None draws it at random.
    """
    sheet = cv2.cvtColor(antialias(scale, image), cv2.COLOR_RGB2RGBA)
    if image_type == "0010":
        paper = damage.paper_mask(rng)
        fibres = cv2.erode(paper, np.ones((5, 5), np.uint8)) < 128
        sheet[fibres] = int(rng.integers(190, 250))
        cv2.insertChannel(paper, sheet, 3)
    return composite_sheet(sheet, table(*warp.size, rng), warp, rng, second_sheet)


def antialias(scale: float, image: np.ndarray) -> np.ndarray:
    """Blur a page image against aliasing in a photo of `scale` px per page px."""
    return cv2.GaussianBlur(image, (0, 0), 0.4 / scale) if scale < 0.8 else image


def composite_sheet(
    sheet: np.ndarray,
    background: np.ndarray,
    warp: Warp,
    rng: np.random.Generator,
    second_sheet: bool | None,
    origin: tuple[float, float] = (0.0, 0.0),
    darkest: float = 0.7,
) -> np.ndarray:
    """Warp the sheet (h, w, 4) uint8 RGBA onto the background (H, W, 3) uint8, with its shadow.

    origin: the sheet's top left corner, page px. darkest: greatest share of the light that the shadow takes.
    """
    if rng.random() < SECOND_SHEET_SHARE if second_sheet is None else second_sheet:
        background = add_second_sheet(background, sheet, warp.homography, rng)
    sheet = warp.resample(sheet, cv2.INTER_LINEAR, (0, 0, 0, 0), origin=origin)
    return composite(sheet, cast_shadow(sheet[..., 3], background, darkest, rng))


def add_second_sheet(
    background: np.ndarray, sheet: np.ndarray, homography: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """The background (H, W, 3) with a copy of the sheet (h, w, 4) on it, beside or partly under the page."""
    angle = rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(*SECOND_SHEET_OFFSET) * np.array([np.cos(angle), np.sin(angle)])
    centre = np.array([PAGE_WIDTH, PAGE_HEIGHT]) / 2
    place = np.eye(3)
    place[:2] = cv2.getRotationMatrix2D(centre.tolist(), np.clip(rng.normal(0, 8), -25, 25), 1.0)
    place[:2, 2] += offset * (PAGE_WIDTH, PAGE_HEIGHT)
    size = background.shape[1::-1]
    return composite(cv2.warpPerspective(sheet, homography @ place, size, flags=cv2.INTER_LINEAR), background)


def cast_shadow(
    sheet: np.ndarray, background: np.ndarray, darkest: float, rng: np.random.Generator
) -> np.ndarray:
    """Darken the background (H, W, 3) uint8 around a sheet, given the sheet's alpha channel (H, W) uint8."""
    shrink = 8
    coarse = cv2.resize(sheet, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    offset = np.eye(2, 3, dtype=np.float32)
    offset[:, 2] = rng.normal(0, 6, 2)
    coarse = cv2.warpAffine(coarse, offset, coarse.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(coarse, (0, 0), rng.uniform(1, 8))
    return multiply(background, 1 - soft * np.float32(rng.uniform(0, darkest) / 255))
