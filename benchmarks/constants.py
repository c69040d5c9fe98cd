"""Which constants of the decoder and of the grid matter: the change when each is tripled or divided by three.

    python benchmarks/constants.py DATA --count 1

The networks run once on each page; then stage 2's maps are decoded, and stage 1's maps become a grid, with
one constant changed at a time. The first table has the change of the mean score in dB (`x 3`, `/ 3`); the
second has that of the mean of the pages' 95th percentiles of the grid error, in px of a 200 dpi page, and
the pages lost. A constant that moves neither is marked `-`: on these pages it does not matter.
"""

import importlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.labelled import LabelledPage, open_digitizer, page_arguments, selected_pages
from configs.layouts import leads_from_rows
from configs.stage2 import INPUT_HEIGHT, Stage2Config
from datasets.labels import grid_errors, labels_path, read_labels
from digitization.digitizer import Digitizer
from digitization.geometry.frame import warp_to_frame
from digitization.geometry.grid import decode_grid
from digitization.geometry.locate import PageLocation, PageNotFound
from digitization.geometry.orientation import undo_orientation
from digitization.signal.decode import decode_rows
from digitization.signal.tracer import stage2_config
from models.tensors import to_tensor
from utils.command import run_main
from utils.device import limit_threads
from utils.images import read_rgb
from utils.kaggle_metric import image_snr, to_db

SIGNAL_MODULES = ("beats", "decode", "path", "quality", "row_ends", "limb_leads")
GEOMETRY_MODULES = ("lattice", "surface", "grid")
FACTORS = (3.0, 1 / 3)
SMALLEST_DB = 0.005  # change of the mean score below which a constant does not matter
SMALLEST_PX = 0.002  # change of the mean grid error, likewise


class CachedPage(NamedTuple):
    """What the networks make of a page, and its truth."""

    page: LabelledPage
    logits: torch.Tensor  # (4, H, W) of stage 2
    row_stride: int
    config: Stage2Config
    location: PageLocation
    maps: dict[str, np.ndarray]  # of stage 1, probabilities
    shape: tuple[int, int]


def constants_of(module: ModuleType) -> Iterator[tuple[str, float]]:
    """The numbers that a module defines itself under names in capital letters."""
    for line in Path(str(module.__file__)).read_text().splitlines():
        name, equals, _ = line.partition(" = ")
        value = getattr(module, name, None) if equals and name.isupper() else None
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            yield name, float(value)


@contextmanager
def changed(module: ModuleType, name: str, value: float) -> Iterator[None]:
    """A constant with another value, in its module and in all that have imported it from there."""
    old = getattr(module, name)
    holders = [
        m for m in list(sys.modules.values()) if getattr(m, "__name__", "").startswith("digitization.")
    ]
    holders = [m for m in holders if getattr(m, name, None) is old or m is module]
    value = max(round(value), 1) if isinstance(old, int) else value
    try:
        for holder in holders:
            setattr(holder, name, value)
        yield
    finally:
        for holder in holders:
            setattr(holder, name, old)


@torch.inference_mode()
def cache_page(digitizer: Digitizer, page: LabelledPage) -> CachedPage | None:
    """The maps of both networks; None for a page that is not found."""
    image = read_rgb(page.path)
    try:
        location = next(iter(digitizer.straightener.find_pages(image)))
        rect = digitizer.straightener.straighten(image).rect
    except PageNotFound:
        return None
    upright = undo_orientation(image, location.orientation)
    output = digitizer.straightener.stage1_net(to_tensor(warp_to_frame(upright, location.homography)))
    maps = {head: logits[0, 0].float().sigmoid().numpy() for head, logits in output.items()}
    net = digitizer.tracer.nets[0]
    logits = digitizer.tracer.maps(net, rect)
    row_stride = INPUT_HEIGHT // logits.shape[1]
    return CachedPage(page, logits, row_stride, stage2_config(net), location, maps, image.shape[:2])


def score(pages: list[CachedPage]) -> float:
    """The mean score in dB."""
    ratios = []
    for page in pages:
        rows, _ = decode_rows(page.logits, page.row_stride, page.page.truth.shape[1], page.config)
        ratios.append(image_snr(page.page.truth, leads_from_rows(rows), page.page.fs))
    return float(to_db(np.mean(ratios)))


def grid_error(pages: list[CachedPage]) -> tuple[float, int]:
    """The mean of the pages' 95th percentiles of the grid error, px, and the number of pages lost."""
    errors, lost = [], 0
    for page in pages:
        try:
            grid = decode_grid(page.maps["gridpoint"], page.location, page.maps.get("leadend"))
        except PageNotFound:
            lost += 1
            continue
        truth = read_labels(labels_path(page.page.path))
        errors.append(np.percentile(grid_errors(grid.gridpoint_xy, *truth, page.shape), 95))
    return float(np.mean(errors)) if errors else np.inf, lost


def tabulate(
    package: str, names: tuple[str, ...], measure: Callable[[], tuple[float, int]], smallest: float
) -> pd.DataFrame:
    """A row for each constant: its value, and the change of the measure by FACTORS."""
    before, _ = measure()
    rows = []
    for module_name in names:
        module = importlib.import_module(f"digitization.{package}.{module_name}")
        for name, value in constants_of(module):
            changes, lost, error_name = [], 0, ""
            for factor in FACTORS:
                with changed(module, name, value * factor):
                    try:
                        after, pages = measure()
                    except Exception as error:  # whatever an absurd constant makes of the program
                        after, pages, error_name = np.nan, 0, f" ({type(error).__name__})"
                changes.append(after - before)
                lost += pages
            mark = "-" if np.nanmax(np.abs(changes)) < smallest and not lost else ""
            rows.append((f"{module_name}.{name}{error_name}", value, *changes, lost, mark))
    return pd.DataFrame(rows, columns=["constant", "value", "x 3", "/ 3", "pages lost", ""]).set_index(
        "constant"
    )


def main() -> None:
    args = page_arguments(__doc__).parse_args()
    limit_threads(args.threads)
    digitizer = open_digitizer(args)
    cached = [page for each in selected_pages(args) if (page := cache_page(digitizer, each))]
    print(f"{len(cached)} pages: {score(cached):.3f} dB, grid error {grid_error(cached)[0]:.3f} px\n")
    signal = tabulate("signal", SIGNAL_MODULES, lambda: (score(cached), 0), SMALLEST_DB)
    print(signal.to_string(float_format="{:.3f}".format), "\n")
    geometry = tabulate("geometry", GEOMETRY_MODULES, lambda: grid_error(cached), SMALLEST_PX)
    print(geometry.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    run_main(main)
