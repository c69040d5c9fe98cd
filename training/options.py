"""The options of a training run beside its configuration."""

from dataclasses import dataclass
from pathlib import Path

from utils.device import AUTO


@dataclass(frozen=True)
class Options:
    """The options of a run: train.py's arguments of the same names, see `train.py --help`.

    `synthetic_share` is in 0..1; without `steps` the schedule spans the config's steps or `max_minutes`.
    """

    records: Path | None = None
    data: Path | None = None
    outputs: Path = Path("outputs")
    fold: int = 0
    synthetic_share: float = 0.5
    runs: Path = Path("runs")
    device: str | None = None
    precision: str = AUTO
    workers: int = 1
    steps: int | None = None
    max_minutes: float = 60.0
    validate_minutes: float = 8.0
    validation_pages: int = 9
    log_every: int = 20
    seed: int = 0
    accumulate: int = 1
    checkpointing: bool = False
    resume: bool = False
    init: Path | None = None
    pretrained: bool = False
    wandb: bool = False
