"""Tasks on the workers of a running Dask cluster, which see the same files under the same paths."""

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from utils.workers import WorkerDied

ROOT = Path(__file__).resolve().parents[1]
CONNECT_TIMEOUT = 20  # s, to find the scheduler
LOST_TIMEOUT = 60  # s without a result after which a cluster must still have a worker; one restarts in 10 s
Task = TypeVar("Task")
Result = TypeVar("Result")


@contextmanager
def connect(address: str) -> Iterator[Any]:
    """A client of the cluster whose scheduler is at an address, its workers able to import this repository.

    Raises ValueError when it cannot be reached or has no workers.
    """
    try:
        from dask.distributed import Client, Security, WorkerPlugin
        from distributed.comm import connect as open_comm
    except ImportError:
        raise ValueError("--dask: `pip install distributed` first") from None

    class FindCode(WorkerPlugin):
        """Puts this repository on each worker's path, those that join later too."""

        def __init__(self, root: str):
            self.root = root

        def setup(self, worker) -> None:
            if self.root not in sys.path:
                sys.path.insert(0, self.root)

    async def find_scheduler() -> None:
        security = Security().get_connection_args("client")
        comm = await open_comm(address, timeout=CONNECT_TIMEOUT, **security)
        await comm.close()

    try:
        # A Client that fails to connect stays half open, and hangs the thread that collects it as garbage.
        with ThreadPoolExecutor(1) as executor:  # a notebook's own thread has an event loop already
            executor.submit(asyncio.run, find_scheduler()).result()
        client = Client(address, timeout=CONNECT_TIMEOUT)
    except (OSError, ValueError, TypeError) as error:  # TypeError: of a protocol that needs certificates
        raise ValueError(f"--dask {address}: no scheduler there ({error})") from None
    with client:
        if not client.nthreads():
            raise ValueError(f"--dask {address}: the cluster has no workers")
        client.register_plugin(FindCode(str(ROOT)))
        yield client


def map_on_cluster(
    address: str, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[tuple[Task, Result | WorkerDied]]:
    """(task, function(task)) as they are done; what the function raises is raised here.

    Dask gives the tasks of a worker that died to others, until they have seen its `allowed-failures` die, 3
    by default. Such tasks are repeated one at a time at the end: that whose workers die again has WorkerDied
    for a result. Raises ValueError when the scheduler or all workers are lost.
    """
    with connect(address) as client:
        suspects: list[Task] = []
        for task, result in map_with_client(client, address, function, tasks):
            if isinstance(result, WorkerDied):
                suspects.append(task)
            else:
                yield task, result
        for task in suspects:
            yield from map_with_client(client, address, function, [task])


def map_with_client(
    client, address: str, function: Callable[[Task], Result], tasks: Iterable[Task]
) -> Iterator[tuple[Task, Result | WorkerDied]]:
    """As map_on_cluster, but nothing is repeated. Dask has no more tasks in hand than workers' threads.

    The scheduler unpickles what it passes on, and this repository may not be on its path: so tasks are bytes.
    """
    from dask.distributed import CancelledError, KilledWorker, TimeoutError, wait
    from distributed.protocol.pickle import dumps

    def call(pickled: bytes) -> Any:
        import pickle  # Dask sends this function by value: it must name nothing of this repository

        function, task = pickle.loads(pickled)
        return function(task)

    tasks = iter(tasks)
    running: dict[Any, Task] = {}
    while True:
        threads = sum(client.nthreads().values()) or 1  # while they restart
        for task in islice(tasks, max(threads - len(running), 0)):
            running[client.submit(call, dumps((function, task)), pure=False)] = task
        if not running:
            return
        try:
            done = wait(list(running), timeout=LOST_TIMEOUT, return_when="FIRST_COMPLETED").done
            results = [(future, take_result(future, KilledWorker)) for future in done]
        except TimeoutError:
            if not client.nthreads():
                raise ValueError(f"--dask {address}: the cluster has lost its workers") from None
            continue
        except CancelledError:
            raise ValueError(f"--dask {address}: the scheduler is gone") from None
        for future, result in results:
            yield running.pop(future), result


def take_result(future, killed: type[Exception]):
    """What a task gave; TimeoutError where the worker that holds it was lost, and none computes it again."""
    try:
        return future.result(timeout=LOST_TIMEOUT)
    except killed:
        return WorkerDied("its workers died, out of memory?")
