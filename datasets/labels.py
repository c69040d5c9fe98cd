"""Ground truth of a page: the record's signals and the labels of synthesize.py, and errors against them."""

from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile

import numpy as np

from configs.page import (
    DURATION_S,
    GRID_COLUMNS,
    GRID_ROWS,
    MM_PER_SECOND,
    PAGE_PX_PER_MM,
    SIGNAL_START_SQUARES,
    SQUARE_MM,
    SQUARES_PER_SECOND,
    ZERO_LINE_ROWS,
)
from configs.stage0 import ORIENTATIONS
from datasets.competition import read_record
from digitization.geometry.orientation import points_to_upright
from digitization.geometry.slip import Slip, slip_arrays, slip_of_arrays
from utils.files import atomic_write

if TYPE_CHECKING:  # prediction imports this module and does not need the synthesizer
    from synthesis import Capture


# The grid points around the signals, from four squares (2 mV) above the first zero line.
SIGNAL_REGION = (
    slice(int(ZERO_LINE_ROWS[0]) - 4, GRID_ROWS),
    slice(SIGNAL_START_SQUARES, SIGNAL_START_SQUARES + int(DURATION_S * SQUARES_PER_SECOND) + 1),
)
MAX_PX = 1e6  # upper limit of the absolute value of a plausible grid point's coordinates


def read_truth(path: Path) -> tuple[np.ndarray, int]:
    """The true signals (12, 10 * fs) mV and fs in Hz. Raises ValueError when they do not last ten seconds."""
    truth = read_record(path)
    fs = truth.shape[1] // int(DURATION_S)
    if fs < 1 or truth.shape[1] != fs * DURATION_S:
        raise ValueError(f"{path}: {truth.shape[1]} samples are not ten seconds at a whole rate in Hz")
    return truth, fs


def labels_path(image: Path) -> Path:
    """The path at which synthesize.py writes the labels of an image, beside it."""
    return image.with_name(f"{image.stem}.labels.npz")


def write_labels(path: Path, capture: "Capture", has_pulse: bool) -> None:
    """Write an image's labels: grid points, lead-label keypoints, orientation and lost slices of paper.

    `has_pulse` says whether a calibration pulse is printed on the page.
    """
    with atomic_write(path) as partial:
        np.savez(
            partial,
            gridpoint_xy=capture.gridpoint_xy,
            leadpoint_xy=capture.leadpoint_xy,
            orientation=capture.orientation,
            has_pulse=has_pulse,
            **slip_arrays(capture.slip),
        )


def read_labels(path: Path) -> tuple[np.ndarray, int]:
    """The grid points (44, 57, 2) px and the orientation (0..7) of an image, as synthesize.py writes them.

    Raises ValueError naming the file when it holds no valid labels.
    """
    try:
        with np.load(path) as labels:
            grid, orientation = labels["gridpoint_xy"], int(labels["orientation"])
            plausible = (
                np.isfinite(grid).all() and np.abs(grid).max() < MAX_PX and np.ptp(grid, axis=(0, 1)).all()
            )
    except (OSError, KeyError, ValueError, TypeError, EOFError, BadZipFile) as error:
        raise ValueError(f"{path}: not a labels file of synthesize.py ({type(error).__name__})") from None
    if not plausible:
        raise ValueError(f"{path}: the grid points are not finite, far outside the image, or all the same")
    if grid.shape != (GRID_ROWS, GRID_COLUMNS, 2) or not 0 <= orientation < ORIENTATIONS:
        raise ValueError(f"{path}: unexpected grid of shape {grid.shape} or orientation {orientation}")
    return grid, orientation


def read_slip(path: Path) -> Slip | None:
    """The slices of paper that the scanner skipped, None when there are none.

    The file is a labels file of synthesize.py or a .slip.npz of prepare_inputs.py.
    """
    with np.load(path) as arrays:
        return slip_of_arrays(arrays)


def grid_errors(
    gridpoint_xy: np.ndarray, truth: np.ndarray, orientation: int, shape: tuple[int, int]
) -> np.ndarray:
    """Distances (n,) of the visible grid points from the truth, in px of a 200 dpi page.

    gridpoint_xy: (44, 57, 2) px of the upright image.
    truth: (44, 57, 2) px of the image as it is, with the given orientation (0..7) and shape (height, width).
    """
    distance, visible = grid_offsets(gridpoint_xy, truth, orientation, shape)
    return np.linalg.norm(distance, axis=-1)[visible] * SQUARE_MM * PAGE_PX_PER_MM


def time_error(
    gridpoint_xy: np.ndarray, truth: np.ndarray, orientation: int, shape: tuple[int, int]
) -> float:
    """Root-mean-square error in ms of the visible grid points around the signals along the time axis.

    The arguments are those of `grid_errors`.
    """
    offsets, visible = grid_offsets(gridpoint_xy, truth, orientation, shape)
    delay = offsets[SIGNAL_REGION][..., 0][visible[SIGNAL_REGION]]
    return float(np.sqrt(np.mean(delay**2)) * SQUARE_MM / MM_PER_SECOND * 1000)


def grid_offsets(
    gridpoint_xy: np.ndarray, truth: np.ndarray, orientation: int, shape: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Offsets (44, 57, 2) of grid points from the truth, rightwards and downwards on the page, in mean
    squares; and which points (44, 57) are visible. The arguments are those of `grid_errors`."""
    height, width = shape
    visible = ((truth >= 0) & (truth <= (width - 1, height - 1))).all(axis=-1)
    truth = points_to_upright(truth.reshape(-1, 2), orientation, shape).reshape(truth.shape)
    square = np.linalg.norm(np.diff(truth, axis=1), axis=-1).mean()
    along = np.gradient(truth, axis=1)
    along = along / np.linalg.norm(along, axis=-1, keepdims=True)
    off = (gridpoint_xy - truth) / square
    right = (off * along).sum(axis=-1)
    # Measured perpendicular to `right`, to preserve lengths.
    down = off[..., 1] * along[..., 0] - off[..., 0] * along[..., 1]
    return np.stack([right, down], axis=-1), np.asarray(visible)
