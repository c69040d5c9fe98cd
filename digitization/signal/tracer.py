"""Stage 2 applied: a rectified page to its rows in millivolts, by one network or several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from configs.page import MASK_WIDTH
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, Stage2Config
from digitization.signal.decode import (
    MERGES,
    RowTraces,
    decode_maps,
    finish_rows,
    merge_confidence,
    merge_traces,
)
from models.tensors import to_tensor
from utils.workers import call_here


def stage2_config(net: nn.Module) -> Stage2Config:
    """What stage 2's network, or its stand-in in another process, was built from."""
    config = net.config
    assert isinstance(config, Stage2Config)
    return config


def decode_arrays(maps: np.ndarray, row_stride: int, config: Stage2Config, impute: bool) -> RowTraces:
    """decode_maps for logits (4, H, W) float32 as an array, which travels to other processes."""
    return decode_maps(torch.from_numpy(maps), row_stride, config, impute)


@dataclass(frozen=True)
class View:
    """How a network is shown a page: some px further down and to the right, or mirrored in time."""

    rows: int = 0
    columns: int = 0
    mirrored: bool = False


PLAIN = View()
# What test-time augmentation adds, by name. "moved" puts the traces elsewhere between the network's bins and
# columns; "mirrored" shows what the shipped network seldom learnt from, and reads worse.
VIEWS = {"moved": View(rows=2, columns=1), "mirrored": View(mirrored=True)}


@dataclass
class TraceResult:
    """What stage 2 read of a page."""

    rows: np.ndarray  # (4, L) mV of ten seconds
    y: np.ndarray  # (4, MASK_WIDTH) px of the rectified page, NaN beyond the signal
    confidence: np.ndarray  # (4, MASK_WIDTH) in 0..1
    imputed: np.ndarray  # (4, MASK_WIDTH) bool, columns completed from the other beats of their lead
    limb_residuals: np.ndarray  # (4, 2) mV rms, see digitization/signal/limb_leads.py


class Tracer:
    """Stage 2's networks with the decoder. Their readings are merged as heights, column by column.

    `tta` names the VIEWS in which each network also reads the page; `merge` is one of MERGES.
    Without `impute` nothing is completed from other beats. `run` calls the decoder, in this process unless
    it hands it to another.
    """

    def __init__(
        self,
        nets: Sequence[nn.Module],
        device: torch.device | str = "cpu",
        tta: Sequence[str] = (),
        merge: str = "mean",
        impute: bool = True,
        run: Callable = call_here,
    ):
        if unknown := set(tta) - set(VIEWS):
            raise ValueError(f"tta {', '.join(sorted(unknown))}: not among {', '.join(VIEWS)}")
        if merge not in MERGES:
            raise ValueError(f"merge {merge!r}: not among {', '.join(MERGES)}")
        self.nets, self.device, self.merge, self.impute = nets, torch.device(device), merge, impute
        self.run = run
        self.views = [PLAIN, *(VIEWS[name] for name in dict.fromkeys(tta))]

    def trace(self, rect: np.ndarray, length: int) -> TraceResult:
        """A rectified page (1700, 4400, 3) uint8 to rows of `length` samples.

        Raises ValueError when a network's values are not finite.
        """
        readings = [self.read(net, rect, view) for net in self.nets for view in self.views]
        y, confidence, imputed = (np.stack(parts) for parts in zip(*readings, strict=True))
        merged = merge_traces(y, confidence, self.merge)
        confidence = merge_confidence(y, confidence, merged)
        rows, residuals = finish_rows(merged, confidence, length)
        return TraceResult(rows, merged, confidence, np.logical_and.reduce(imputed), residuals)

    def read(self, net: nn.Module, rect: np.ndarray, view: View) -> RowTraces:
        """One network's reading of a view, its heights in px of `rect`."""
        logits = self.maps(net, rect, view)
        maps = logits.float().cpu().numpy()
        row_stride = INPUT_HEIGHT // logits.shape[1]
        heights = self.run(decode_arrays, maps, row_stride, stage2_config(net), self.impute)
        return heights._replace(y=heights.y + view.rows)

    @torch.inference_mode()
    def maps(self, net: nn.Module, rect: np.ndarray, view: View = PLAIN) -> torch.Tensor:
        """One network's logits (4, H, MASK_WIDTH) of a rectified page, their columns those of `rect`."""
        top = CROP_TOP + view.rows
        shown = rect[top : top + INPUT_HEIGHT, view.columns : view.columns + MASK_WIDTH]
        page = to_tensor(shown).to(self.device)
        logits = net(page.flip(-1)).flip(-1)[0] if view.mirrored else net(page)[0]
        if not torch.isfinite(logits).all():
            raise ValueError("stage 2 gives values that are not finite; are its weights damaged?")
        if view.columns:
            logits = logits.roll(view.columns, dims=-1)  # what comes in at the left lies before the signal
        return logits
