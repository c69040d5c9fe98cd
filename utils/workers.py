"""Work spread over processes: one that crashes costs its own task alone, and none outlives its parent."""

import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from itertools import islice
from multiprocessing import get_context, parent_process
from multiprocessing.connection import wait as wait_for_object
from typing import TypeVar

Task = TypeVar("Task")
Result = TypeVar("Result")

QUEUED = 2  # tasks in hand for each worker, one of them at work


class WorkerDied(RuntimeError):
    """The process of a task ended without a word: killed, out of memory, crashed."""


def end_with_parent() -> None:
    """End this process at once when the one that started it is gone, even killed."""
    parent = parent_process()
    if parent is None:
        return
    sentinel = parent.sentinel

    def watch() -> None:
        wait_for_object([sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def ignore_interrupts() -> Iterator[None]:
    """Processes started in here do not hear Ctrl-C, from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


def call_here(function: Callable, *arguments):
    """function(*arguments) in this process, for what could hand it to another."""
    return function(*arguments)


def start(initializer: Callable | None = None, arguments: tuple = ()) -> None:
    """What a worker process does first."""
    end_with_parent()
    if initializer:
        initializer(*arguments)


def map_unordered(
    function: Callable[[Task], Result],
    tasks: Iterable[Task],
    workers: int,
    initializer: Callable | None = None,
    arguments: tuple = (),
    spawn: bool = False,
) -> Iterator[tuple[Task, Result | WorkerDied]]:
    """(task, function(task)) as they are done; `initializer(*arguments)` is called first in each process.

    One worker is this process itself, unless `spawn` asks for a fresh one, as several are. When one dies,
    others take over, and the tasks that were in hand are repeated one at a time at the end: that whose
    process dies again has WorkerDied for a result. What the function raises is raised here.
    """
    if workers == 1 and not spawn:
        if initializer:
            initializer(*arguments)
        for task in tasks:
            yield task, function(task)
        return

    def open_pool(count: int) -> ProcessPoolExecutor:
        return ProcessPoolExecutor(count, get_context("spawn"), start, (initializer, arguments))

    tasks, more, waits = iter(tasks), True, True
    suspects: list[Task] = []
    while more:
        running: dict[Future[Result], Task] = {}
        more = False
        pool = open_pool(workers)
        try:
            while True:
                for task in islice(tasks, QUEUED * workers - len(running)):
                    suspects.append(task)  # until it is in the pool's hands
                    with ignore_interrupts():  # the first task starts the processes
                        running[pool.submit(function, task)] = suspects.pop()
                if not running:
                    break
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    done = future.result()
                    yield running.pop(future), done
        except BrokenProcessPool:
            suspects += running.values()
            more = True
        except KeyboardInterrupt:
            waits = False
            raise
        finally:
            pool.shutdown(wait=waits, cancel_futures=True)
    result: Result | WorkerDied
    for task in suspects:
        with open_pool(1) as pool:
            try:
                result = pool.submit(function, task).result()
            except BrokenProcessPool:
                result = WorkerDied("its process died, out of memory?")
        yield task, result
