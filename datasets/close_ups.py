"""Samples for the network that sees closely where rows begin and end and leads follow one another."""

import numpy as np

from configs.close_ups import CLOSE_UP, PLACES, PX_PER_SQUARE, CloseUpsConfig
from configs.page import SQUARE_MM
from datasets.augmentation import augment_colours
from datasets.stage2 import perturb_grid
from digitization.geometry.close_ups import close_up, column_of
from digitization.geometry.row_strips import lattice_points
from digitization.geometry.straight_paper import is_inside, shrink_to
from synthesis import Capture
from synthesis.layouts.capture import LayoutCapture
from synthesis.signals import Record

INNER_SHARE = 0.5  # share of samples that show a boundary within a row, where there are any


class CloseUpSamples:
    """Close-ups of the beginnings, boundaries and ends of rows of pages of any layout.

    A sample is (image (96, 160, 3) uint8, place (1,) int64, the index in PLACES, column (1,) float32 px, NaN
    where there is none).
    """

    def __init__(self, config: CloseUpsConfig):
        self.config = config

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        """Raises ValueError: the competition's page is drawn by synthesis.layouts too."""
        raise ValueError("layout_share: must be 1 for the close-ups, which are drawn of such pages alone")

    def prepare_layout(self, capture: LayoutCapture, record: Record, rng: np.random.Generator) -> dict:
        grid = perturb_grid(capture.gridpoint_xy, rng)
        image, grid = shrink_to(capture.image, grid, PX_PER_SQUARE)
        places = {}
        for kind, xy in row_places(capture).items():
            inside = is_inside(lattice_points(grid, xy[:, 1], xy[:, 0]), image.shape)
            if inside.any():
                places[kind] = xy[inside]
        return {"image": image, "grid": grid, "places": places}

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        places = page["places"]
        if not places:  # a page cut so that none is left
            white = np.full((*CLOSE_UP, 3), 255, np.uint8)
            return white, np.array([0]), np.array([np.nan], np.float32)
        others = [kind for kind in places if kind != "boundary"]
        inner = "boundary" in places and rng.random() < INNER_SHARE
        kind = "boundary" if inner or not others else str(rng.choice(others))
        x, y = rng.choice(places[kind])
        off = rng.uniform(-self.config.place_error, self.config.place_error)
        down = rng.normal(0, self.config.height_error)
        image = close_up(page["image"], page["grid"], x - off, y + down)
        image = augment_colours(image, rng) if self.config.colour_augmentation else image
        return image, np.array([PLACES.index(kind)]), np.array([column_of(off)], np.float32)


def row_places(capture: LayoutCapture) -> dict[str, np.ndarray]:
    """Where rows begin, leads meet and rows end: kind -> (N, 2), x and y in squares."""
    layout = capture.layout
    width = layout.duration_s * layout.mm_per_second / SQUARE_MM
    places: dict[str, list[tuple[float, float]]] = {kind: [] for kind in PLACES}
    for row, y in enumerate(capture.zero_lines):
        columns = layout.columns if row < len(layout.rows) else 1
        x = (capture.start + width * np.arange(columns + 1) / columns).tolist()
        places["start"].append((x[0], float(y)))
        places["boundary"] += [(each, float(y)) for each in x[1:-1]]
        places["end"].append((x[-1], float(y)))
    return {kind: np.array(xy, np.float64).reshape(-1, 2) for kind, xy in places.items()}
