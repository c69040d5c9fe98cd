"""Tasks through networks loaded once: alike wherever they run, and none is lost with a process."""

import gc
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.test_workers import wait_until
from utils import cluster as dask_cluster
from utils.pool import Pool
from utils.workers import WorkerDied


class Doubling(nn.Module):
    config = None

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return 2 * image


@dataclass(frozen=True)
class DoublingOptions:
    """The tool doubles a number by a network and adds one, as decoding does, where `run` has it done."""

    device: str = "cpu"
    precision: str = "float32"

    def load(self, _: torch.dtype) -> list[nn.Module]:
        return [Doubling()]

    def build(
        self, nets: Sequence[nn.Module], device: torch.device, run: Callable
    ) -> Callable[[int], tuple[int, str]]:
        return lambda number: (run(add_one, int(nets[0](torch.tensor([[number]])))), str(device))


DEADLY, DEADLY_IN_DECODER = -1, -2


def add_one(number: int) -> int:
    if number == 2 * DEADLY_IN_DECODER:
        os.kill(os.getpid(), signal.SIGKILL)
    return number + 1


def use(tool: Callable[[int], tuple[int, str]], number: int) -> tuple[int, str, int]:
    """What the tool makes of a number, on which device and in which process."""
    if number == DEADLY:
        os.kill(os.getpid(), signal.SIGKILL)
    if number < DEADLY_IN_DECODER:
        raise ValueError(f"{number} is too small")
    return (*tool(number), os.getpid())


def use_beside_another(folder: Path, tool: Callable, number: int) -> tuple[int, str, int]:
    """`use`, once two processes are there."""
    (folder / str(os.getpid())).touch()
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    return use(tool, number)


def doubled(pool: Pool, numbers: Sequence[int]) -> dict:
    return dict(pool.map(use, numbers))


def check(results: dict, numbers: Sequence[int], deadly: Sequence[int] = ()) -> None:
    assert set(results) == {*numbers, *deadly}
    assert all(isinstance(results[number], WorkerDied) for number in deadly)
    assert {number: results[number][0] for number in numbers} == {n: 2 * n + 1 for n in numbers}


def test_one_worker_and_a_single_device_need_no_other_process():
    for device in ("cpu", "cpu:0"):
        results = doubled(Pool(DoublingOptions(device), 1), range(4))
        check(results, range(4))
        assert {result[1:] for result in results.values()} == {(device, os.getpid())}


@pytest.mark.slow
def test_several_workers_do_the_same_and_lose_only_the_task_that_kills_them():
    results = doubled(Pool(DoublingOptions(), 2), [0, DEADLY, 1])
    check(results, range(2), [DEADLY])
    assert os.getpid() not in {results[number][2] for number in range(2)}


@pytest.mark.slow
def test_a_device_loses_only_the_tasks_that_kill_its_process_or_a_decoder():
    deadly = [DEADLY, DEADLY_IN_DECODER]
    results = doubled(Pool(DoublingOptions("cpu:0"), 2), [0, *deadly, 1])
    check(results, range(2), deadly)
    assert os.getpid() not in {results[number][2] for number in range(2)}


@pytest.mark.slow
def test_each_device_has_a_process_of_its_own(tmp_path):
    results = dict(Pool(DoublingOptions("cpu,cpu:0"), 2).map(partial(use_beside_another, tmp_path), range(9)))
    check(results, range(9))
    places = {result[1:] for result in results.values()}
    assert {device for device, _ in places} == {"cpu", "cpu:0"}
    assert len({process for _, process in places}) == len(places) == 2


def test_an_error_comes_through():
    for device in ("cpu", "cpu:0"):
        with pytest.raises(ValueError, match="-3 is too small"):
            doubled(Pool(DoublingOptions(device), 1), [0, -3])


@pytest.fixture(scope="module")
def cluster() -> Iterator:
    """Two workers. A task is given up when two have died of it, not four: each takes seconds to start."""
    distributed = pytest.importorskip("distributed")
    import dask

    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    few = dask.config.set({"distributed.scheduler.allowed-failures": 1})
    with few, distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_dask_cluster_does_the_same_and_loses_only_the_task_that_kills_its_workers(cluster):
    pool = Pool(DoublingOptions(), dask=cluster.scheduler_address)
    with pytest.raises(ValueError, match="-3 is too small"):
        doubled(pool, [0, -3])
    results = doubled(pool, [0, DEADLY, 1, 2])
    check(results, range(3), [DEADLY])
    assert os.getpid() not in {results[number][2] for number in range(3)}


@pytest.mark.slow
def test_a_cluster_started_elsewhere_needs_this_repository_on_no_path(tmp_path, monkeypatch):
    """Scheduler and worker as the command `dask` starts them, in a folder of their own."""
    pytest.importorskip("distributed")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parent))  # where `use` is
    file = tmp_path / "scheduler.json"
    with ExitStack() as stack:

        def start(*arguments: str) -> None:
            command = [sys.executable, "-m", "dask", *arguments, "--no-dashboard"]
            command += ["--scheduler-file", str(file)]
            process = stack.enter_context(subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL))
            stack.callback(process.terminate)

        start("scheduler", "--port", "0")
        wait_until(lambda: file.exists() and file.read_text().endswith("}"))
        start("worker", "--nthreads", "1", "--no-nanny")
        address = json.loads(file.read_text())["address"]
        wait_until(lambda: has_worker(address))
        check(doubled(Pool(DoublingOptions(), dask=address), range(3)), range(3))


def has_worker(address: str) -> bool:
    from dask.distributed import Client

    with Client(address) as client:
        return bool(client.nthreads())


def test_a_cluster_that_is_not_there_or_has_no_workers_is_an_error(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(dask_cluster, "CONNECT_TIMEOUT", 0.2)
    with pytest.raises(ValueError, match="no scheduler there"):
        doubled(Pool(DoublingOptions(), dask="tcp://127.0.0.1:9"), [0])
    monkeypatch.undo()
    with (
        distributed.LocalCluster(n_workers=0, dashboard_address=":0") as empty,
        pytest.raises(ValueError, match="the cluster has no workers"),
    ):
        doubled(Pool(DoublingOptions(), dask=empty.scheduler_address), [0])


def test_a_cluster_that_loses_its_workers_for_good_ends_the_run(monkeypatch):
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(dask_cluster, "LOST_TIMEOUT", 1)
    options = {"n_workers": 1, "processes": False, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster:
        results = Pool(DoublingOptions(), dask=cluster.scheduler_address).map(use, range(100))
        next(results)
        cluster.scale(0)
        with pytest.raises(ValueError, match="the cluster has lost its workers"):
            list(results)
    del results
    gc.collect()  # asyncio logs lost tasks as they are collected, which fails while CPython 3.11 compiles


def test_threads_ask_one_network():
    """The tasks of a chunk are in hand at the same time: each waits until all are."""
    together = threading.Barrier(3)

    def meet(tool: Callable, number: int) -> int:
        together.wait(timeout=30)
        return tool(number)[0]

    results = dict(Pool(DoublingOptions("cpu:0"), 1).map(meet, range(3)))
    assert results == {0: 1, 1: 3, 2: 5}
