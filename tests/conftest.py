"""What all tests share: an image that a network or the reader of prints has seen is not computed again.

Most tests of whole pages read the same few images: a page takes 4 to 30 s of a core, most of it in networks,
which are functions of their weights and of their input alone, and in the steps of PURE. What they gave is
kept by the contents of both, so a test that changes weights or an image has its own values computed.
"""

import hashlib
import pickle
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from threading import Lock
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import pytest
import torch

from digitization import networks
from digitization.geometry import straighten
from digitization.layout import finder
from digitization.signal import tracer
from models import checkpoint
from models.unet import UNet

PURE = (  # functions of their arguments alone that take long, where the Digitizer finds them
    (tracer, "decode_arrays"),
    (tracer, "lay_out_rows"),
    (straighten, "rectify"),
    (straighten, "rectify_grey"),
)
KEPT_BYTES = 2**30  # of maps, the latest used: those of stage 2 are 24 MB an image


class Results:
    """Results by the digest of what they were made of; beyond KEPT_BYTES the oldest in use are let go."""

    def __init__(self) -> None:
        self.kept: OrderedDict[bytes, Any] = OrderedDict()
        self.size = 0
        self.lock = Lock()

    def get(self, key: bytes, compute: Callable[[], Any]) -> Any:
        with self.lock:  # pages are read in several threads where they share a device
            if key in self.kept:
                self.kept.move_to_end(key)
                return self.kept[key]
        result = compute()
        with self.lock:
            if key not in self.kept:
                self.kept[key] = result
                self.size += size_of(result)
            while self.size > KEPT_BYTES:
                self.size -= size_of(self.kept.popitem(last=False)[1])
        return result


def size_of(maps: Any) -> int:
    """The bytes of a network's output, or of arrays."""
    if isinstance(maps, dict):
        return sum(map(size_of, maps.values()))
    if isinstance(maps, tuple):
        return sum(map(size_of, maps))
    return maps.nbytes if isinstance(maps, (torch.Tensor, np.ndarray)) else 0


def copy_of(maps: Any) -> Any:
    """A network's output that may be written to."""
    return {name: values.clone() for name, values in maps.items()} if isinstance(maps, dict) else maps.clone()


def digest(*parts: Any) -> bytes:
    """The digest of tensors, of arrays and of the text of anything else."""
    whole = hashlib.sha1(usedforsecurity=False)  # processors have instructions for it
    for part in parts:
        if isinstance(part, torch.Tensor):
            order = sorted(range(part.ndim), key=lambda dim: -part.stride(dim))  # channels may come last
            part = part.detach().permute(order).numpy()
            whole.update(repr(order).encode())
        if isinstance(part, np.ndarray):
            whole.update(f"{part.dtype} {part.shape}".encode())
            whole.update(np.ascontiguousarray(part).data)
        else:
            whole.update(repr(part).encode())
    return whole.digest()


def remembered(function: Callable, results: Results) -> Callable:
    """A function that has its results kept by the contents of its arguments, and gives copies of them."""

    def call(*arguments: Any) -> Any:
        buffers: list[pickle.PickleBuffer] = []
        form = pickle.dumps(arguments, protocol=5, buffer_callback=buffers.append)
        key = digest(function.__qualname__, form, *(np.frombuffer(each.raw(), np.uint8) for each in buffers))
        return deepcopy(results.get(key, lambda: function(*arguments)))

    return call


class Weights:
    """Digests of the weights of networks; each is made again once a tensor was replaced or written to."""

    def __init__(self) -> None:
        self.known: WeakKeyDictionary[UNet, tuple[list, bytes]] = WeakKeyDictionary()

    def digest(self, net: UNet) -> bytes:
        tensors = list(net.state_dict(keep_vars=True).values())
        state = [(id(tensor), tensor._version) for tensor in tensors]
        if net not in self.known or self.known[net][0] != state:
            self.known[net] = state, digest(*tensors)
        return self.known[net][1]


@pytest.fixture(autouse=True, scope="session")
def remember_what_was_seen():
    """Predictions on a CPU alone: whatever learns, or has its gradients recorded, is computed as ever.

    Networks are loaded once, in 1.2 s for all six, and copied in 0.2 s: a test may write to its weights.
    """
    results, weights = Results(), Weights()
    call, search, load = UNet.__call__, finder.search_scales, networks.load_network

    def predict(net: UNet, image: torch.Tensor) -> Any:
        if net.training or not torch.is_inference_mode_enabled() or image.device.type != "cpu":
            return call(net, image)
        form = type(net), net.config, net.precision, net.normalises, torch.is_autocast_enabled("cpu")
        key = digest(form, weights.digest(net), image)
        return copy_of(results.get(key, lambda: call(net, image)))

    def search_scales(image: np.ndarray, px_per_square: float) -> Any:
        key = digest("prints", image, px_per_square)
        return results.get(key, lambda: search(image, px_per_square))

    def load_network(path: Path, stage: int, **options: Any) -> Any:
        if not Path(path).is_file():
            return load(path, stage, **options)
        contents = Path(path).read_bytes()
        key = digest("network", hashlib.sha1(contents).digest(), stage, options, checkpoint.PUBLISHED)
        return deepcopy(results.get(key, lambda: load(path, stage, **options)))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(UNet, "__call__", predict)
        patch.setattr(finder, "search_scales", search_scales)
        patch.setattr(networks, "load_network", load_network)
        for module, name in PURE:
            patch.setattr(module, name, remembered(getattr(module, name), results))
        yield
