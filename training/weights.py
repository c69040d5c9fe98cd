"""A network's weights in training: where they start, how fast they move, and their average over time."""

import math
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from configs.network import NetworkConfig
from models.checkpoint import CheckpointError, read_checkpoint

LAYERS_LISTED = 6  # layers that --init leaves as they are, named at most
FINAL_RATE = 0.01  # learning rate of the last step, as a share of the highest
INITIAL_RATE = 0.02  # learning rate of the first step, likewise


def average_weights(net: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights and buffers; `module` is the averaged network.

    The decay, in 0..1, is smaller in the first steps, (1 + n) / (10 + n) at the nth as TensorFlow's
    ExponentialMovingAverage has it, so that random weights are soon forgotten.
    """

    def mix(mean: torch.Tensor, value: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        if not mean.is_floating_point():
            return value
        count = int(updates) + 1
        return mean.lerp(value, 1 - min(decay, (1 + count) / (10 + count)))

    average = AveragedModel(net, avg_fn=mix, use_buffers=True)
    average.module.eval().requires_grad_(False)
    return average


def copy_weights(net: nn.Module, path: Path) -> None:
    """Start from a checkpoint's weights, as far as names and shapes agree, and print what stays as it was.

    Raises CheckpointError when the file cannot be read or nothing of it fits.
    """
    given = read_checkpoint(path)["state_dict"]
    own = net.state_dict()
    fitting = {
        name: value.float() if value.is_floating_point() else value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
    if not fitting:
        raise CheckpointError(f"{path}: none of its weights fit this network")
    net.load_state_dict(own | fitting)
    fresh = sorted({name.rpartition(".")[0] or name for name in set(own) - set(fitting)})
    listed = ", ".join(fresh[:LAYERS_LISTED]) + (" …" if len(fresh) > LAYERS_LISTED else "")
    print(f"{path}: {len(fitting)} of {len(own)} tensors taken, fresh: {listed or 'none'}")


def learning_rate_at(progress: float, config: NetworkConfig) -> float:
    """The learning rate of one cycle: a linear warm-up, then a cosine. `progress` is in 0..1."""
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, INITIAL_RATE)
    phase = (progress - config.warmup) / (1 - config.warmup)
    return config.learning_rate * (
        FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(phase, 1.0)))
    )
