"""Work in several processes."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from utils.workers import WorkerDied, map_unordered

ROOT = Path(__file__).resolve().parents[1]


def square_or_die(number: int) -> int:
    if number < 0:
        os.kill(os.getpid(), signal.SIGKILL)
    return number**2


def die_the_first_time(marker: Path) -> str:
    if not marker.exists():
        marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "alive"


def raise_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three")
    return number


@pytest.mark.slow
def test_only_the_task_that_kills_its_process_is_lost():
    tasks = [*range(3), -1, *range(3, 6)]
    results = dict(map_unordered(square_or_die, tasks, 2))
    assert isinstance(results.pop(-1), WorkerDied)
    assert results == {number: number**2 for number in range(6)}


@pytest.mark.slow
def test_a_task_whose_process_was_killed_by_chance_is_done_again(tmp_path):
    assert dict(map_unordered(die_the_first_time, [tmp_path / "marker"], 2)) == {tmp_path / "marker": "alive"}


@pytest.mark.parametrize("workers", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_comes_through(workers):
    with pytest.raises(ValueError, match="three"):
        list(map_unordered(raise_at_three, range(6), workers))


def test_a_single_worker_is_another_process_where_it_is_to_be_spawned():
    assert next(map_unordered(own_process, [0], 1))[1] == os.getpid()
    assert next(map_unordered(own_process, [0], 1, spawn=True))[1] != os.getpid()


def own_process(_: int) -> int:
    return os.getpid()


@pytest.mark.slow
def test_the_initializer_runs_in_each_process(capfd):
    assert dict(map_unordered(square_or_die, range(3), 2, print, ("started",))) == {0: 0, 1: 1, 2: 4}
    assert capfd.readouterr().out.count("started") in (1, 2)


PARENT = """
import os, sys, time
sys.path.insert(0, {root!r})
from tests.test_workers import report_and_wait
from utils.workers import map_unordered
if __name__ == "__main__":
    list(map_unordered(report_and_wait, [{folder!r}] * 2, 2))
"""


def report_and_wait(folder: str) -> None:
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(120)


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    status = Path(f"/proc/{pid}/stat")
    return not (status.exists() and status.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_until(condition, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it never came to that"
        time.sleep(0.05)


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="signals of POSIX")
def test_workers_end_with_their_killed_parent(tmp_path):
    script, folder = tmp_path / "parent.py", tmp_path / "pids"
    folder.mkdir()
    script.write_text(PARENT.format(root=str(ROOT), folder=str(folder)))
    parent = subprocess.Popen([sys.executable, script])
    wait_until(lambda: len(list(folder.iterdir())) == 2)
    parent.kill()
    parent.wait()
    pids = [int(path.name) for path in folder.iterdir()]
    wait_until(lambda: not any(map(runs, pids)), seconds=10)
