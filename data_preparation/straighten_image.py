"""One image straightened: the files that it becomes, and the row that says how it went."""

import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from datasets.prepared import LAST_FILE
from digitization.geometry.orientation import undo_orientation
from digitization.geometry.slip import slip_arrays
from digitization.geometry.straighten import RectifiedPage, Straightener
from utils.files import atomic_write
from utils.images import read_rgb, write_png

FILES = (".homo.npy", ".rotation.npy", ".gridpoint_xy.npy", ".slip.npz", LAST_FILE)
DEBUG_WIDTH = 1600  # px of the pictures of --debug
OK = "ok"


@dataclass(frozen=True)
class Outcome:
    """A row of outcomes.csv; `outcome` is OK or the reason of the failure, the rest empty then."""

    image_id: str
    outcome: str
    orientation: int | None = None
    page_score: float | None = None
    seen: int | None = None  # grid points, of 44 * 57
    px_per_mm_x: float | None = None
    px_per_mm_y: float | None = None
    aspect: float | None = None  # a square's height over its width, see calibration.Calibration
    slip: str | None = None  # what a slipping scanner lost and where, empty for a steady page
    seconds: float | None = None


def write_array(path: Path, array: np.ndarray) -> None:
    """Save as .npy, atomically."""
    with atomic_write(path) as partial:
        np.save(partial, array)


def draw_grid(upright: np.ndarray, rectified: RectifiedPage) -> np.ndarray:
    """The upright image, DEBUG_WIDTH px wide, with its grid points: green as seen, red as filled in."""
    scale = DEBUG_WIDTH / upright.shape[1]
    picture = cv2.resize(upright, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    points = np.round((rectified.gridpoint_xy + 0.5) * scale - 0.5).astype(int)
    for x, y, seen in zip(*points.reshape(-1, 2).T, rectified.seen.ravel(), strict=True):
        cv2.circle(picture, (int(x), int(y)), 2, (0, 180, 0) if seen else (255, 0, 0), -1)
    return picture


def straighten_image(
    straightener: Straightener, task: tuple[str, Path], folder: Path, debug: bool = False
) -> Outcome:
    """Straighten an image, (id, path), and write its FILES. Whatever goes wrong becomes its outcome."""
    image_id, path = task
    started = time.monotonic()
    try:
        image = read_rgb(path)
        rectified = straightener.straighten(image)
        if debug:
            upright = undo_orientation(image, rectified.orientation)
            write_png(folder / f"{image_id}.debug.png", draw_grid(upright, rectified))
        write_array(folder / f"{image_id}.homo.npy", rectified.homography)
        write_array(folder / f"{image_id}.rotation.npy", np.array(rectified.orientation))
        write_array(folder / f"{image_id}.gridpoint_xy.npy", rectified.gridpoint_xy)
        with atomic_write(folder / f"{image_id}.slip.npz") as partial:
            np.savez(partial, **slip_arrays(rectified.slip))
        write_png(folder / f"{image_id}{LAST_FILE}", rectified.rect)
    except Exception as error:  # one image never stops the others; its row says what happened
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return Outcome(image_id, " ".join(f"{kind}{error}".split()) or type(error).__name__)
    px_per_mm_x, px_per_mm_y = (round(float(scale), 4) for scale in rectified.calibration.px_per_mm)
    return Outcome(
        image_id,
        OK,
        rectified.orientation,
        round(rectified.page_score, 4),
        int(rectified.seen.sum()),
        px_per_mm_x,
        px_per_mm_y,
        round(rectified.calibration.aspect, 4),
        str(rectified.slip or ""),
        round(time.monotonic() - started, 2),
    )
