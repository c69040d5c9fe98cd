"""One image to twelve leads: the three stages in a row."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from configs.leads import leads_from_rows
from configs.page import DURATION_S, LEADS, MAX_FS
from digitization.geometry.straighten import RectifiedPage, Straightener
from digitization.overlay import draw_on_photo
from digitization.record_files import write_record, write_wfdb
from digitization.signal.quality import find_gaps, imputed_at, rate_leads
from digitization.signal.tracer import Tracer, TraceResult
from digitization.signal.traces import TIMELINE
from models.checkpoint import checkpoint_path, load_network
from utils.device import AUTO, choose_device, choose_precision
from utils.workers import call_here

UNSURE_LEAD = 0.7  # confidence below which a lead is warned of: on drawn pages most such score under 10 dB
LIMB_RESIDUAL_MV = 0.06  # rms above which the limb leads contradict each other


@dataclass
class Digitized:
    """One page: `leads` (12, 10 * fs) mV in the order of LEADS, NaN outside a lead's own time."""

    leads: np.ndarray
    fs: int
    rectified: RectifiedPage
    trace_result: TraceResult

    @property
    def confidence(self) -> np.ndarray:
        """(12,) in 0..1, of each lead."""
        return rate_leads(self.trace_result.confidence)

    @property
    def gaps(self) -> dict[str, list[tuple[float, float]]]:
        """lead -> [(start, stop)] s, where its trace could hardly be seen."""
        return find_gaps(self.trace_result.confidence)

    @property
    def imputed(self) -> np.ndarray:
        """(12, L) bool, samples that the page hardly shows, completed from the other beats of their lead."""
        return imputed_at(self.trace_result.imputed, self.leads.shape[1])

    @property
    def imputed_seconds(self) -> float:
        """Seconds of imputed samples, of all leads together, whatever `fs` is."""
        return float(imputed_at(self.trace_result.imputed, TIMELINE).sum() * DURATION_S / TIMELINE)

    @property
    def limb_residual(self) -> float:
        """mV rms by which I, II, III, aVR, aVL and aVF contradict each other (Einthoven, Goldberger)."""
        return float(np.sqrt(np.mean(self.trace_result.limb_residuals**2)))

    @property
    def doubts(self) -> list[str]:
        """Why the signals may not be the page's; empty when nothing speaks against them."""
        doubts = self.rectified.doubts
        unsure = [
            f"{lead} {value:.2f}"
            for lead, value in zip(LEADS, self.confidence, strict=True)
            if value < UNSURE_LEAD
        ]
        if unsure:
            doubts.append(f"traces hard to see, confidence {', '.join(unsure)}")
        if self.limb_residual > LIMB_RESIDUAL_MV:
            doubts.append(f"the limb leads contradict each other by {self.limb_residual:.2f} mV rms")
        return doubts

    def to_csv(self, path: Path) -> None:
        """Write the leads as predict.py does: a column each, in mV, blank where a lead is not shown."""
        write_record(Path(path), self.leads, self.fs)

    def to_wfdb(self, path: Path, comments: Iterable[str] = ()) -> Path:
        """Write a WFDB record, imputed samples as annotations; returns the header's path.

        See digitization.record_files.write_wfdb.
        """
        return write_wfdb(Path(path), self.leads, self.fs, comments, self.imputed)

    def draw_overlay(self, image: np.ndarray) -> np.ndarray:
        """The photo (H, W, 3) uint8 RGB that was digitized with grid and traces drawn on it, as large."""
        return draw_on_photo(image, self.rectified, self.trace_result)


class Digitizer:
    """Pages to millivolts, with networks from three checkpoints; of stage 2 there may be several.

    The default are those in checkpoints/. `tta` names more views to read, "moved" and "mirrored"; `merge`
    says how several readings become one, "mean" or "median"; without `impute` nothing is completed from other
    beats; `precision` is "auto", "float32" or "bfloat16",
    see utils.device.choose_precision. Raises CheckpointError when a file is missing or does not fit,
    ValueError for names unknown.
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
    ):
        chosen = choose_device(device)
        nets = load_networks(
            stage0 or checkpoint_path(0),
            stage1 or checkpoint_path(1),
            checkpoint_path(2) if stage2 is None else stage2,
            choose_precision(precision, chosen),
        )
        self.set_up(nets, str(chosen), tta, merge, impute)

    @classmethod
    def of_networks(
        cls,
        nets: Sequence[nn.Module],
        device: torch.device | str = "cpu",
        tta: Sequence[str] = (),
        merge: str = "mean",
        impute: bool = True,
        run: Callable = call_here,
    ) -> "Digitizer":
        """With networks that are there already: stage 0, stage 1, and one or more of stage 2.

        `run` calls the decoder of stage 2's maps, see Tracer.
        """
        digitizer = cls.__new__(cls)
        digitizer.set_up(nets, device, tta, merge, impute, run)
        return digitizer

    def set_up(
        self,
        nets: Sequence[nn.Module],
        device: torch.device | str,
        tta: Sequence[str],
        merge: str,
        impute: bool,
        run: Callable = call_here,
    ) -> None:
        stage0, stage1, *several = (net.eval().to(device) for net in nets)
        self.straightener = Straightener(stage0, stage1, device)
        self.tracer = Tracer(several, device, tta, merge, impute, run)

    def __call__(self, image: np.ndarray, fs: int = 500) -> Digitized:
        """Digitize a photo or scan (H, W, 3) uint8 RGB; raises ValueError, PageNotFound among them."""
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or not image.size:
            raise ValueError("the image is no (H, W, 3) uint8 array; utils.images.read_rgb reads files")
        if image.shape[2] != 3:
            raise ValueError(f"the image has {image.shape[2]} channels, not 3")
        if not isinstance(fs, (int, np.integer)) or not 1 <= fs <= MAX_FS:
            raise ValueError(f"fs {fs!r}: must be a whole number of Hz from 1 to {MAX_FS}")
        rectified = self.straightener.straighten(image)
        trace_result = self.tracer.trace(rectified.rect, int(DURATION_S * fs))
        return Digitized(leads_from_rows(trace_result.rows), fs, rectified, trace_result)


def load_networks(
    stage0: Path, stage1: Path, stage2: Path | Sequence[Path], precision: torch.dtype = torch.float32
) -> list[nn.Module]:
    """Stage 0, stage 1, and one or more of stage 2, on the CPU. Raises CheckpointError."""
    several = [stage2] if isinstance(stage2, (str, Path)) else stage2
    if not several:
        raise ValueError("stage2: no checkpoint is named")
    stages = [(stage0, 0), (stage1, 1), *((path, 2) for path in several)]
    return [load_network(path, stage, precision=precision) for path, stage in stages]
