"""Which networks straighten and digitize, as values that travel to other processes."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import nn

from digitization.digitizer import Digitizer, load_networks
from digitization.geometry.straighten import Straightener
from digitization.layout.page import NOTHING_KNOWN, Known
from models.checkpoint import CLOSE_UPS, LANDMARKS, STAGE2_LAYOUTS, checkpoint_path, load_network
from utils.device import AUTO
from utils.files import hash_file


@dataclass(frozen=True)
class StraightenerOptions:
    """The networks of a Straightener, and where they run.

    `device` names one or several ("cuda:0,cuda:1"); None means all CUDA devices, else the CPU. `precision` is
    one of utils.device.PRECISIONS, or "auto".
    """

    stage0: Path = field(default_factory=lambda: checkpoint_path(0))
    stage1: Path = field(default_factory=lambda: checkpoint_path(1))
    device: str | None = None
    precision: str = AUTO

    def load(self, precision: torch.dtype) -> list[nn.Module]:
        """Both networks, on the CPU. Raises CheckpointError."""
        return [
            load_network(path, n, precision=precision) for n, path in enumerate((self.stage0, self.stage1))
        ]

    def build(self, nets: Sequence[nn.Module], device: torch.device, run: Callable) -> Straightener:
        stage0_net, stage1_net = nets
        return Straightener(stage0_net, stage1_net, device)


@dataclass(frozen=True)
class DigitizerOptions:
    """The networks of a Digitizer, where they run and how pages are read with them, see Digitizer.

    `device` and `precision` are those of StraightenerOptions; `known` is what is known of all pages.
    """

    stage0: Path = field(default_factory=lambda: checkpoint_path(0))
    stage1: Path = field(default_factory=lambda: checkpoint_path(1))
    stage2: tuple[Path, ...] = field(default_factory=lambda: (checkpoint_path(2),))
    tta: tuple[str, ...] = ()
    merge: str = "mean"
    impute: bool = True
    device: str | None = None
    precision: str = AUTO
    landmarks: Path = field(default_factory=lambda: checkpoint_path(LANDMARKS))
    stage2_layouts: Path = STAGE2_LAYOUTS
    known: Known = NOTHING_KNOWN
    close_ups: Path = field(default_factory=lambda: checkpoint_path(CLOSE_UPS))

    def load(self, precision: torch.dtype) -> list[nn.Module]:
        """All networks, on the CPU. Raises CheckpointError."""
        return load_networks(
            self.stage0,
            self.stage1,
            self.stage2,
            precision,
            self.landmarks,
            self.stage2_layouts,
            self.close_ups,
        )

    def build(self, nets: Sequence[nn.Module], device: torch.device, run: Callable) -> Digitizer:
        """The digitizer; `run` calls the decoder of stage 2's maps."""
        return Digitizer.of_networks(nets, device, self.tta, self.merge, self.impute, run, self.known)

    def name_networks(self) -> str:
        """Eight hexadecimal digits that are the same for the same weights, views, way to merge and layout."""
        weights = [hash_file(path) for path in (self.stage0, self.stage1, *self.stage2)]
        if not self.known.competition:
            weights += [hash_file(path) for path in (self.landmarks, self.close_ups, self.stage2_layouts)]
        views = sorted(set(self.tta))
        merge = (
            self.merge if len(self.stage2) > 1 or views else None
        )  # of a single reading it changes nothing
        parts: tuple = (weights, views, merge) if self.impute else (weights, views, merge, "not imputed")
        if self.known not in (NOTHING_KNOWN, Known(competition=True)):
            parts = (*parts, repr(self.known))
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]
