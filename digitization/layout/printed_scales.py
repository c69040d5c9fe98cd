"""The paper speed and the gain printed on a page, read by RapidOCR where it is installed.

The landmarks' network sees where such texts are, on paper of 20 px per square, on which a 25 may be a 50.
So a line of text about each of these places is read at the resolution of a 200 dpi scan.
"""

import re
from collections.abc import Sequence
from functools import cache
from threading import Lock
from typing import Any

import numpy as np
import torch

from configs.close_ups import PX_PER_SQUARE
from configs.landmarks import GAIN_NAMES, GAINS, KEYPOINTS, SPEED_NAMES, SPEEDS
from digitization.geometry.close_ups import offsets
from digitization.geometry.row_strips import resample_lattice
from digitization.geometry.straight_paper import shrink_to
from digitization.layout.landmarks import Keypoint
from utils.command import log
from utils.rescaling import Rescaling

SEARCH_PX_PER_SQUARE = 26.0  # px per square of the page that is searched: the smallest letters are 10 px high
# px to which the detector enlarges the shorter side of what is searched. Its default, 736, takes four times
# as long and finds fewer: benchmarks/print_search.py.
DETECTOR_SIDE = 256
LINE_SQUARES = (1.6, 8.0)  # squares (height, width) of what is read: letters are up to 4 mm high
# A number with "mm/s", "mm/sec" or "mm/mV"; of the slash and one m nothing may be left in a poor print.
SCALE = re.compile(r"(?<![\d.,])(\d{1,2}(?:[.,]\d)?)\s*(?:mm\s*[/|]?|m\s*[/|])\s*([sm])", re.IGNORECASE)
IN_USE = Lock()  # of the engine, as threads share it where a device reads several pages at once


@cache
def engine() -> Any:
    """RapidOCR, loaded once in a process; None, and a warning once, where it is not installed."""
    try:
        from rapidocr import RapidOCR
    except ImportError as error:
        log.warning(f"printed speeds and gains are hardly read without rapidocr and onnxruntime ({error})")
        return None
    threads = torch.get_num_threads()
    params: dict[str, Any] = {"Global.log_level": "error", "Det.limit_side_len": DETECTOR_SIDE}
    params |= {f"EngineConfig.onnxruntime.{kind}_op_num_threads": threads for kind in ("intra", "inter")}
    return RapidOCR(params=params)


def parse_scales(text: str) -> list[str]:
    """The names of the speeds and gains in a text, as in KEYPOINTS: "25mm/s 10mm/mV" has two."""
    names = []
    for number, unit in SCALE.findall(text):
        speed = unit.lower() == "s"
        usual, known = (SPEEDS, SPEED_NAMES) if speed else (GAINS, GAIN_NAMES)
        value = float(number.replace(",", "."))
        names += [name for each, name in zip(usual, known, strict=True) if each == value]
    return names


def read_scales(
    image: np.ndarray, gridpoint_xy: np.ndarray, texts: Sequence[Keypoint]
) -> tuple[Keypoint, ...] | None:
    """The speeds and gains read at the places of `texts`, with the reader's probability.

    The image (H, W, 3) uint8 RGB has the lattice (R, C, 2) px. None where RapidOCR is not installed.
    """
    reader = engine()
    if reader is None:
        return None
    image, gridpoint_xy = shrink_to(image, gridpoint_xy, PX_PER_SQUARE)
    height, width = (round(side * PX_PER_SQUARE) for side in LINE_SQUARES)
    read = []
    for text in texts:
        line = resample_lattice(image, gridpoint_xy, text.y + offsets(height), text.x + offsets(width))
        with IN_USE:
            found = reader(line[..., ::-1], use_det=False, use_cls=False, use_rec=True)
        read += keypoints_of(found, text.x, text.y)
    return tuple(read)


def search_scales(image: np.ndarray, px_per_square: float) -> tuple[Keypoint, ...]:
    """The speeds and gains found anywhere on an image (H, W, 3) uint8 RGB with squares of so many px.

    This takes seconds. Where the texts are is not told: their x and y are NaN.
    """
    reader = engine()
    if reader is None:
        return ()
    shown = Rescaling.by(image.shape, SEARCH_PX_PER_SQUARE / px_per_square).image(image)
    with IN_USE:
        found = reader(shown[..., ::-1], use_det=True, use_cls=False, use_rec=True)
    return tuple(keypoints_of(found, float("nan"), float("nan")))


def keypoints_of(found: Any, x: float, y: float) -> list[Keypoint]:
    """What the reader found, as keypoints at (x, y) squares."""
    keypoints = []
    for words, score in zip(found.txts or (), found.scores or (), strict=True):
        for name in parse_scales(words):
            probability = np.zeros(len(KEYPOINTS), np.float32)
            probability[KEYPOINTS.index(name)] = score
            keypoints.append(Keypoint(x, y, probability))
    return keypoints
