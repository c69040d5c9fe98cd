"""Distributed training by torchrun, with one process per device."""

import os
import sys
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class Processes:
    """This process's rank among `count` processes; a single process has rank 0 and exchanges nothing."""

    rank: int = 0
    count: int = 1

    @property
    def is_main(self) -> bool:
        """Whether this process validates, saves and prints."""
        return self.rank == 0

    def wrap(self, net: nn.Module, device: torch.device) -> nn.Module:
        """The network, its gradients averaged over the processes."""
        if self.count == 1:
            return net
        if device.type == "cuda":
            net = nn.SyncBatchNorm.convert_sync_batchnorm(net)
            return DistributedDataParallel(net, device_ids=[device.index])
        return DistributedDataParallel(net)

    def broadcast_from_main(self, value: float) -> float:
        """The main process's value, in all processes: clocks differ, but all must stop at the same step."""
        if self.count == 1:
            return value
        device = "cuda" if dist.get_backend() == "nccl" else "cpu"
        shared = torch.tensor(value, dtype=torch.float64, device=device)
        dist.broadcast(shared, 0)
        return float(shared)


def join_processes(device: torch.device) -> tuple[Processes, torch.device]:
    """Join the process group of torchrun, if it is in use; returns the processes and this one's device."""
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
    """Move a DataLoader worker to a session of its own, out of reach of Ctrl-C and `timeout`.

    These signal a whole process group, but the trainer alone ends its workers. A worker still obeys SIGTERM,
    by which one that hangs can be ended.
    """
    if sys.platform != "win32":
        os.setsid()
