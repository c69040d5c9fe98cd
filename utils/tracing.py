"""Stage 2 applied: a rectified page to its rows in millivolts, by one network or several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from configs.page import MASK_WIDTH
from configs.stage2 import CROP_TOP, INPUT_HEIGHT
from utils.decode import finish_rows, merge_heights, read_heights
from utils.upright import to_tensor


@dataclass
class Traced:
    """What stage 2 read of a page."""

    rows: np.ndarray  # (4, L) mV of ten seconds
    y: np.ndarray  # (4, MASK_WIDTH) px of the rectified page, NaN beyond the signal
    confidence: np.ndarray  # (4, MASK_WIDTH) in 0..1
    limb_residuals: np.ndarray  # (4, 2) mV rms, see utils/limbs.py


class Tracer:
    """Stage 2's networks with the decoder. Their readings are merged as heights, column by column.

    `tta` lets each network also read the page mirrored in time; `merge` is "mean" or "median".
    """

    def __init__(
        self,
        nets: Sequence[nn.Module],
        device: torch.device | str = "cpu",
        tta: bool = False,
        merge: str = "mean",
    ):
        self.nets, self.device, self.tta, self.merge = nets, torch.device(device), tta, merge

    def trace(self, rect: np.ndarray, length: int) -> Traced:
        """A rectified page (1700, 4400, 3) uint8 to rows of `length` samples.

        Raises ValueError when a network's values are not finite.
        """
        mirrors = (False, True) if self.tta else (False,)
        maps = (self.maps(net, rect, mirrored) for net in self.nets for mirrored in mirrors)
        readings = [read_heights(logits, INPUT_HEIGHT // logits.shape[1]) for logits in maps]
        y, confidence = (np.stack(parts) for parts in zip(*readings, strict=True))
        y, confidence = merge_heights(y, confidence, self.merge), confidence.mean(axis=0)
        rows, residuals = finish_rows(y, confidence, length)
        return Traced(rows, y, confidence, residuals)

    @torch.inference_mode()
    def maps(self, net: nn.Module, rect: np.ndarray, mirrored: bool = False) -> torch.Tensor:
        """One network's logits (4, H, MASK_WIDTH) of a rectified page, read as it is or mirrored in time."""
        page = to_tensor(rect[CROP_TOP : CROP_TOP + INPUT_HEIGHT, :MASK_WIDTH]).to(self.device)
        logits = net(page.flip(-1)).flip(-1)[0] if mirrored else net(page)[0]
        if not torch.isfinite(logits).all():
            raise ValueError("stage 2 gives values that are not finite; are its weights damaged?")
        return logits
