"""The record that the pages of a PDF hold, with what a Digitized has of a photo."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from configs.layouts import Layout
from configs.page import LEADS
from digitization.overlay import draw_curves
from digitization.record_files import write_record, write_wfdb
from digitization.vector.page import VectorPage
from utils.pdf import PdfPage

LIMB_RESIDUAL_MV = 0.03  # mV rms, half of what pictures are allowed; the shared files have 0.005 at most
SLOPE_HZ = 100  # rate at which the beats of two pages are compared: QRS complexes last 0.1 s
MIN_TOGETHER = 0.75  # correlation of their slopes; 0.88 to 0.93 on pages of CardioSoft and Schiller
SAME_DURATION = 0.02  # share by which pages of one record may differ in duration


@dataclass
class VectorRecord:
    """The leads of one page of a PDF, or of several that carry on with further leads; at `fs` Hz."""

    pages: tuple[VectorPage, ...]
    fs: int
    other_leads: tuple[str, ...] = ()  # of pages that carry on with none of the twelve

    page_score = 1.0  # the curves are where the file says

    @cached_property
    def leads(self) -> np.ndarray:
        """(12, L) float32 mV in the order of LEADS, NaN where no lead is printed."""
        length = round(self.layout.duration_s * self.fs)
        leads = np.full((len(LEADS), length), np.nan, np.float32)
        for page in self.pages:
            own = page.lead_signals(self.fs)[:, :length]
            known = np.isfinite(own)
            leads[:, : own.shape[1]][known] = own[known]
        return leads

    @cached_property
    def layout(self) -> Layout:
        """What the pages show together: the rows of one below those of the other."""
        return join_layouts([page.layout for page in self.pages])

    @property
    def native_hz(self) -> float | None:
        """The rate of the points in the file, in Hz; None where they follow no rate."""
        return self.pages[0].native_hz

    @property
    def confidence(self) -> np.ndarray:
        """1 for each lead on the pages, as its curve is read itself, NaN for others: (12,)."""
        return np.array([1.0 if lead in self.layout.longest else np.nan for lead in LEADS])

    @property
    def gaps(self) -> dict[str, list[tuple[float, float]]]:
        """Nothing is hidden from who reads the curve."""
        return {}

    @property
    def imputed(self) -> np.ndarray:
        """No sample is imputed: (12, L) bool."""
        return np.zeros(self.leads.shape, bool)

    imputed_seconds = 0.0

    @property
    def limb_residual(self) -> float:
        """Deviation of the limb leads from their relations, mV rms; NaN without three of them at one time."""
        known = [page.limb_residual for page in self.pages if np.isfinite(page.limb_residual)]
        return max(known, default=float("nan"))

    @property
    def doubts(self) -> list[str]:
        """Reasons why the signals may be wrong, as sentences."""
        doubts = list(dict.fromkeys(doubt for page in self.pages for doubt in page.doubts))
        if not all(shown_together(self.pages[0], page) for page in self.pages[1:]):
            doubts.append("the pages seem to show different times: their beats do not come together")
        if self.limb_residual > LIMB_RESIDUAL_MV:
            doubts.append(f"the limb leads contradict each other by {self.limb_residual:.2f} mV rms")
        return doubts

    @property
    def left_out(self) -> list[str]:
        """Leads on the pages beside the twelve, which the record does not hold."""
        return [*(lead for page in self.pages for lead in page.left_out), *self.other_leads]

    def to_csv(self, path: Path) -> None:
        """Write the leads as predict.py does."""
        write_record(Path(path), self.leads, self.fs, self.layout.duration_s)

    def to_wfdb(self, path: Path, comments: Iterable[str] = ()) -> Path:
        """Write a WFDB record; returns the path of its header."""
        return write_wfdb(Path(path), self.leads, self.fs, comments)

    def draw_overlay(self, images: Sequence[np.ndarray]) -> np.ndarray:
        """The pages, rendered as (H, W, 3) uint8 RGB, one below the other with their curves drawn on them."""
        drawn = []
        for page, image in zip(self.pages, images, strict=True):
            scale = image.shape[1] / page.pdf.width  # px per mm
            rows = [
                [printed.points * scale for printed in page.leads if printed.segment.row == row]
                for row in range(page.layout.row_count)
            ]
            drawn.append(draw_curves(image, rows))
        return stack(drawn)


def stack(images: Sequence[np.ndarray]) -> np.ndarray:
    """Images (H, W, 3) uint8 one below the other, white beside the narrower ones."""
    width = max(image.shape[1] for image in images)
    padded = [
        np.pad(image, ((0, 0), (0, width - image.shape[1]), (0, 0)), constant_values=255) for image in images
    ]
    return np.concatenate(padded)


def join_layouts(layouts: Sequence[Layout]) -> Layout:
    """The layout whose rows are those of all; of a single one, itself."""
    if len(layouts) == 1:
        return layouts[0]
    rows = tuple(row for layout in layouts for row in layout.rows)
    rhythm = tuple(lead for layout in layouts for lead in layout.rhythm)
    name = " and ".join(layout.name for layout in layouts)
    return replace(layouts[0], name=name, rows=rows, rhythm=rhythm)


def carries_on(pages: Sequence[VectorPage], page: VectorPage) -> bool:
    """Whether a page shows further leads of the record of the pages before it."""
    first = pages[-1]
    shown = {lead for page in pages for lead in page.layout.longest}
    return (
        not shown & set(page.layout.longest)
        and not any(p.layout.rhythm for p in (*pages, page))
        and (first.layout.columns, first.scales.speed.value) == (page.layout.columns, page.scales.speed.value)
        and abs(first.layout.duration_s / page.layout.duration_s - 1) <= SAME_DURATION
        and same_size(first.pdf, page.pdf)
    )


def same_size(first: PdfPage, second: PdfPage) -> bool:
    return abs(first.width - second.width) < 1 and abs(first.height - second.height) < 1


def shown_together(first: VectorPage, second: VectorPage) -> bool:
    """Whether the beats of two pages come at the same times, by the steep stretches of their leads."""
    slopes = []
    for page in (first, second):
        signals = page.lead_signals(SLOPE_HZ)
        slopes.append(np.nansum(np.abs(np.diff(signals, axis=1)), axis=0))
    length = min(len(slope) for slope in slopes)
    one, other = (slope[:length] - slope[:length].mean() for slope in slopes)
    power = float(np.linalg.norm(one) * np.linalg.norm(other))
    return power == 0 or float(one @ other) / power >= MIN_TOGETHER
