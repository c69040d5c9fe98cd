"""Timers and running sums for the log of a training run."""

import time
from dataclasses import dataclass, field

import torch


@dataclass
class Interval:
    """A timer that is over once `seconds` have passed since the last restart."""

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self.started > self.seconds

    def restart(self) -> None:
        self.started = time.monotonic()


class Meter:
    """Sums of the losses and of the time waited for batches (s) since the last log line.

    The loss stays on the device until it is read, so that no step has to synchronize.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.restart()

    def restart(self) -> None:
        self.loss = torch.zeros((), device=self.device)
        self.steps, self.waited = 0, 0.0
        self.started = time.monotonic()

    def add(self, loss: torch.Tensor, waited: float) -> None:
        """Add a step: its loss, a scalar, and the time `waited` for its batches, s."""
        self.loss += loss
        self.waited += waited
        self.steps += 1

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started
