"""One image to twelve leads: the three stages in sequence."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from configs.layouts import leads_from_rows
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

UNSURE_LEAD = 0.7  # confidence below which a lead is warned about: on drawn pages most score under 10 dB
LIMB_RESIDUAL_MV = 0.06  # mV rms, residual above which the limb leads contradict each other


@dataclass
class Digitized:
    """A digitized page.

    leads: (12, 10 * fs) float32 mV in the order of LEADS, NaN outside the time in which a lead is printed.
    fs: sampling rate, Hz.
    rectified, trace_result: the rectified page and the traces found on it.
    """

    leads: np.ndarray
    fs: int
    rectified: RectifiedPage
    trace_result: TraceResult

    @property
    def confidence(self) -> np.ndarray:
        """The confidence of each lead, (12,) in 0..1."""
        return rate_leads(self.trace_result.confidence)

    @property
    def gaps(self) -> dict[str, list[tuple[float, float]]]:
        """The stretches in which a trace could hardly be seen: lead -> [(start, stop)] in s."""
        return find_gaps(self.trace_result.confidence)

    @property
    def imputed(self) -> np.ndarray:
        """The samples imputed from other beats of their lead, as the page hardly shows them: (12, L) bool."""
        return imputed_at(self.trace_result.imputed, self.leads.shape[1])

    @property
    def imputed_seconds(self) -> float:
        """Total duration of the imputed samples of all leads in s, independent of `fs`."""
        return float(imputed_at(self.trace_result.imputed, TIMELINE).sum() * DURATION_S / TIMELINE)

    @property
    def limb_residual(self) -> float:
        """Deviation of the limb leads from Einthoven's and Goldberger's relations, mV rms."""
        return float(np.sqrt(np.nanmean(self.trace_result.limb_residuals**2)))

    @property
    def doubts(self) -> list[str]:
        """Reasons why the signals may be wrong, as sentences; empty if there are none."""
        doubts = self.rectified.doubts
        doubtful = [
            f"{lead} {value:.2f}"
            for lead, value in zip(LEADS, self.confidence, strict=True)
            if value < UNSURE_LEAD
        ]
        if doubtful:
            doubts.append(f"traces hard to see, confidence {', '.join(doubtful)}")
        if self.limb_residual > LIMB_RESIDUAL_MV:
            doubts.append(f"the limb leads contradict each other by {self.limb_residual:.2f} mV rms")
        return doubts

    def to_csv(self, path: Path) -> None:
        """Write the leads as predict.py does: one column per lead, in mV, blank where it is not printed."""
        write_record(Path(path), self.leads, self.fs)

    def to_wfdb(self, path: Path, comments: Iterable[str] = ()) -> Path:
        """Write a WFDB record with imputed samples as annotations; returns the path of the header.

        See digitization.record_files.write_wfdb.
        """
        return write_wfdb(Path(path), self.leads, self.fs, comments, self.imputed)

    def draw_overlay(self, image: np.ndarray) -> np.ndarray:
        """A copy of the digitized image (H, W, 3) uint8 RGB with the grid and the traces drawn on it."""
        return draw_on_photo(image, self.rectified, self.trace_result)


class Digitizer:
    """Digitizes pages with the networks of three checkpoints; stage 2 may have several.

    The default checkpoints are those in checkpoints/. `tta` names further views for test-time augmentation,
    "moved" and "mirrored"; `merge` is how the traces of several networks or views are merged, "mean" or
    "median"; `impute` allows samples to be imputed from other beats; `precision` is "auto", "float32" or
    "bfloat16", see utils.device.choose_precision. Raises CheckpointError when a file is missing or does not
    fit, ValueError for unknown names.
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
        """A Digitizer of networks already loaded: stage 0, stage 1, and one or more of stage 2.

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
        """Digitize a photo or scan (H, W, 3) uint8 RGB to signals of `fs` Hz.

        Raises PageNotFound when no page is found, and ValueError for another image or sampling rate and when
        the output of a network is not finite.
        """
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.ndim != 3 or not image.size:
            raise ValueError("the image is not an (H, W, 3) uint8 array; utils.images.read_rgb reads files")
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
    """Load stage 0, stage 1, and one or more networks of stage 2 on the CPU.

    Raises CheckpointError for a checkpoint that does not fit, ValueError if none is given for stage 2.
    """
    several = [stage2] if isinstance(stage2, (str, Path)) else stage2
    if not several:
        raise ValueError("stage2: no checkpoint is given")
    stages = [(stage0, 0), (stage1, 1), *((path, 2) for path in several)]
    return [load_network(path, stage, precision=precision) for path, stage in stages]
