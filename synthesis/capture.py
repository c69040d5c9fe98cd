"""A page scanned or photographed: the image of a competition type, and where the grid is in it."""

from dataclasses import dataclass

import cv2
import numpy as np

from configs.page import FLAT_TYPES, IMAGE_TYPES, LEAD_MARKER_POINTS
from configs.stage0 import ORIENTATIONS
from synthesis import damage
from synthesis.fields import multiply
from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH, Page
from synthesis.scanner import scan
from synthesis.scene import (
    add_glare,
    expose,
    light,
    motion_blur,
    show_on_screen,
    table,
    through_colour_filter,
)
from synthesis.slip import draw_feed, lost_slices
from synthesis.warp import Warp, project
from utils.slip import Slip
from utils.upright import MIRRORED, turn_points
from utils.upright import turn as turn_image

UPRIGHT_SHARE, MIRRORED_SHARE = 0.7, 0.01
COLOUR_FILTER_SHARE = 0.7  # of the photos of screens: those whose camera adds coloured moire
CORNERS = np.array([[0, 0], [PAGE_WIDTH, 0], [PAGE_WIDTH, PAGE_HEIGHT], [0, PAGE_HEIGHT]]) - 0.5
PAGE_SHARE = (0.5, 1.08)  # squared share of the photo's side that the page takes; above 1 it is cut off
SECOND_SHEET_SHARE = 0.06  # of the photos of paper: those with another ECG in the frame
SECOND_SHEET_OFFSET = (0.4, 1.1)  # between the two, in widths and heights of the page
PHOTO_LONG_SIDES = (1344, 2048, 2592, 3264, 4032)  # px, 4:3
PHOTO_LONG_SIDE_SHARES = (0.12, 0.2, 0.28, 0.2, 0.2)


@dataclass(frozen=True)
class Capture:
    """An image (H, W, 3) uint8 RGB of a page, and its labels in px of that image.

    gridpoint_xy (44, 57, 2) and leadpoint_xy (13, 2) are float32; points may lie outside the image.
    orientation 0..7 says how the image is turned, see configs/stage0.py.
    slip: the slices of paper that a slipping scanner lost, None for a steady one.
    """

    image: np.ndarray
    gridpoint_xy: np.ndarray
    leadpoint_xy: np.ndarray
    orientation: int
    slip: Slip | None = None


@dataclass(frozen=True)
class Pose:
    """How a camera looks at the page.

    size: (width, height) of the photo in px.
    yaw, pitch, roll: rad by which the page is turned away from a square view; roll is clockwise.
    distance: from the page, in widths of it; the nearer, the stronger the perspective.
    share: of the photo that the page takes along the side that it fills first; above 1 it is cut off.
    place: (x, y) in 0..1, how the room left is divided; 0.5 is the middle.
    """

    size: tuple[int, int]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    distance: float = 1.8
    share: float = 0.9
    place: tuple[float, float] = (0.5, 0.5)

    def homography(self) -> np.ndarray:
        """(3, 3) float64, page px to photo px."""
        turned = rotation(self.roll, 2) @ rotation(self.pitch, 0) @ rotation(self.yaw, 1)
        centre = np.array([[1, 0, -PAGE_WIDTH / 2], [0, 1, -PAGE_HEIGHT / 2], [0, 0, 1]])
        plane = np.column_stack([turned[:, 0], turned[:, 1], [0, 0, self.distance * PAGE_WIDTH]])
        view = plane @ centre
        corners = project(view, CORNERS)
        low, high = corners.min(axis=0), corners.max(axis=0)
        frame = np.array(self.size)
        scale = (frame / (high - low)).min() * self.share
        shift = (frame - scale * (high - low)) * self.place - scale * low
        return np.array([[scale, 0, shift[0]], [0, scale, shift[1]], [0, 0, 1]]) @ view


def capture(
    page: Page,
    image_type: str,
    rng: np.random.Generator,
    turn: int | None = None,
    pose: Pose | None = None,
    second_sheet: bool | None = None,
    slips: bool | None = None,
) -> Capture:
    """The page as one of IMAGE_TYPES; `turn` fixes the orientation, `pose` a photo's camera.

    second_sheet: whether another ECG lies beside that of a photo of paper; left to chance when None.
    slips: whether the scanner of a scan loses its grip; left to chance when None. All else stays the same.
    Raises ValueError on other types, and for the pose of a type that is no photo.
    """
    if image_type not in IMAGE_TYPES:
        raise ValueError(f"image type {image_type!r}, not one of {', '.join(IMAGE_TYPES)}")
    if pose and image_type in FLAT_TYPES:
        raise ValueError(f"image type {image_type}: no photo, so no pose")
    slip = None
    if image_type == "0001":
        image, gridpoint_xy = page.image, page.gridpoint_xy
    else:
        if image_type in FLAT_TYPES:
            feed = draw_feed(rng, slips)
            image, warp = scan(page, image_type, rng, feed)
            slip = feed and lost_slices(feed, warp, page)
        else:
            image, warp = photograph(page.image, image_type, rng, pose, second_sheet)
        gridpoint_xy = warp.to_capture(page.gridpoint_xy)
    orientation = choose_orientation(rng) if turn is None else turn
    gridpoint_xy = turn_points(gridpoint_xy, orientation, image.shape)
    leadpoint_xy = gridpoint_xy[tuple(np.transpose(LEAD_MARKER_POINTS))]
    return Capture(turn_image(image, orientation), gridpoint_xy, leadpoint_xy, orientation, slip)


def choose_orientation(rng: np.random.Generator) -> int:
    if rng.random() < UPRIGHT_SHARE:
        return 0
    if rng.random() < MIRRORED_SHARE / (1 - UPRIGHT_SHARE):
        return int(rng.integers(MIRRORED, ORIENTATIONS))
    return int(rng.integers(MIRRORED))


def photograph(
    image: np.ndarray,
    image_type: str,
    rng: np.random.Generator,
    pose: Pose | None = None,
    second_sheet: bool | None = None,
) -> tuple[np.ndarray, Warp]:
    """A print on a table, or the page on a laptop's screen, before a phone."""
    on_screen = image_type == "0006"
    size = photo_size(on_screen, rng)
    if not on_screen:
        image, displacement = handle_paper(image, image_type, rng)
    else:
        displacement = np.zeros((*damage.RELIEF_SHAPE, 2), np.float32)
    drawn = draw_pose(size, rng)
    pose = pose or drawn
    lens = rng.normal(0, 0.012)
    warp = Warp(pose.homography(), displacement, damage.RELIEF_CELL, damage.RELIEF_ORIGIN, lens, pose.size)
    pitch = photo_scale(warp)
    if on_screen:
        photo = photograph_screen(image, warp, rng)
    else:
        photo = photograph_paper(image, image_type, warp, pitch, rng, second_sheet)
    gain = light(pose.size[1], pose.size[0], 0.5 if on_screen else 1.0, rng)
    photo = multiply(photo, gain)
    if rng.random() < (0.5 if on_screen else 0.12):
        photo = add_glare(photo, rng)
    if rng.random() < 0.15:
        photo = motion_blur(photo, rng.uniform(1, 3.5) * pitch, rng)
    blur = abs(rng.normal(0, 0.7)) * pitch
    return expose(photo, blur, rng.uniform(0.5, 7), int(rng.integers(55, 96)), rng), warp


def handle_paper(
    image: np.ndarray, image_type: str, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Use a print as its type has it: the page's image, and its relief's displacement."""
    image = image.copy()
    displacement = damage.curl(45 * rng.uniform(0, 1) ** 1.5, rng) + damage.waves(rng.uniform(0, 2), 6, rng)
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
        displacement += damage.waves(rng.uniform(0.5, 3), 10, rng)
    if image_type == "0010":
        folds = int(rng.integers(8, 60))
        displacement += damage.waves(rng.uniform(0.5, 2.5), 14, rng)
        if rng.random() < 0.4:
            image = damage.stain(image, rng)
    pulled, shade = damage.creases(folds, rng.uniform(0.5, 3.5), rng.uniform(0.015, 0.08), rng)
    return multiply(image, damage.on_page(shade)), displacement + pulled


def photo_size(on_screen: bool, rng: np.random.Generator) -> tuple[int, int]:
    """(width, height) of a photo as phones take them, three in four of them across."""
    long_side = int(rng.choice(PHOTO_LONG_SIDES, p=PHOTO_LONG_SIDE_SHARES))
    if on_screen and long_side == 4032:
        long_side = 4000
    size = (long_side, long_side * 3 // 4)
    return size if rng.random() < 0.75 else size[::-1]


def draw_pose(size: tuple[int, int], rng: np.random.Generator) -> Pose:
    """A view of the page from up to 20 degrees off its normal, as people take it who want to read it."""
    yaw, pitch = np.deg2rad(rng.uniform(-20, 20, 2) * rng.uniform(0, 1))
    roll = np.deg2rad(np.clip(rng.normal(0, 3), -10, 10))
    distance = rng.uniform(1.1, 2.5)
    share = rng.uniform(*PAGE_SHARE) ** 0.5
    return Pose(size, yaw, pitch, roll, distance, share, tuple(rng.normal(0.5, 0.17, 2).clip(0.1, 0.9)))


def rotation(angle: float, axis: int) -> np.ndarray:
    """(3, 3) rotation by `angle` radians about an axis of space."""
    vector = np.zeros(3)
    vector[axis] = angle
    return cv2.Rodrigues(vector)[0]


def photo_scale(warp: Warp) -> float:
    """Photo px per page px at the middle of the page."""
    middle = np.array([PAGE_WIDTH / 2, PAGE_HEIGHT / 2])
    ends = warp.to_capture(np.array([middle - (50, 0), middle + (50, 0)]))
    return float(np.linalg.norm(ends[1] - ends[0]) / 100)


def photograph_paper(
    image: np.ndarray,
    image_type: str,
    warp: Warp,
    pitch: float,
    rng: np.random.Generator,
    second_sheet: bool | None = None,
) -> np.ndarray:
    """The sheet on a table, sometimes with another one (`second_sheet`: always or never)."""
    if pitch < 0.8:
        image = cv2.GaussianBlur(image, (0, 0), 0.4 / pitch)
    sheet = cv2.cvtColor(image, cv2.COLOR_RGB2RGBA)
    if image_type == "0010":
        left = damage.missing_paper(rng)
        fibres = cv2.erode(left, np.ones((5, 5), np.uint8)) < 128
        sheet[fibres] = int(rng.integers(190, 250))
        cv2.insertChannel(left, sheet, 3)
    ground = table(*warp.size, rng)
    if rng.random() < SECOND_SHEET_SHARE if second_sheet is None else second_sheet:
        ground = lay_second_sheet(ground, sheet, warp.homography, rng)
    sheet = warp.resample(sheet, cv2.INTER_LINEAR, (0, 0, 0, 0))
    return over(sheet, cast_shadow(sheet[..., 3], ground, rng))


def lay_second_sheet(
    ground: np.ndarray, sheet: np.ndarray, homography: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """(H, W, 3) ground with another ECG on it, the (h, w, 4) sheet, partly under the page or beside it."""
    angle = rng.uniform(0, 2 * np.pi)
    offset = rng.uniform(*SECOND_SHEET_OFFSET) * np.array([np.cos(angle), np.sin(angle)])
    centre = np.array([PAGE_WIDTH, PAGE_HEIGHT]) / 2
    place = np.eye(3)
    place[:2] = cv2.getRotationMatrix2D(centre.tolist(), np.clip(rng.normal(0, 8), -25, 25), 1.0)
    place[:2, 2] += offset * (PAGE_WIDTH, PAGE_HEIGHT)
    size = ground.shape[1::-1]
    return over(cv2.warpPerspective(sheet, homography @ place, size, flags=cv2.INTER_LINEAR), ground)


def cast_shadow(sheet: np.ndarray, ground: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Darken (H, W, 3) uint8 ground beside a sheet, given where it is as (H, W) uint8."""
    shrink = 8
    coarse = cv2.resize(sheet, None, fx=1 / shrink, fy=1 / shrink, interpolation=cv2.INTER_AREA)
    offset = np.eye(2, 3, dtype=np.float32)
    offset[:, 2] = rng.normal(0, 6, 2)
    coarse = cv2.warpAffine(coarse, offset, coarse.shape[::-1], borderMode=cv2.BORDER_REPLICATE)
    soft = cv2.GaussianBlur(coarse, (0, 0), rng.uniform(1, 8))
    return multiply(ground, 1 - soft * np.float32(rng.uniform(0, 0.7) / 255))


def photograph_screen(image: np.ndarray, warp: Warp, rng: np.random.Generator) -> np.ndarray:
    """A laptop that shows the page, with the rest of its screen and a dark bezel, in a dim room."""
    left, top, right, bottom = (rng.uniform(0.0, 0.12, 4) * PAGE_WIDTH).astype(int).tolist()
    desk = (rng.uniform(20, 220) + rng.uniform(0, 30, 3)).tolist()
    screen = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=desk)
    for edge, free in ((slice(0, top), top), (slice(screen.shape[0] - bottom, None), bottom)):
        if free > 40 and rng.random() < 0.7:
            draw_menu(screen[edge], rng)
    bezel = int(rng.uniform(0.02, 0.06) * PAGE_WIDTH)
    case = [int(rng.integers(5, 45))] * 3
    screen = cv2.copyMakeBorder(screen, bezel, bezel, bezel, bezel, cv2.BORDER_CONSTANT, value=case)
    shown, scale = show_on_screen(screen, rng.uniform(0.42, 0.7), rng)
    shown = cv2.cvtColor(shown, cv2.COLOR_RGB2RGBA)
    origin = (-left - bezel, -top - bezel)
    photo = over(warp.resample(shown, cv2.INTER_LINEAR, (0, 0, 0, 0), scale, origin), table(*warp.size, rng))
    return through_colour_filter(photo) if rng.random() < COLOUR_FILTER_SHARE else photo


def draw_menu(bar: np.ndarray, rng: np.random.Generator) -> None:
    """A program's menu or task bar with boxes and lines of text on it, in place."""
    bar[:] = rng.integers(20, 245)
    middle = bar.shape[0] // 2
    for x in range(int(rng.integers(10, 400)), bar.shape[1] - 120, int(rng.integers(60, 240))):
        width, height = int(rng.integers(12, 50)), int(rng.integers(4, 16))
        if rng.random() < 0.8:
            colour = rng.integers(0, 256, 3).tolist()
            cv2.rectangle(bar, (x, middle - height), (x + width, middle + height), colour, -1)


def over(picture: np.ndarray, ground: np.ndarray) -> np.ndarray:
    """(H, W, 4) uint8 laid on (H, W, 3) where its fourth channel is above a half."""
    colours = cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB)
    _, there = cv2.threshold(picture[..., 3], 127, 255, cv2.THRESH_BINARY)
    return cv2.copyTo(colours, there, ground)
