"""Work in several processes, and networks that serve them."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from configs.stage1 import Stage1Config
from models.stage1 import Stage1Net
from utils.serving import NetServer
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


def test_only_the_task_that_kills_its_process_is_lost():
    tasks = [*range(6), -1, *range(6, 12)]
    results = dict(map_unordered(square_or_die, tasks, 2))
    assert isinstance(results.pop(-1), WorkerDied)
    assert results == {number: number**2 for number in range(12)}


def test_a_task_whose_process_was_killed_by_chance_is_done_again(tmp_path):
    assert dict(map_unordered(die_the_first_time, [tmp_path / "marker"], 2)) == {tmp_path / "marker": "alive"}


@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_through(workers):
    with pytest.raises(ValueError, match="three"):
        list(map_unordered(raise_at_three, range(6), workers))


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


@pytest.fixture
def net() -> Stage1Net:
    torch.manual_seed(1)
    return Stage1Net(Stage1Config(encoder_channels=(4, 4, 4), decoder_channels=(4, 4))).eval()


def test_a_served_network_answers_as_the_network_itself(net):
    images = torch.randint(0, 256, (5, 3, 64, 96)).float() / 255
    with torch.inference_mode():
        expected = [net(image[None]) for image in images]
    answers: dict[int, dict] = {}
    with NetServer([net], torch.device("cpu")) as server:
        remote = server.remotes()[0]
        assert remote.config == net.config
        threads = [
            threading.Thread(target=lambda i=i: answers.update({i: remote(images[i : i + 1])}))
            for i in range(5)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    for i, maps in answers.items():
        assert maps.keys() == expected[i].keys()
        for name, values in maps.items():
            torch.testing.assert_close(values, expected[i][name], atol=1e-5, rtol=1e-4)


def test_requests_that_wait_are_answered_in_one_batch(net):
    images = (torch.randint(0, 256, (4, 3, 64, 64))).to(torch.uint8).numpy()
    server = NetServer([net], torch.device("cpu"))

    class Line:
        def __init__(self):
            self.answers = []

        def send(self, answer):
            self.answers.append(answer)

    lines = [Line() for _ in range(4)]
    for line, image in zip(lines, images, strict=True):
        server.requests.put((line, 0, image[None]))
    server.requests.put((lines[0], 0, images[0, None, :, :, :32]))  # of another size
    server.requests.put(None)
    with server:
        server.servants[0].join()
        assert server.batches == [4, 1]
    assert [len(line.answers) for line in lines] == [2, 1, 1, 1]
    with torch.inference_mode():
        expected = net(torch.from_numpy(images[2:3]).float() / 255)["gridpoint"]
    torch.testing.assert_close(torch.from_numpy(lines[2].answers[0]["gridpoint"]), expected)


def test_a_failing_request_is_told_to_who_asked_and_to_nobody_else(net):
    with NetServer([net], torch.device("cpu")) as server:
        remote = server.remotes()[0]
        with pytest.raises(RuntimeError, match="must match"):
            remote(torch.zeros(1, 5, 64, 64))
        assert remote(torch.zeros(1, 3, 64, 64))["gridpoint"].shape[0] == 1


def test_several_devices_share_the_requests(net):
    devices = [torch.device("cpu"), torch.device("cpu:0")]
    asked = []

    class Slow(NetServer):
        def run(self, device, number, images):
            asked.append(device)
            time.sleep(0.05)
            return super().run(device, number, images)

    class Line:
        answers = 0

        def send(self, answer):
            self.answers += 1

    server, line = Slow([net], devices, max_batch=2), Line()
    for _ in range(8):
        server.requests.put((line, 0, np.zeros((1, 3, 64, 64), np.uint8)))
    with server:
        wait_until(lambda: line.answers == 8)
    assert set(asked) == set(devices)
    assert server.batches == [2, 2, 2, 2]
