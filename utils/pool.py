"""Many tasks through networks loaded once: here, in processes, on CUDA devices, or on a Dask cluster."""

import os
import secrets
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from multiprocessing.util import Finalize
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import nn

from utils.batching import BatchedNet
from utils.cluster import map_on_cluster
from utils.device import AUTO, choose_devices, choose_precision, keep_memory, use_one_thread
from utils.workers import WorkerDied, call_here, map_unordered, start

BATCH_SIZE = 4  # images; not measured on CUDA yet
CHUNK = 32  # tasks that a device's process gets at once: under a minute's work, which a kill loses
FEW_TASKS = 8  # for less, starting more processes takes longer than they save
MANY_WORKERS = 4  # by default at most: each needs about 1 GB
FIRST = 100  # exit priority above that of multiprocessing's queues, 10
MAX_TOOLS = 4  # runs whose networks a worker of a Dask cluster keeps
CPU = torch.device("cpu")

Task = TypeVar("Task")
Result = TypeVar("Result")
Tool = TypeVar("Tool", covariant=True)


class Options(Protocol[Tool]):
    """Which networks there are, and the tool that they make: a Digitizer, or a Straightener. It pickles."""

    @property
    def device(self) -> str | None: ...

    @property
    def precision(self) -> str: ...

    def load(self, precision: torch.dtype) -> list[nn.Module]:
        """The networks on the CPU; raises CheckpointError."""

    def build(self, nets: Sequence[nn.Module], device: torch.device, run: Callable) -> Tool:
        """The tool; `run(function, *arguments)` calls what is better called in another process."""


class Pool(Generic[Tool]):
    """Loads the networks at once, so that a bad checkpoint or device stops a run before its first task.

    On the CPU `workers` processes share the networks' memory; without a number there is one for few tasks,
    and up to MANY_WORKERS for many. Any other device, also "cpu:0", gets a process of its own, in which
    threads work through the tasks and networks answer in batches of at most `batch_size`; the workers then
    are processes that decode. `dask` is the address of a cluster that does it all.
    Raises CheckpointError, and ValueError for a device that cannot be had.
    """

    def __init__(
        self,
        options: Options[Tool],
        workers: int | None = None,
        batch_size: int = BATCH_SIZE,
        dask: str | None = None,
    ):
        self.options, self.workers, self.batch_size, self.dask = options, workers, batch_size, dask
        keep_memory()
        self.devices = [CPU] if dask is not None else choose_devices(options.device)
        self.nets = options.load(choose_precision(options.precision, self.devices[0]))

    def map(
        self, function: Callable[[Tool, Task], Result], tasks: Sequence[Task]
    ) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """(task, function(tool, task)) as they are done. But for one worker on the CPU it must pickle."""
        run, workers = secrets.token_hex(8), self.workers or default_workers(len(tasks))
        call = partial(call_with_tool, run, self.options, function)
        if self.dask is not None:
            return map_on_cluster(self.dask, call, tasks)
        if self.devices != [CPU]:
            return self.map_on_devices(call, run, tasks, workers)
        if workers == 1:
            tool = self.options.build(self.nets, CPU, call_here)
            return ((task, function(tool, task)) for task in tasks)
        nets = [net.share_memory() for net in self.nets]
        return map_unordered(call, tasks, workers, start_worker, (run, self.options, nets))

    def map_on_devices(
        self, call: Callable[[Task], Result], run: str, tasks: Sequence[Task], workers: int
    ) -> Iterator[tuple[Task, Result | WorkerDied]]:
        """One process for each device. A chunk whose process died is repeated task by task."""
        count = len(self.devices)
        size = max(min(CHUNK, -(-len(tasks) // count)), 1)
        decoders = workers // count
        # As many threads as a batch wait for the device while others read and decode.
        work = partial(call_in_threads, call, self.batch_size + max(decoders, 1))
        number = get_context("spawn").Value("i", 0)
        device_worker = run, self.options, self.devices, number, self.batch_size, decoders
        spawn = workers > 1
        chunks = [tasks[first : first + size] for first in range(0, len(tasks), size)]
        again: list[Task] = []
        for chunk, results in map_unordered(work, chunks, count, start_device_worker, device_worker, spawn):
            if isinstance(results, WorkerDied):
                again += chunk
            else:
                yield from zip(chunk, results, strict=True)
        singles = [[task] for task in again]
        for (task,), results in map_unordered(
            work, singles, count, start_device_worker, device_worker, spawn
        ):
            yield task, results if isinstance(results, WorkerDied) else results[0]


def default_workers(tasks: int) -> int:
    return 1 if tasks < FEW_TASKS else min(available_cores(), MANY_WORKERS)


def available_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


in_worker: dict[str, Any] = {}  # run -> the tool that a worker process has made for it
loading = threading.Lock()


def call_with_tool(run: str, options: Options[Tool], function: Callable[[Tool, Task], Result], task: Task):
    """function(tool, task); who starts no workers of their own, a Dask cluster's, make the tool at first."""
    with loading:
        if run not in in_worker:
            prepare_process()
            device = choose_devices(options.device)[0]
            nets = options.load(choose_precision(options.precision, device))
            while len(in_worker) >= MAX_TOOLS:
                in_worker.pop(next(iter(in_worker)))
            in_worker[run] = options.build(nets, device, call_here)
        tool = in_worker[run]
    return function(tool, task)


def call_in_threads(call: Callable[[Task], Result], threads: int, tasks: Sequence[Task]) -> list[Result]:
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(call, tasks))


def prepare_process() -> None:
    """What a process does first that is to work beside others."""
    use_one_thread()
    keep_memory()


def start_worker(run: str, options: Options, nets: list[nn.Module]) -> None:
    prepare_process()
    in_worker[run] = options.build(nets, CPU, call_here)


def start_device_worker(
    run: str, options: Options, devices: list[torch.device], number, batch_size: int, decoders: int
) -> None:
    """Take the next device, with the networks on it and processes that decode, unless there is but one."""
    prepare_process()
    with number.get_lock():
        device = devices[number.value % len(devices)]
        number.value += 1
    device_lock = threading.Lock()
    half = options.precision == AUTO and device.type == "cuda"
    nets = [
        BatchedNet(net.eval().to(device), device_lock, batch_size, half)
        for net in options.load(choose_precision(options.precision, device))
    ]
    call = call_here
    if decoders > 1:
        executor = ProcessPoolExecutor(decoders, get_context("spawn"), start)
        # At its end this process waits for them, so they go before multiprocessing closes their queue.
        Finalize(executor, executor.shutdown, exitpriority=FIRST)
        call = partial(call_in_process, executor)
    in_worker[run] = options.build(nets, device, call)


def call_in_process(executor: ProcessPoolExecutor, function: Callable, *arguments):
    try:
        return executor.submit(function, *arguments).result()
    except BrokenProcessPool:
        os._exit(1)  # a decoder died: so does this process, and its tasks are repeated one by one
