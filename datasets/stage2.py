"""Stage 2's samples: columns of the rectified page, and the y-coordinate of each row's trace in them."""

from dataclasses import replace

import cv2
import numpy as np

from configs.layouts import rows_from_leads
from configs.page import MASK_WIDTH
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, Stage2Config
from datasets.augmentation import augment_colours
from datasets.layouts import strips_to_learn
from digitization.geometry.rectify import rectify_region
from digitization.geometry.slip import Slip
from digitization.signal.traces import columns_from_rows
from synthesis import Capture
from synthesis.layouts.capture import LayoutCapture
from synthesis.signals import Record

GRID_ERROR = 0.001  # standard deviation of independent errors of stage 1's grid points, squares
GRID_DRIFT = 0.002  # standard deviation of their errors that are smooth over the page, squares
SLIP_ERROR = 0.04  # standard deviation of the error of a lost slice's column, squares (0.2 mm)
LOST_ERROR = 0.08  # standard deviation of the logarithm of its width
MARGIN_COLUMNS = 128  # columns of a sample that may lie outside the traces; the calibration pulse has 79
END_SHARE = 0.25  # share of samples placed at an end of the traces, so that 15 % show end columns and not 3 %


def perturb_grid(gridpoint_xy: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Add errors like stage 1's to grid points: (R, C, 2) px to the same."""
    rows, columns = gridpoint_xy.shape[:2]
    row, column = rows // 2, columns // 2
    square = np.linalg.norm(gridpoint_xy[row, column + 1] - gridpoint_xy[row, column])
    drift = cv2.resize(rng.normal(0, GRID_DRIFT, (5, 6, 2)), (columns, rows), interpolation=cv2.INTER_CUBIC)
    error = rng.normal(0, GRID_ERROR, gridpoint_xy.shape)
    return (gridpoint_xy + square * (drift + error)).astype(np.float32)


def perturb_slip(slip: Slip, rng: np.random.Generator) -> Slip:
    """Add errors like those of slip detection to the columns and widths of the lost slices."""
    columns = slip.columns + rng.normal(0, SLIP_ERROR, len(slip.columns))
    return replace(slip, columns=columns, lost=slip.lost * np.exp(rng.normal(0, LOST_ERROR, len(slip.lost))))


class Stage2Samples:
    """Pages rectified by a slightly wrong grid; each sample is a range of columns with its own colours.

    A sample is (image (H, W, 3) uint8, y (4, W) float32 px of the input, NaN where there is no trace).
    """

    def __init__(self, config: Stage2Config):
        self.config = config

    def prepare(self, capture: Capture, record: Record, rng: np.random.Generator) -> dict:
        grid = perturb_grid(capture.gridpoint_xy, rng)
        slip = capture.slip and perturb_slip(capture.slip, rng)
        image = rectify_region(
            capture.image, grid, 0, CROP_TOP, MASK_WIDTH, CROP_TOP + INPUT_HEIGHT, slip=slip
        )
        return {"image": image, "y": target_columns(record.leads)}

    def prepare_layout(self, capture: LayoutCapture, record: Record, rng: np.random.Generator) -> dict:
        """As `prepare`, of a page of any layout."""
        return strips_to_learn(capture, perturb_grid(capture.gridpoint_xy, rng), record, rng)

    def sample(self, page: dict, rng: np.random.Generator) -> tuple[np.ndarray, ...]:
        width = self.config.crop_columns
        left = choose_left(np.flatnonzero(np.isfinite(page["y"]).any(axis=0)), width, rng)
        left = int(np.clip(left, 0, max(page["y"].shape[1] - width, 0)))  # keeps narrow crops on the page
        image = page["image"][:, left : left + width]
        y = page["y"][:, left : left + width]
        if rng.random() < self.config.horizontal_flip:
            image, y = image[:, ::-1], y[:, ::-1]
        down = rng.integers(-self.config.shift, self.config.shift + 1)
        y = y + down
        image = image[np.clip(np.arange(len(image)) - down, 0, len(image) - 1)]
        return augment_colours(image, rng) if self.config.colour_augmentation else image, y


def choose_left(known: np.ndarray, width: int, rng: np.random.Generator) -> int:
    """A random first column of a sample of `width` px, given the columns (N,) that show a trace."""
    begin, end = int(known[0]), int(known[-1]) + 1
    side = min(MARGIN_COLUMNS, width // 2)
    first = max(begin - side, 0)
    last = max(min(end + side, MASK_WIDTH) - width, first)
    ends = ((first, min(begin, last)), (max(end - width, first), last))
    low, high = ends[rng.integers(2)] if rng.random() < END_SHARE else (first, last)
    return int(rng.integers(low, high + 1))


def target_columns(leads: np.ndarray) -> np.ndarray:
    """The y-coordinates (4, MASK_WIDTH) float32 px in stage 2's input of the traces of (12, T) mV."""
    y = columns_from_rows(rows_from_leads(leads))
    return (y[:, :MASK_WIDTH] - CROP_TOP).astype(np.float32)
