"""One process a device: what a training run knows of the others that torchrun started with it."""

import os
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process's number among `count`; alone it is 0 of 1 and nothing is exchanged."""

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process validates, saves and prints."""
        return self.rank == 0

    def wrap(self, net: nn.Module, device: torch.device) -> nn.Module:
        """The network with its gradients averaged over the processes."""
        if self.count == 1:
            return net
        if device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
            return DistributedDataParallel(net, device_ids=[device.index])
        return DistributedDataParallel(net)

    def broadcast_from_main(self, value: float) -> float:
        """The first process's value, in all of them: clocks differ, and all have to stop at the same step."""
        if self.count == 1:
            return value
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        shared = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(shared, 0)
        return float(shared)


def join_processes(device: torch.device) -> tuple[Processes, torch.device]:
    """Meet the processes that torchrun started, if it did; returns them and this process's own device."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        return Processes(), device
    if device.type == "cuda":
        device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo")
    return Processes(dist.get_rank(), count), device


def leave_processes() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


def start_session(worker: int) -> None:
    """Ctrl-C and `timeout` signal a whole group of processes; the trainer alone says when its loaders end.

    They heed SIGTERM all the same: it is how one that hangs is ended.
    """
    if sys.platform != "win32":
        os.setsid()
