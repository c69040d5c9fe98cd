"""Samples for the network that sees closely where rows begin and end and leads follow one another."""

import numpy as np

from configs.boundaries import CLOSE_UP, KINDS, BoundariesConfig
from configs.page import SQUARE_MM
from datasets.augmentation import augment_colours
from datasets.stage2 import perturb_grid
from digitization.geometry.close_ups import close_up, column_of, shrink_to_close_ups
from digitization.geometry.row_strips import lattice_points
from digitization.geometry.straight_paper import is_inside
from synthesis import Capture
from synthesis.layouts.capture import LayoutCapture
from synthesis.signals import Record

INNER_SHARE = 0.5  # share of samples of boundaries within a row, where there are any


class BoundarySamples:
    """Close-ups of the beginnings, boundaries and ends of rows of pages of any layout.

    A sample is (image (96, 160, 3) uint8, kind (1,) int64, the index in KINDS, column (1,) float32 px).
    """

    def __init__(self, config: BoundariesConfig):
        self.config = config

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        """Raises ValueError: the competition's page is drawn by synthesis.layouts too."""
        raise ValueError("layout_share: must be 1 for the boundaries, which are known on such pages alone")

    def prepare_layout(self, capture: LayoutCapture, record: Record, rng: np.random.Generator) -> dict:
        grid = perturb_grid(capture.gridpoint_xy, rng)
        image, grid = shrink_to_close_ups(capture.image, grid)
        starts, inner, ends = [], [], []
        layout = capture.layout
        width = layout.duration_s * layout.mm_per_second / SQUARE_MM
        for row, y in enumerate(capture.zero_lines):
            columns = layout.columns if row < len(layout.rows) else 1
            x = capture.start + width * np.arange(columns + 1) / columns
            starts.append((x[0], y))
            inner += [(each, y) for each in x[1:-1]]
            ends.append((x[-1], y))
        places = {}
        for kind, xy in zip(KINDS, (starts, inner, ends), strict=True):
            rows = np.array(xy, np.float64).reshape(-1, 2)
            shown = is_inside(lattice_points(grid, rows[:, 1], rows[:, 0]), image.shape)
            places[kind] = rows[shown]
        return {"image": image, "grid": grid, "places": places}

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        kinds = [kind for kind in KINDS if len(page["places"][kind])]
        if not kinds:  # a page cut so that no place is left: nothing is known of its middle
            return blank_sample()
        kind = str(rng.choice([kind for kind in kinds if kind != "boundary"] or kinds))
        if "boundary" in kinds and rng.random() < INNER_SHARE:
            kind = "boundary"
        x, y = page["places"][kind][rng.integers(len(page["places"][kind]))]
        off = rng.uniform(-self.config.place_error, self.config.place_error)
        down = rng.normal(0, self.config.height_error)
        image = close_up(page["image"], page["grid"], x - off, y + down)
        image = augment_colours(image, rng) if self.config.colour_augmentation else image
        return image, np.array([KINDS.index(kind)]), np.array([column_of(off)], np.float32)


def blank_sample() -> tuple[np.ndarray, ...]:
    """A white close-up without a place: its column is NaN, which counts for nothing."""
    image = np.full((*CLOSE_UP, 3), 255, np.uint8)
    return image, np.array([0]), np.array([np.nan], np.float32)
