"""What passes between two lines of a training run's log."""

import time
from dataclasses import dataclass, field

import torch


@dataclass
class Interval:
    """Whether `seconds` have passed since the last restart."""

    seconds: float
    started: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        return time.monotonic() - self.started > self.seconds

    def restart(self) -> None:
        self.started = time.monotonic()


class Meter:
    """Sums over the steps since the last log line: their losses, and the seconds waited for pages.

    The loss stays on its device until it is read, so that no step waits for the device.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.restart()

    def restart(self) -> None:
        self.loss = torch.zeros((), device=self.device)
        self.steps, self.waited = 0, 0.0
        self.started = time.monotonic()

    def add(self, loss: torch.Tensor, waited: float) -> None:
        """Count a step of some loss, a scalar, for whose pages `waited` seconds were lost."""
        self.loss += loss
        self.waited += waited
        self.steps += 1

    @property
    def seconds(self) -> float:
        return time.monotonic() - self.started
