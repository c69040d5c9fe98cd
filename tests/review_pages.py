"""Runs of pages to review without networks: drawn pages whose place is known, read by their ink alone."""

import zlib
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import torch

from configs.layouts import Layout, find_layout, leads_from_rows
from configs.page import RECTIFIED, SQUARE_MM
from configs.stage2 import CROP_TOP, Stage2Config
from digitization import Digitized
from digitization.geometry.locate import PageNotFound
from digitization.layout.page import NOTHING_KNOWN, LayoutPage
from digitization.layout.reading import read_page
from digitization.layout.scales import Scale
from digitization.signal.tracer import Tracer
from models.checkpoint import checkpoint_path, load_network
from prediction.results import OutputOptions, Page
from prediction.runs import predict_images
from review.session import Desk
from review.store import Store
from synthesis.layouts.page import LayoutPage as DrawnPage
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import Record
from tests.test_any_page import beating_leads
from utils.images import write_png

ROW_STRIDE = 4  # px per bin of the ink network's maps
NATS = 60.0  # of a black bin over a white one
BAND_PX = 105  # px (1.3 mV) about a zero line in which its trace is looked for
SEED = 1  # of a page of blue lines with black traces
BENT_NODE, BENT_REACH = (8, 9), 8.0  # (column, row) and squares about it where a lattice is bent
BENT_SQUARES = 0.8  # squares by which it is too far to the left there


class InkNet(torch.nn.Module):
    """Stands in for stage 2: the darker a pixel within a row's band, the likelier its trace."""

    config = Stage2Config(backbone="none")

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        dark = 1 - image.amax(dim=1)  # (B, H, W)
        bins = torch.nn.functional.avg_pool2d(dark[:, None], (ROW_STRIDE, 1))
        y = (torch.arange(bins.shape[2]) + 0.5) * ROW_STRIDE + CROP_TOP
        lines = torch.tensor(RECTIFIED.zero_lines)
        own = (y[None] - lines[:, None]).abs() < BAND_PX
        return torch.where(own[None, :, :, None], NATS * bins, -NATS)


@cache
def draw(name: str = "6x2") -> DrawnPage:
    """A page of a layout, whose image cannot be written to: it is drawn once for all tests."""
    record = Record("beating", beating_leads(), 500)
    page = draw_layout_page(record, find_layout(name), np.random.default_rng(SEED))
    page.image.flags.writeable = False
    return page


def bend(gridpoint_xy: np.ndarray) -> np.ndarray:
    """A lattice (R, C, 2) px that has lost count of the squares of its page in one region."""
    rows, columns = gridpoint_xy.shape[:2]
    away = np.hypot(np.arange(columns) - BENT_NODE[0], np.arange(rows)[:, None] - BENT_NODE[1])
    bump = np.cos(np.pi / 2 * (away / BENT_REACH).clip(max=1)) ** 2
    bent = gridpoint_xy.copy()
    bent[..., 0] -= BENT_SQUARES * bump * np.median(np.diff(gridpoint_xy[..., 0], axis=1))
    return bent


def place(page: DrawnPage, layout: Layout, bent: bool = False) -> LayoutPage:
    """A drawn page found without error, or with a lattice that is bent."""
    width = layout.duration_s * layout.mm_per_second / SQUARE_MM
    lattice = bend(page.gridpoint_xy) if bent else page.gridpoint_xy
    seen = np.ones(lattice.shape[:2], bool)
    return LayoutPage(
        0, lattice, seen, 0.95, layout, page.zero_lines, page.start, 0.0, width, 0.99, 0.5, (),
        Scale(layout.mm_per_second, "text"), Scale(layout.mm_per_mv, "assumed"),
        (f"gain not seen, {layout.mm_per_mv:g} mm/mV is assumed",),
    )  # fmt: skip


class InkDigitizer:
    """Digitizes drawn pages of one layout, whose place it knows; finds nothing on white images.

    With `bent` it has their grid wrong in one region, and stage 1 to see its crossings.
    """

    read: ClassVar[dict[tuple, Digitized]] = {}  # what was read before, by the image and the layout

    def __init__(self, page: DrawnPage, bent: bool = False):
        self.drawn, self.bent = page, bent
        stage1_net = load_network(checkpoint_path(1), 1).eval() if bent else None
        self.tracer = self.layout_tracer = Tracer([InkNet()])
        self.finder = SimpleNamespace(
            find_grid=self.find_nothing, device=torch.device("cpu"), stage1_net=stage1_net
        )
        self.known = NOTHING_KNOWN

    def find_nothing(self, image: np.ndarray):
        raise PageNotFound("no grid is seen")

    def __call__(self, image: np.ndarray, fs: int = 500, known=None) -> Digitized:
        if image.min() > 200:
            raise PageNotFound("no page is seen")
        key = zlib.crc32(np.ascontiguousarray(image).data), image.shape, self.drawn.layout, self.bent, fs
        if key not in self.read:
            page = place(self.drawn, self.drawn.layout, self.bent)
            found, result = read_page(self.layout_tracer, image, page, fs)
            self.read[key] = Digitized(leads_from_rows(result.rows, found.layout), fs, found, result)
        return self.read[key]


class InkEngine:
    """As prediction.engine.Engine, of an InkDigitizer."""

    networks = "0123abcd"

    def __init__(self, digitizer: InkDigitizer):
        self.digitizer = digitizer

    def digitize(self, pages, outputs):
        from prediction.pages import process_page

        for page in pages:
            yield process_page(self.digitizer, page, outputs)


def write_run(
    folder: Path, names: tuple[str, ...] = ("six", "other"), blank: bool = False, bent: bool = False
) -> Desk:
    """A run of predict.py over copies of one drawn page of 6x2, and a desk to review it at."""
    page = draw()
    digitizer = InkDigitizer(page, bent)
    images = folder.parent / "images"
    for name in names:
        write_png(images / f"{name}.png", page.image)
    if blank:
        write_png(images / "blank.png", np.full((300, 400, 3), 255, np.uint8))
        names = (*names, "blank")
    folder.mkdir(parents=True, exist_ok=True)
    pages = [Page(name, images / f"{name}.png") for name in names]
    predict_images(InkEngine(digitizer), pages, OutputOptions(folder, signals=True))
    return Desk(Store(folder), digitizer, InkEngine.networks)
