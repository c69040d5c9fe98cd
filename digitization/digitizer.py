"""One image to twelve leads: the three stages in sequence, or the paper, its layout, and stage 2."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from configs.layouts import Layout, leads_from_rows
from configs.page import DURATION_S, LEADS, MAX_FS
from digitization.geometry.locate import PageNotFound
from digitization.geometry.orientation import undo_orientation
from digitization.geometry.straighten import MIN_PAGE_SCORE, RectifiedPage, Straightener
from digitization.layout.competition import (
    UNCONFIRMED,
    CompetitionAttempt,
    judge_competition,
)
from digitization.layout.finder import LayoutFinder
from digitization.layout.page import (
    MIN_LAYOUT_LEAD,
    MIN_LAYOUT_SCORE,
    NOTHING_KNOWN,
    Known,
    LayoutPage,
)
from digitization.layout.reading import read_page
from digitization.networks import load_networks
from digitization.overlay import draw_on_photo
from digitization.record_files import write_record, write_wfdb
from digitization.signal.quality import find_gaps, imputed_at, rate_leads
from digitization.signal.tracer import Tracer, TraceResult
from digitization.signal.traces import TIMELINE
from utils.device import AUTO, choose_device, choose_precision
from utils.workers import call_here

UNSURE_LEAD = 0.7  # confidence below which a lead is warned about: on drawn pages most score under 10 dB
MAX_UNSEEN_S = 0.3  # seconds of a lead, a third of a beat, that may not be seen on a page of another layout
LIMB_RESIDUAL_MV = 0.06  # mV rms, residual above which the limb leads contradict each other


@dataclass
class Digitized:
    """A digitized page.

    leads: (12, L) float32 mV in the order of LEADS, L the samples of the layout's duration, NaN outside the
        time in which a lead is printed.
    fs: sampling rate, Hz.
    page: where the page lies in the image and how; a RectifiedPage if it is the competition's.
    trace_result: the traces found on it.
    reasons: doubts about the page beside its own.
    """

    leads: np.ndarray
    fs: int
    page: RectifiedPage | LayoutPage
    trace_result: TraceResult
    reasons: tuple[str, ...] = ()

    @property
    def rectified(self) -> RectifiedPage:
        """The rectified page of the competition's layout. Raises ValueError for a page of another layout."""
        if not isinstance(self.page, RectifiedPage):
            raise ValueError(f"a page of layout {self.layout.name} is not rectified as the competition's")
        return self.page

    @property
    def layout(self) -> Layout:
        """What the page shows, and at which speed and gain."""
        return self.page.layout

    @property
    def confidence(self) -> np.ndarray:
        """The confidence of each lead, (12,) in 0..1; NaN for leads that are not printed."""
        return rate_leads(self.trace_result.confidence, self.layout)

    @property
    def gaps(self) -> dict[str, list[tuple[float, float]]]:
        """The stretches in which a trace could hardly be seen: lead -> [(start, stop)] in s."""
        return find_gaps(self.trace_result.confidence, self.layout)

    @property
    def imputed(self) -> np.ndarray:
        """The samples imputed from other beats of their lead, as the page hardly shows them: (12, L) bool."""
        return imputed_at(self.trace_result.imputed, int(DURATION_S * self.fs), self.layout)

    @property
    def imputed_seconds(self) -> float:
        """Total duration of the imputed samples of all leads in s, independent of `fs`."""
        samples = imputed_at(self.trace_result.imputed, TIMELINE, self.layout)
        return float(samples.sum() * DURATION_S / TIMELINE)

    @property
    def limb_residual(self) -> float:
        """Deviation of the limb leads from Einthoven's and Goldberger's relations, mV rms.

        NaN where no three limb leads are printed at the same time.
        """
        residuals = self.trace_result.limb_residuals
        known = residuals[np.isfinite(residuals)]
        return float(np.sqrt(np.mean(known**2))) if len(known) else float("nan")

    @property
    def is_suspect(self) -> bool:
        """Whether a page read as the competition's may be another one."""
        rectified = self.rectified
        return rectified.slip is None and (
            rectified.page_score < MIN_PAGE_SCORE or self.limb_residual > LIMB_RESIDUAL_MV
        )

    def surpasses(self, competition: "Digitized") -> bool:
        """Whether this reading of a page of any layout is rather right than that as the competition's."""
        page = self.page
        assert isinstance(page, LayoutPage)
        agrees = page.lead >= MIN_LAYOUT_LEAD and (
            page.score >= MIN_LAYOUT_SCORE or bool(competition.reasons)  # its rows are not seen in place
        )
        return agrees and not self.limb_residual > competition.limb_residual  # NaN without limb leads

    @property
    def doubts(self) -> list[str]:
        """Reasons why the signals may be wrong, as sentences; empty if there are none."""
        doubts = [*self.page.doubts, *self.reasons]
        doubtful = [
            f"{lead} {value:.2f}"
            for lead, value in zip(LEADS, self.confidence, strict=True)
            if value < UNSURE_LEAD
        ]
        if doubtful:
            doubts.append(f"traces hard to see, confidence {', '.join(doubtful)}")
        if isinstance(self.page, LayoutPage):  # whose rows may be so close that a trace is lost among others
            unseen = {lead: sum(stop - start for start, stop in gaps) for lead, gaps in self.gaps.items()}
            lost = [f"{lead} {s:.1f} s" for lead, s in unseen.items() if s >= MAX_UNSEEN_S]
            if lost:
                doubts.append(f"traces not seen for {', '.join(lost)}")
        if self.limb_residual > LIMB_RESIDUAL_MV:
            doubts.append(f"the limb leads contradict each other by {self.limb_residual:.2f} mV rms")
        return doubts

    def to_csv(self, path: Path) -> None:
        """Write the leads as predict.py does: one column per lead, in mV, blank where it is not printed."""
        write_record(Path(path), self.leads, self.fs, self.layout.duration_s)

    def to_wfdb(self, path: Path, comments: Iterable[str] = ()) -> Path:
        """Write a WFDB record with imputed samples as annotations; returns the path of the header.

        See digitization.record_files.write_wfdb.
        """
        return write_wfdb(Path(path), self.leads, self.fs, comments, self.imputed)

    def draw_overlay(self, image: np.ndarray) -> np.ndarray:
        """A copy of the digitized image (H, W, 3) uint8 RGB with the grid and the traces drawn on it."""
        return draw_on_photo(image, self.page, self.trace_result)


class Digitizer:
    """Digitizes pages with the networks of six checkpoints; stage 2 may have several.

    Stages 0 to 2 read the competition's page; `landmarks`, `close_ups` and `stage2_layouts` with stage 1
    those of any other layout. `known` is what is known of all pages; with its `competition` they are the
    competition's. The default checkpoints are those in checkpoints/. `tta` names further views for test-time
    augmentation, "moved" and "mirrored"; `merge` is how the traces of several networks or views are merged,
    "mean" or "median"; `impute` allows samples to be imputed from other beats; `precision` is "auto",
    "float32" or "bfloat16", see utils.device.choose_precision. Raises CheckpointError when a file is missing
    or does not fit, ValueError for unknown names.
    """

    def __init__(
        self,
        stage0: Path | None = None,
        stage1: Path | None = None,
        stage2: Path | Sequence[Path] | None = None,
        device: str | None = None,
        tta: Sequence[str] = (),
        merge: str = "mean",
        precision: str = AUTO,
        impute: bool = True,
        landmarks: Path | None = None,
        stage2_layouts: Path | None = None,
        known: Known = NOTHING_KNOWN,
        close_ups: Path | None = None,
    ):
        chosen = choose_device(device)
        nets = load_networks(
            stage0,
            stage1,
            stage2,
            choose_precision(precision, chosen),
            landmarks,
            stage2_layouts,
            close_ups,
        )
        self.set_up(nets, str(chosen), tta, merge, impute, known=known)

    @classmethod
    def of_networks(
        cls,
        nets: Sequence[nn.Module],
        device: torch.device | str = "cpu",
        tta: Sequence[str] = (),
        merge: str = "mean",
        impute: bool = True,
        run: Callable = call_here,
        known: Known = NOTHING_KNOWN,
    ) -> "Digitizer":
        """A Digitizer of networks already loaded, in the order of load_networks.

        `run` calls the decoder of stage 2's maps, see Tracer.
        """
        digitizer = cls.__new__(cls)
        digitizer.set_up(nets, device, tta, merge, impute, run, known)
        return digitizer

    def set_up(
        self,
        nets: Sequence[nn.Module],
        device: torch.device | str,
        tta: Sequence[str],
        merge: str,
        impute: bool,
        run: Callable = call_here,
        known: Known = NOTHING_KNOWN,
    ) -> None:
        stage0, stage1, landmarks, close_ups, layouts, *several = (net.eval().to(device) for net in nets)
        self.straightener = Straightener(stage0, stage1, device)
        self.tracer = Tracer(several, device, tta, merge, impute, run)
        self.finder = LayoutFinder(stage1, landmarks, close_ups, device)
        self.layout_tracer = Tracer([layouts], device, tta, merge, impute, run)
        self.known = known

    def __call__(self, image: np.ndarray, fs: int = 500, known: Known | None = None) -> Digitized:
        """Digitize a photo or scan (H, W, 3) uint8 RGB to signals of `fs` Hz.

        `known` is what is known of this page, in place of what is known of all. Raises PageNotFound when no
        page is found, and ValueError for another image or sampling rate and when the output of a network is
        not finite.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or not image.size:
            raise ValueError("the image is not an (H, W, 3) uint8 array; utils.images.read_rgb reads files")
        if image.shape[2] != 3:
            raise ValueError(f"the image has {image.shape[2]} channels, not 3")
        if not isinstance(fs, (int, np.integer)) or not 1 <= fs <= MAX_FS:
            raise ValueError(f"fs {fs!r}: must be a whole number of Hz from 1 to {MAX_FS}")
        known = known or self.known
        if known.competition:
            return self.read_competition(self.straightener.straighten(image), fs)
        attempt = self.attempt_competition(image) if known.is_open else CompetitionAttempt()
        competition = None
        if attempt.is_shown and attempt.rectified:
            competition = self.read_competition(attempt.rectified, fs)
            if attempt.is_certain or not competition.is_suspect:
                return competition
        try:
            upright, page = self.finder.find(image, known)
        except PageNotFound as error:
            if competition is None and attempt.is_possible and attempt.rectified:
                competition = self.read_competition(attempt.rectified, fs, (UNCONFIRMED, str(error)))
            if competition is None:
                raise error from attempt.reason
            return competition
        if not competition and attempt.is_possible and attempt.rectified and page.score < MIN_LAYOUT_SCORE:
            competition = self.read_competition(attempt.rectified, fs, (UNCONFIRMED,))
        page, trace_result = read_page(self.layout_tracer, upright, page, fs)
        found = Digitized(leads_from_rows(trace_result.rows, page.layout), fs, page, trace_result)
        return competition if competition and not found.surpasses(competition) else found

    def attempt_competition(self, image: np.ndarray) -> CompetitionAttempt:
        """Whether a page is the competition's, by its rows on the rectified paper."""
        try:
            rectified = self.straightener.straighten(image)
        except PageNotFound as error:
            return CompetitionAttempt(reason=error)
        upright = undo_orientation(image, rectified.orientation)
        return judge_competition(rectified, self.finder.see(upright, rectified.gridpoint_xy))

    def read_competition(self, rectified: RectifiedPage, fs: int, reasons: tuple[str, ...] = ()) -> Digitized:
        """The signals of a page of the competition, rectified."""
        trace_result = self.tracer.trace(rectified.rect, int(DURATION_S * fs))
        return Digitized(leads_from_rows(trace_result.rows), fs, rectified, trace_result, reasons)
