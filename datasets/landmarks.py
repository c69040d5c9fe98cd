"""Samples for the network that finds the landmarks of a page of any layout on its straightened paper."""

import cv2
import numpy as np

from configs.landmarks import KEYPOINTS, LABELS, MAPS, PX_PER_SQUARE, LandmarksConfig
from configs.page import SQUARE_MM
from datasets.augmentation import augment_colours
from digitization.geometry.orientation import apply_orientation
from digitization.geometry.straight_paper import straighten_paper
from synthesis import Capture
from synthesis.layouts.capture import LayoutCapture
from synthesis.signals import Record
from utils.rescaling import rescale

WRONG_SHARE = 0.15  # share of samples that are rotated or mirrored, on which there is nothing to find
CUT_SHARE = 0.25  # share of samples that are cut as by the edge of an image
SCALE_SHARE = (
    0.4  # share of samples that show a printed speed or gain, which a page has once, if there is one
)
SCALE_MARGIN = 4.0  # squares from such a text to the edge of its sample at least
SCALE_SD, ANGLE_SD = 0.015, 0.6  # standard deviations of the error of the paper's scale, and of its angle (°)
GRID_ERROR = 0.01  # squares, standard deviation of the error of the lattice's points
HALO = 3.0  # standard deviations from its middle at which the target of a map ends


class LandmarkSamples:
    """Straightened pages of any layout; each sample is a part of one with its own geometry and colours.

    A sample is (image (H, W, 3) uint8, classes (H / stride, W / stride) uint8, maps (len(MAPS), H / stride,
    W / stride) uint8). A class is 0 for the background and 1 + k for KEYPOINTS[k]; maps are 0..255 for 0..1.
    """

    def __init__(self, config: LandmarksConfig, stride: int):
        self.config, self.stride = config, stride

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        """Raises ValueError: the competition's page is drawn by synthesis.layouts too."""
        raise ValueError("layout_share: must be 1 for the landmarks, which are known on such pages alone")

    def prepare_layout(self, capture: LayoutCapture, record: Record, rng: np.random.Generator) -> dict:
        grid = capture.gridpoint_xy
        square = np.linalg.norm(grid[0, 1] - grid[0, 0])
        grid = grid + rng.normal(0, GRID_ERROR * square, grid.shape).astype(np.float32)
        paper = straighten_paper(capture.image, grid, PX_PER_SQUARE)
        keypoints, maps, lines = landmarks_of(capture)
        return {
            "image": paper.image,
            "inside": paper.inside,
            "corner": paper.corner,
            "keypoints": [(name, paper.to_px(xy)) for name, xy in keypoints],
            "maps": [(name, paper.to_px(xy)) for name, xy in maps],
            "lines": paper.to_px(lines),
        }

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        height, width = (round(squares * PX_PER_SQUARE) for squares in self.config.crop_squares)
        affine = choose_affine(page["image"].shape, (height, width), rng)
        scales = [xy for name, xy in page["keypoints"] if name not in LABELS]
        if scales and rng.random() < SCALE_SHARE:
            affine = move_into(affine, scales[rng.integers(len(scales))], (height, width), rng)
        image = cv2.warpAffine(page["image"], affine, (width, height), borderValue=(255,) * 3)
        inside = cv2.warpAffine(page["inside"].astype(np.uint8), affine, (width, height))
        if rng.random() < CUT_SHARE:
            cut_off(image, inside, rng)
        classes, maps = self.targets(page, affine, inside)
        if rng.random() < WRONG_SHARE:
            orientation = int(rng.choice([2, 4, 6]))  # those that leave height and width
            image = np.ascontiguousarray(apply_orientation(image, orientation))
            classes, maps = np.zeros_like(classes), np.zeros_like(maps)
        image = augment_colours(image, rng) if self.config.colour_augmentation else image
        return image, classes, maps

    def targets(self, page: dict, affine: np.ndarray, inside: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The classes and maps of a sample that shows the page by `affine` where `inside` (H, W) is not 0."""
        height, width = (side // self.stride for side in inside.shape)
        seen = cv2.resize(inside, (width, height), interpolation=cv2.INTER_NEAREST).astype(bool)

        def place(points: np.ndarray) -> np.ndarray:
            return rescale(points @ affine[:, :2].T + affine[:, 2], 1 / self.stride)

        classes = np.zeros((height, width), np.uint8)
        for name, xy in page["keypoints"]:
            centre = np.round(place(xy) * 16).astype(int).tolist()
            radius = round(self.config.keypoint_radius / self.stride * 16)
            cv2.circle(classes, centre, radius, KEYPOINTS.index(name) + 1, -1, shift=4)
        maps = np.zeros((len(MAPS), height, width), np.float32)
        sigma = self.config.map_sigma / self.stride
        for start, stop in page["lines"]:
            draw_line(maps[MAPS.index("zero line")], place(start), place(stop), sigma)
        for name, xy in page["maps"]:
            draw_peak(maps[MAPS.index(name)], place(xy), sigma)
        return classes * seen, np.round(255 * maps * seen).astype(np.uint8)


def landmarks_of(
    capture: LayoutCapture,
) -> tuple[list[tuple[str, np.ndarray]], list[tuple[str, np.ndarray]], np.ndarray]:
    """A page's keypoints, the peaks of its maps, and its zero lines as (R, 2, 2), all in squares (x, y)."""
    page, layout = capture.page, capture.layout
    keypoints = [(name, page.to_squares(np.array([x, y]))) for name, x, y in (*page.labels, *page.scales)]
    width = layout.duration_s * layout.mm_per_second / SQUARE_MM
    maps, lines = [], []
    for row, zero_line in enumerate(page.zero_lines):
        columns = layout.columns if row < len(layout.rows) else 1
        x = page.start + width * np.arange(columns + 1) / columns
        names = ["start", *["boundary"] * (columns - 1), "end"]
        maps += [(name, np.array([at, zero_line])) for name, at in zip(names, x, strict=True)]
        lines.append([(x[0], zero_line), (x[-1], zero_line)])
    for pulse in page.to_squares(page.pulses):
        maps += list(zip(("rise bottom", "rise top", "fall top", "fall bottom"), pulse, strict=True))
    return keypoints, maps, np.array(lines)


def choose_affine(shape: tuple[int, ...], size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """px of a page of this shape to px of a sample of `size` (height, width): (2, 3)."""
    angle, scale = np.radians(rng.normal(0, ANGLE_SD)), np.exp(rng.normal(0, SCALE_SD, 2))
    cos, sin = np.cos(angle), np.sin(angle)
    matrix = np.array([[cos, -sin], [sin, cos]]) * scale
    room = np.array([shape[1] - size[1], shape[0] - size[0]]) / 2
    slack = np.abs(room) + 40  # px beyond the page that a sample may show
    centre = np.array([shape[1], shape[0]]) / 2 + rng.uniform(-slack, slack)
    shift = np.array([size[1], size[0]]) / 2 - matrix @ centre
    return np.column_stack([matrix, shift])


def move_into(
    affine: np.ndarray, xy: np.ndarray, size: tuple[int, int], rng: np.random.Generator
) -> np.ndarray:
    """An affine (2, 3), moved so that a sample of `size` (height, width) shows a point (2,) of the page."""
    margin = SCALE_MARGIN * PX_PER_SQUARE
    place = rng.uniform(margin, np.array(size[::-1]) - margin)
    return np.column_stack([affine[:, :2], place - affine[:, :2] @ xy])


def cut_off(image: np.ndarray, inside: np.ndarray, rng: np.random.Generator) -> None:
    """Make one side of a sample white as beyond an image's edge, in place."""
    side = rng.integers(4)
    depth = int(rng.uniform(0.05, 0.4) * image.shape[0 if side < 2 else 1])
    part = (np.s_[:depth], np.s_[-depth:], np.s_[:, :depth], np.s_[:, -depth:])[side]
    image[part], inside[part] = 255, 0


def draw_line(canvas: np.ndarray, start: np.ndarray, stop: np.ndarray, sigma: float) -> None:
    """Raise (h, w) float32 to a Gaussian across a nearly horizontal line between two points, in place."""
    first, last = (int(np.clip(np.round(point[0]), 0, canvas.shape[1])) for point in (start, stop))
    if last <= first:
        return
    x = np.arange(first, last)
    y = start[1] + (x - start[0]) * (stop[1] - start[1]) / (stop[0] - start[0])
    distance = (np.arange(len(canvas))[:, None] - y) / sigma
    np.maximum(canvas[:, first:last], np.exp(-0.5 * distance**2), out=canvas[:, first:last])


def draw_peak(canvas: np.ndarray, xy: np.ndarray, sigma: float) -> None:
    """Raise (h, w) float32 to a Gaussian of peak 1 about a point, in place."""
    reach = int(np.ceil(HALO * sigma))
    column, row = np.round(xy).astype(int)
    left, top = max(column - reach, 0), max(row - reach, 0)
    window = canvas[top : max(row + reach + 1, 0), left : max(column + reach + 1, 0)]
    x, y = left + np.arange(window.shape[1]) - xy[0], top + np.arange(window.shape[0]) - xy[1]
    np.maximum(window, np.exp(-0.5 * (x**2 + y[:, None] ** 2) / sigma**2), out=window)
