"""Networks on one device or several, for many processes: their requests are answered in batches."""

import contextlib
import copy
import secrets
import threading
from collections.abc import Sequence
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

    def __init__(self, number: int, net: nn.Module, address: str, key: bytes):
        super().__init__()
        self.number, self.config, self.address, self.key = number, net.config, address, key

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor] | torch.Tensor:
        connection, lock = connect(self.address, self.key)
        with lock:
            connection.send((self.number, (image * 255).round().to(torch.uint8).numpy()))
            answer = connection.recv()
        if isinstance(answer, str):
            raise RuntimeError(answer)
        if isinstance(answer, np.ndarray):
            return torch.from_numpy(answer)
        return {name: torch.from_numpy(maps) for name, maps in answer.items()}


@cache
def connect(address: str, key: bytes) -> tuple[Connection, threading.Lock]:
    """This process' line to a server."""
    return Client(address, authkey=key), threading.Lock()


class NetServer:
    """Networks in this process, run for others: `with NetServer(nets, device) as server: server.remotes()`.

    Requests that wait while the device is busy are answered together, up to `max_batch` of one size. Of
    several devices each holds all networks, and the one that is free answers. With `half` those in single
    precision run in half precision on CUDA. An error in one request is sent to who asked.
    """

    def __init__(
        self,
        nets: Sequence[nn.Module],
        devices: torch.device | Sequence[torch.device],
        max_batch: int = MAX_BATCH,
        half: bool = True,
    ):
        self.devices = [devices] if isinstance(devices, torch.device) else list(devices)
        spare = [copy.deepcopy(list(nets)) for _ in self.devices[1:]]
        self.nets = {
            device: [net.eval().to(device) for net in own]
            for device, own in zip(self.devices, [list(nets), *spare], strict=True)
        }
        self.max_batch, self.half = max_batch, half
        self.key = secrets.token_bytes(16)
        self.listener = Listener(authkey=self.key)
        self.requests: SimpleQueue = SimpleQueue()
        self.batches: list[int] = []  # sizes, of the batches run so far

    def remotes(self) -> list[RemoteNet]:
        """A stand-in for each network, to be sent to other processes."""
        return [
            RemoteNet(number, net, self.listener.address, self.key)
            for number, net in enumerate(self.nets[self.devices[0]])
        ]

    def __enter__(self) -> "NetServer":
        threading.Thread(target=self.accept, daemon=True).start()
        self.servants = [
            threading.Thread(target=self.serve, args=(device,), daemon=True) for device in self.devices
        ]
        for servant in self.servants:
            servant.start()
        return self

    def __exit__(self, *_) -> None:
        self.listener.close()
        for _servant in self.servants:
            self.requests.put(None)
        for servant in self.servants:
            servant.join()

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

    def serve(self, device: torch.device) -> None:
        """Answer requests on one device until the queue says None."""
        while (request := self.requests.get()) is not None:
            waiting = [request]
            with contextlib.suppress(Empty):
                while len(waiting) < self.max_batch:
                    waiting.append(self.requests.get_nowait())
                    if waiting[-1] is None:  # the end, once these are answered
                        self.requests.put(waiting.pop())
                        break
            alike: dict[tuple, list] = {}
            for connection, number, image in waiting:
                alike.setdefault((number, image.shape), []).append((connection, image))
            for (number, _), group in alike.items():
                self.answer(device, number, group)

    def answer(self, device: torch.device, number: int, group: list[tuple[Connection, np.ndarray]]) -> None:
        """Run one batch; where it fails, its images one by one."""
        try:
            answers = self.run(device, number, np.concatenate([image for _, image in group]))
        except Exception as error:
            if len(group) > 1:
                for request in group:
                    self.answer(device, number, [request])
                return
            answers = [f"{type(error).__name__}: {error}"]
        for (connection, _), answer in zip(group, answers, strict=True):
            with contextlib.suppress(OSError):  # who asked is gone
                connection.send(answer)

    @torch.inference_mode()
    def run(self, device: torch.device, number: int, images: np.ndarray) -> list:
        """One network's output for each image, as arrays."""
        tensor = torch.from_numpy(images).to(device, non_blocking=True).float().div_(255)
        with torch.autocast(device.type, torch.float16, enabled=self.half and device.type == "cuda"):
            output = self.nets[device][number](tensor)
        self.batches.append(len(images))
        if isinstance(output, torch.Tensor):
            maps = output.cpu().numpy()
            return [maps[i : i + 1] for i in range(len(images))]
        arrays = {name: maps.cpu().numpy() for name, maps in output.items()}
        return [{name: maps[i : i + 1] for name, maps in arrays.items()} for i in range(len(images))]
