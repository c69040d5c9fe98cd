"""The networks of a Digitizer, loaded from their checkpoints."""

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import nn

from models.checkpoint import CLOSE_UPS, LANDMARKS, STAGE2_LAYOUTS, checkpoint_path, load_network


def load_networks(
    stage0: Path | None = None,
    stage1: Path | None = None,
    stage2: Path | Sequence[Path] | None = None,
    precision: torch.dtype = torch.float32,
    landmarks: Path | None = None,
    stage2_layouts: Path | None = None,
    close_ups: Path | None = None,
) -> list[nn.Module]:
    """Load all networks on the CPU, from the shipped checkpoints where none is given.

    In this order: stage 0, stage 1, that of the landmarks, that of the close-ups, stage 2 for any layout,
    and one or more of stage 2 for the competition's. Raises CheckpointError for a checkpoint that does not
    fit, ValueError if none is given for stage 2.
    """
    several = checkpoint_path(2) if stage2 is None else stage2
    several = [several] if isinstance(several, (str, Path)) else several
    if not several:
        raise ValueError("stage2: no checkpoint is given")
    stages = [(stage0 or checkpoint_path(0), 0), (stage1 or checkpoint_path(1), 1)]
    stages += [(landmarks or checkpoint_path(LANDMARKS), LANDMARKS)]
    stages += [(close_ups or checkpoint_path(CLOSE_UPS), CLOSE_UPS)]
    stages += [(stage2_layouts or STAGE2_LAYOUTS, 2), *((path, 2) for path in several)]
    return [load_network(path, stage, precision=precision) for path, stage in stages]
