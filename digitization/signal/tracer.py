"""Stage 2: a rectified page to its rows in millivolts, by one network or several."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from configs.layouts import COMPETITION_ROWS, RowGroup
from configs.page import MASK_WIDTH
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, Stage2Config
from digitization.geometry.row_strips import lay_out_rows
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
    """The configuration of stage 2's network, or of the proxy of a network in another process."""
    config = net.config
    assert isinstance(config, Stage2Config)
    return config


def decode_arrays(
    maps: np.ndarray, row_stride: int, config: Stage2Config, impute: bool, group: RowGroup = COMPETITION_ROWS
) -> RowTraces:
    """decode_maps for logits (4, H, W) float32 as an array, which travels to other processes."""
    return decode_maps(torch.from_numpy(maps), row_stride, config, impute, group)


@dataclass(frozen=True)
class View:
    """A view of a page: cropped some px further down and to the right, or mirrored in time."""

    rows: int = 0
    columns: int = 0
    mirrored: bool = False


PLAIN = View()
# Views added by test-time augmentation. "moved" shifts the traces relative to the network's bins and columns;
# "mirrored" is less accurate, as the shipped network was seldom trained on mirrored pages.
VIEWS = {"moved": View(rows=2, columns=1), "mirrored": View(mirrored=True)}


@dataclass
class TraceResult:
    """The traces that stage 2 found on a page of R rows.

    Columns are those of the competition's rectified page: whatever a page's speed, as many are a second.
    """

    rows: np.ndarray  # (R, L) mV, the duration of the layout
    y: np.ndarray  # (R, MASK_WIDTH) px of the rectified page, NaN beyond the signal
    confidence: np.ndarray  # (R, MASK_WIDTH) in 0..1
    imputed: np.ndarray  # (R, MASK_WIDTH) bool, columns completed from the other beats of their lead
    limb_residuals: np.ndarray  # (R, G) mV rms, see digitization/signal/limb_leads.py


class Tracer:
    """Stage 2's networks with the decoder. Their traces are merged column by column.

    `tta` names further VIEWS that each network is applied to; `merge` is one of MERGES. Without `impute` no
    columns are imputed from other beats. `run` calls the decoder, in this process unless it hands it to
    another. Raises ValueError for unknown names.
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

    def lay_out(self, image: np.ndarray, *places: Any) -> np.ndarray:
        """Some rows of an image as a rectified page, see row_strips.lay_out_rows."""
        return lay_out_rows(image, *places)

    def trace(self, rect: np.ndarray, length: int) -> TraceResult:
        """A rectified page (1700, 4400, 3) uint8 RGB to rows of `length` samples.

        Raises ValueError when the output of a network is not finite.
        """
        y, confidence, imputed = self.read_all(rect)
        rows, residuals = finish_rows(y, confidence, length)
        return TraceResult(rows, y, confidence, imputed, residuals)

    def read_all(self, rect: np.ndarray, group: RowGroup = COMPETITION_ROWS) -> RowTraces:
        """The traces of all networks and views merged. `group` are the rows on the page, from the top."""
        readings = [self.read(net, rect, view, group) for net in self.nets for view in self.views]
        y, confidence, imputed = (np.stack(parts) for parts in zip(*readings, strict=True))
        merged = merge_traces(y, confidence, self.merge)
        return RowTraces(merged, merge_confidence(y, confidence, merged), np.logical_and.reduce(imputed))

    def read(
        self, net: nn.Module, rect: np.ndarray, view: View, group: RowGroup = COMPETITION_ROWS
    ) -> RowTraces:
        """The traces of one network in one view, y in px of `rect`."""
        logits = self.maps(net, rect, view)
        maps = logits.float().cpu().numpy()
        row_stride = INPUT_HEIGHT // logits.shape[1]
        traces = self.run(decode_arrays, maps, row_stride, stage2_config(net), self.impute, group)
        return traces._replace(y=traces.y + view.rows)

    @torch.inference_mode()
    def maps(self, net: nn.Module, rect: np.ndarray, view: View = PLAIN) -> torch.Tensor:
        """The logits (4, H, MASK_WIDTH) of one network in one view, in the columns of `rect`."""
        top = CROP_TOP + view.rows
        shown = rect[top : top + INPUT_HEIGHT, view.columns : view.columns + MASK_WIDTH]
        page = to_tensor(shown).to(self.device)
        logits = net(page.flip(-1)).flip(-1)[0] if view.mirrored else net(page)[0]
        if not torch.isfinite(logits).all():
            raise ValueError("stage 2 gives values that are not finite; are its weights damaged?")
        if view.columns:
            logits = logits.roll(
                view.columns, dims=-1
            )  # the columns wrapped round to the left lie before the signal
        return logits
