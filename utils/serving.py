"""One set of networks on a device for many processes: their requests are answered in batches."""

import contextlib
import secrets
import threading
from functools import cache
from multiprocessing.connection import Client, Connection, Listener
from queue import Empty, SimpleQueue

import numpy as np
import torch
from torch import nn

MAX_BATCH = 8  # images; stage 1's maps of so many take under 2 GB


class RemoteNet(nn.Module):
    """A network that a NetServer in another process runs; to callers it is the network itself, on the CPU.

    The image travels as uint8, so (B, 3, H, W) float in 0..1 has to be one of 256 grey values.
    """

    def __init__(self, number: int, config, address: str, key: bytes):
        super().__init__()
        self.number, self.config, self.address, self.key = number, config, address, key

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        connection, lock = connect(self.address, self.key)
        with lock:
            connection.send((self.number, (image * 255).round().to(torch.uint8).numpy()))
            answer = connection.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        return {name: torch.from_numpy(maps) for name, maps in answer.items()}


@cache
def connect(address: str, key: bytes) -> tuple[Connection, threading.Lock]:
    """This process' line to a server."""
    return Client(address, authkey=key), threading.Lock()


class NetServer:
    """Networks in this process, run for others: `with NetServer(nets, device) as server: server.remotes()`.

    Requests that wait while the device is busy are answered together, up to MAX_BATCH of one size. On CUDA
    the networks run in half precision. An error in one request is sent to who asked.
    """

    def __init__(self, nets: list[nn.Module], device: torch.device):
        self.nets = [net.eval().to(device) for net in nets]
        self.device = device
        self.key = secrets.token_bytes(16)
        self.listener = Listener(authkey=self.key)
        self.requests: SimpleQueue = SimpleQueue()
        self.batches: list[int] = []  # sizes, of the batches run so far

    def remotes(self) -> list[RemoteNet]:
        """A stand-in for each network, to be sent to other processes."""
        return [
            RemoteNet(number, net.config, self.listener.address, self.key)
            for number, net in enumerate(self.nets)
        ]

    def __enter__(self) -> "NetServer":
        self.threads = [threading.Thread(target=target, daemon=True) for target in (self.accept, self.serve)]
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.listener.close()
        self.requests.put(None)
        self.threads[1].join()

    def accept(self) -> None:
        while True:
            try:
                connection = self.listener.accept()
            except OSError:  # closed
                return
            except Exception:  # a caller without the key, or gone again
                continue
            threading.Thread(target=self.receive, args=(connection,), daemon=True).start()

    def receive(self, connection: Connection) -> None:
        with contextlib.suppress(EOFError, OSError):
            while True:
                self.requests.put((connection, *connection.recv()))

    def serve(self) -> None:
        while True:
            waiting = [self.requests.get()]
            with contextlib.suppress(Empty):
                while True:
                    waiting.append(self.requests.get_nowait())
            alike: dict[tuple, list] = {}
            for connection, number, image in filter(None, waiting):
                alike.setdefault((number, image.shape), []).append((connection, image))
            for (number, _), group in alike.items():
                for begin in range(0, len(group), MAX_BATCH):
                    self.answer(number, group[begin : begin + MAX_BATCH])
            if None in waiting:
                return

    def answer(self, number: int, group: list[tuple[Connection, np.ndarray]]) -> None:
        """Run one batch; where it fails, its images one by one."""
        try:
            answers = self.run(number, np.concatenate([image for _, image in group]))
        except Exception as error:
            if len(group) > 1:
                for request in group:
                    self.answer(number, [request])
                return
            answers = [f"{type(error).__name__}: {error}"]
        for (connection, _), answer in zip(group, answers, strict=True):
            with contextlib.suppress(OSError):  # who asked is gone
                connection.send(answer)

    @torch.inference_mode()
    def run(self, number: int, images: np.ndarray) -> list[dict[str, np.ndarray]]:
        tensor = torch.from_numpy(images).to(self.device, non_blocking=True).float().div_(255)
        with torch.autocast(self.device.type, torch.float16, enabled=self.device.type == "cuda"):
            output = self.nets[number](tensor)
        self.batches.append(len(images))
        arrays = {name: maps.cpu().numpy() for name, maps in output.items()}
        return [{name: maps[i : i + 1] for name, maps in arrays.items()} for i in range(len(images))]
