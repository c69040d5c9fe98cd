"""One digitizer for many pages: in this process, or in many that share its networks."""

import argparse
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import torch
from torch import nn

from digitization.digitizer import Digitizer, load_networks
from digitization.signal.decode import MERGES
from models.checkpoint import checkpoint_path
from utils.device import (
    AUTO,
    choose_devices,
    choose_precision,
    keep_memory,
    limit_threads,
    use_one_thread,
)
from utils.files import hash_file
from utils.serving import NetServer
from utils.workers import WorkerDied, map_unordered

BATCH_SIZE = 4  # pages; not measured on CUDA yet
FEW_PAGES = 8  # for less, starting more processes takes longer than they save
MANY_WORKERS = 4  # by default at most: each needs about 1 GB

Task = TypeVar("Task")
Result = TypeVar("Result")


@dataclass(frozen=True)
class EngineOptions:
    """Which networks digitize, where, and by how many processes.

    `device` names one or several ("cuda:0,cuda:1"); None means all CUDA devices, else the CPU. Without
    `workers` there is one for few pages, and up to MANY_WORKERS for many. `threads` are those of a single
    worker; several have one each. `precision` is one of utils.device.PRECISIONS, or "auto".
    """

    stage0: Path = field(default_factory=lambda: checkpoint_path(0))
    stage1: Path = field(default_factory=lambda: checkpoint_path(1))
    stage2: tuple[Path, ...] = field(default_factory=lambda: (checkpoint_path(2),))
    tta: tuple[str, ...] = ()
    merge: str = "mean"
    impute: bool = True
    device: str | None = None
    workers: int | None = None
    threads: int | None = None
    batch_size: int = BATCH_SIZE
    precision: str = AUTO

    def name_networks(self) -> str:
        """Eight hexadecimal digits that are the same for the same weights, views and way to merge."""
        weights = [hash_file(path) for path in (self.stage0, self.stage1, *self.stage2)]
        views = sorted(set(self.tta))
        merge = (
            self.merge if len(self.stage2) > 1 or views else None
        )  # of a single reading it changes nothing
        parts = (weights, views, merge) if self.impute else (weights, views, merge, "not imputed")
        return hashlib.sha256(repr(parts).encode()).hexdigest()[:8]


def add_ensemble_arguments(parser: argparse.ArgumentParser) -> None:
    """How pages are read: --tta and --tta-mirrored (the list args.tta), --merge and --no-impute."""
    parser.add_argument(
        "--tta",
        action="append_const",
        const="moved",
        default=[],
        help="read the page moved by a fraction of a square too",
    )
    parser.add_argument(
        "--tta-mirrored",
        action="append_const",
        const="mirrored",
        dest="tta",
        help="read the mirrored page too, for networks trained to",
    )
    parser.add_argument(
        "--merge",
        choices=MERGES,
        default="mean",
        help="how readings of several networks and views become one, weighted by confidence (default: mean)",
    )
    parser.add_argument(
        "--no-impute",
        action="store_false",
        dest="impute",
        help="bridge what the page hardly shows, rather than complete it from the other beats of its lead",
    )


class Engine:
    """Loads the networks at once, so that a bad checkpoint or device stops a run before its first page.

    Raises CheckpointError, and ValueError for a device that cannot be had.
    """

    def __init__(self, setup: EngineOptions):
        self.setup = setup
        limit_threads(setup.threads)
        keep_memory()
        self.devices = choose_devices(setup.device)
        precision = choose_precision(setup.precision, self.devices[0])
        self.nets = load_networks(setup.stage0, setup.stage1, setup.stage2, precision)
        self.networks = setup.name_networks()

    def map(
        self, function: Callable[[Digitizer, Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """(task, function(digitizer, task)) as they are done. More than one worker: it must pickle."""
        workers = self.setup.workers or default_workers(len(tasks))
        if workers == 1 and len(self.devices) == 1:
            setup = self.setup
            digitizer = Digitizer.of_networks(
                self.nets, str(self.devices[0]), setup.tta, setup.merge, setup.impute
            )
            yield from ((task, function(digitizer, task)) for task in tasks)
            return
        with ExitStack() as stack:
            if self.devices == [torch.device("cpu")]:
                nets: Iterable[nn.Module] = [net.share_memory() for net in self.nets]
            else:
                half = self.setup.precision == AUTO
                server = NetServer(self.nets, self.devices, self.setup.batch_size, half)
                nets = stack.enter_context(server).remotes()
            start = (function, list(nets), self.setup.tta, self.setup.merge, self.setup.impute)
            yield from map_unordered(call, tasks, max(workers, 2), start_worker, start)


def default_workers(pages: int) -> int:
    return 1 if pages < FEW_PAGES else min(available_cores(), MANY_WORKERS)


def available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


in_worker: dict = {}  # what start_worker leaves in its process for call


def start_worker(
    function: Callable, nets: list[nn.Module], tta: tuple[str, ...], merge: str, impute: bool
) -> None:
    use_one_thread()
    keep_memory()
    in_worker.update(
        function=function, digitizer=Digitizer.of_networks(nets, tta=tta, merge=merge, impute=impute)
    )


def call(task):
    return in_worker["function"](in_worker["digitizer"], task)
