"""A network's weights in training: their initialization, learning rate and moving average."""

import math
from pathlib import Path

import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from configs.network import NetworkConfig
from models.checkpoint import CheckpointError, read_checkpoint

LAYERS_LISTED = 6  # greatest number of layers in the message of copy_weights
FINAL_RATE = 0.01  # learning rate of the last step, as a share of the highest
INITIAL_RATE = 0.02  # learning rate of the first step, as a share of the highest


def average_weights(net: nn.Module, decay: float) -> AveragedModel:
    """An exponential moving average of a network's weights and buffers; `module` is the averaged network.

    The decay (0..1) is at most (1 + n) / (10 + n) in the n-th step, as in TensorFlow's
    ExponentialMovingAverage, so that the initial random weights soon lose their influence.
    """

    def update(mean: torch.Tensor, value: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        if not mean.is_floating_point():
            return value
        count = int(updates) + 1
        return mean.lerp(value, 1 - min(decay, (1 + count) / (10 + count)))

    average = AveragedModel(net, avg_fn=update, use_buffers=True)
    average.module.eval().requires_grad_(False)
    return average


def copy_weights(net: nn.Module, path: Path) -> None:
    """Copy a checkpoint's weights where names and shapes agree, and print the layers that keep their own.

    Raises CheckpointError when the file cannot be read or none of its weights fit.
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
    print(f"{path}: {len(fitting)} of {len(own)} tensors copied, newly initialized: {listed or 'none'}")


def learning_rate_at(progress: float, config: NetworkConfig) -> float:
    """The learning rate of a one-cycle schedule: a linear warm-up, then a cosine. `progress` is in 0..1."""
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, INITIAL_RATE)
    phase = (progress - config.warmup) / (1 - config.warmup)
    return config.learning_rate * (
        FINAL_RATE + (1 - FINAL_RATE) * 0.5 * (1 + math.cos(math.pi * min(phase, 1.0)))
    )
