"""A network on a device for many threads at once: what waits while the device is busy is one batch."""

import threading
from concurrent.futures import Future
from dataclasses import dataclass, field

import torch
from torch import nn


@dataclass(eq=False)
class Request:
    """An image (1, 3, H, W) on the device, and what the network will say of it."""

    image: torch.Tensor
    answer: Future = field(default_factory=Future)


class BatchedNet(nn.Module):
    """To each thread it is the network itself; in fact its images may be some of a batch.

    A thread that finds the device free runs the network on all requests that wait, up to `max_batch` of one
    size, each of one image or several. `device_lock` is shared by the networks of a device. With `half` the
    network runs in half precision. An error in a batch is raised where its own image came from, and nowhere
    else.
    """

    def __init__(self, net: nn.Module, device_lock: threading.Lock, max_batch: int, half: bool = False):
        super().__init__()
        self.net, self.config = net, net.config
        self.device_lock, self.max_batch, self.in_half = device_lock, max_batch, half
        self.waiting: list[Request] = []
        self.waiting_lock = threading.Lock()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor] | torch.Tensor:
        request = Request(image)
        with self.waiting_lock:
            self.waiting.append(request)
        with self.device_lock:
            while not request.answer.done():
                self.run(self.take_batch())
        return request.answer.result()

    def take_batch(self) -> list[Request]:
        """The requests of one size that have waited longest, the first of all among them."""
        with self.waiting_lock:
            alike = [each for each in self.waiting if each.image.shape == self.waiting[0].image.shape]
            batch = alike[: self.max_batch]
            self.waiting = [each for each in self.waiting if each not in batch]
        return batch

    @torch.inference_mode()
    def run(self, batch: list[Request]) -> None:
        """Answer requests in one batch; where that fails, one by one."""
        try:
            images = torch.cat([request.image for request in batch])
            with torch.autocast(images.device.type, torch.float16, enabled=self.in_half):
                output = self.net(images)
        except Exception as error:
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
            else:
                for request in batch:
                    self.run([request])
            return
        for index, request in enumerate(batch):
            count = len(request.image)
            own = slice(index * count, (index + 1) * count)
            if isinstance(output, torch.Tensor):
                request.answer.set_result(output[own])
            else:
                request.answer.set_result({name: maps[own] for name, maps in output.items()})
