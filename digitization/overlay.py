"""Overlays: the digitized grid and traces drawn over the image."""

from collections.abc import Sequence
from itertools import cycle

import cv2
import numpy as np
from scipy.ndimage import binary_opening

from configs.page import RECTIFIED
from digitization.geometry.orientation import orient_points, shape_of_upright
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.page import LayoutPage
from digitization.signal.quality import MAX_CONFIDENCE_GAP, MIN_GAP_S
from digitization.signal.tracer import TraceResult
from utils.rescaling import Rescaling

# RGB of the rows from the top; further rows begin again.
ROW_COLOURS = ((0, 90, 255), (0, 150, 60), (220, 0, 160), (230, 110, 0))
UNSEEN_COLOUR = (255, 0, 0)  # RGB, gaps in the traces
FRAME_COLOUR = (0, 160, 200)  # RGB, outline of the grid
LINE_SHARE = 1 / 1600  # thickness of a line as a share of the image's longer side
GAP_COLUMNS = round(MIN_GAP_S * RECTIFIED.px_per_second)  # columns, shortest gap that is drawn as such
FoundPage = RectifiedPage | LayoutPage
FRACTION_BITS = 4  # fractional bits of the coordinates passed to cv2.polylines


def draw_rows(image: np.ndarray, y: np.ndarray) -> np.ndarray:
    """A copy of an image (H, W, 3) uint8 RGB with a line for each row of y (R, W) px, broken at NaN."""
    drawn = np.ascontiguousarray(image).copy()
    for row, colour in zip(y, cycle(ROW_COLOURS), strict=False):
        known = np.flatnonzero(np.isfinite(row))
        for run in np.split(known, np.flatnonzero(np.diff(known) > 1) + 1):
            points = np.stack([run, np.round(row[run])], axis=-1).astype(np.int32)
            cv2.polylines(drawn, [points[:, None]], isClosed=False, color=colour)
    return drawn


def draw_on_photo(image: np.ndarray, page: FoundPage, trace_result: TraceResult) -> np.ndarray:
    """A copy of the photo (H, W, 3) uint8 RGB with the traces and the outline of the grid drawn on it.

    The rows are drawn in ROW_COLOURS, their gaps in UNSEEN_COLOUR.
    """
    drawn = np.ascontiguousarray(image).copy()
    thickness = max(1, round(max(image.shape[:2]) * LINE_SHARE))
    upright = shape_of_upright(page.orientation, image.shape[:2])

    def draw(points: np.ndarray, colour: tuple[int, int, int]) -> None:
        """A line through points (N, 2) px of the upright image."""
        draw_line(drawn, orient_points(points, page.orientation, upright), colour, thickness)

    draw(page.outline, FRAME_COLOUR)
    rows = zip(trace_result.y, trace_result.confidence, cycle(ROW_COLOURS), strict=False)
    for row, (y, confidence, colour) in enumerate(rows):
        known = np.flatnonzero(np.isfinite(y))
        unseen = binary_opening(confidence[known] <= MAX_CONFIDENCE_GAP, np.ones(GAP_COLUMNS))
        broken = np.diff(known) > 1  # where a stretch of the trace is unknown
        for run in np.split(np.arange(len(known)), np.flatnonzero(np.diff(unseen) | broken) + 1):
            columns = known[run[0] : run[-1] + 2]  # up to the start of the next run
            columns = columns[columns - known[run[-1]] <= 1]
            points = page.trace_points(row, np.stack([columns, y[columns]], axis=-1))
            draw(points, UNSEEN_COLOUR if unseen[run[0]] else colour)
    return drawn


def draw_curves(image: np.ndarray, rows: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """A copy of an image (H, W, 3) uint8 RGB with curves drawn on it: of each row some, points (N, 2) px."""
    drawn = np.ascontiguousarray(image).copy()
    thickness = max(1, round(max(image.shape[:2]) * LINE_SHARE))
    for curves, colour in zip(rows, cycle(ROW_COLOURS), strict=False):
        for points in curves:
            draw_line(drawn, points, colour, thickness)
    return drawn


def draw_line(image: np.ndarray, points: np.ndarray, colour: tuple[int, int, int], thickness: int) -> None:
    """Draw a line through points (N, 2) px on an image (H, W, 3) uint8."""
    places = np.round(points * 2**FRACTION_BITS).clip(-(2**30), 2**30).astype(np.int32)
    cv2.polylines(image, [places[:, None]], False, colour, thickness, cv2.LINE_AA, FRACTION_BITS)


def shrink(image: np.ndarray, width: int) -> np.ndarray:
    """The image scaled down so that its longer side is at most `width` px."""
    scale = width / max(image.shape[:2])
    if scale >= 1:
        return image
    return Rescaling.by(image.shape, scale).image(image)
