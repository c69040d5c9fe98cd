"""Memory, operations and speed of each of stage 2's networks, in training and in prediction.

    python benchmarks/backbones.py

The table has a row for each configuration and the columns
  M parameters      number of parameters in millions
  batch x crop      samples of a training batch, and columns of each
  TFLOP a page      operations per page, 10^12
  train GiB         memory in training: the batch, AdamW and the averaged weights, in mixed precision
  page GiB          memory in prediction of a whole page
  crops/s, training and pages/s   speed

On CUDA the memory is measured. Elsewhere it is computed for CUDA's mixed precision, with tensors that have
shapes and types but no contents, as the peak up to the loss plus the copies of the weights; CUDA itself and
the workspaces of its convolutions need about 1 GiB more.
"""

import argparse
import copy
import importlib
import sys
import time
import weakref
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import torch
from torch import nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.stage2 import INPUT_HEIGHT, INPUT_WIDTH, ROW_CHANNELS, Stage2Config
from models.inference import prepare_for_inference
from models.stage2 import Stage2Net
from training.losses import stage2_loss
from utils.command import log, positive_int, run_main
from utils.device import choose_device, limit_threads

CONFIGS = (
    "compact",
    "compact_wide",
    "convnextv2_atto",
    "convnextv2",
    "hrnet",
    "efficientnetv2",
    "resnet34",
    "efficientnet_lite0",
)
COPIES = 5  # tensors of the weights' size in training: weights, gradients, AdamW's two moments, the average
GIB = 2**30


class LiveBytes(TorchDispatchMode):
    """Counts the bytes of live tensors created within its context: `now`, and their maximum `peak`."""

    def __init__(self) -> None:
        super().__init__()
        self.now = self.peak = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        output = function(*args, **(kwargs or {}))
        for tensor in tree_leaves(output):
            if isinstance(tensor, torch.Tensor):
                self.add(tensor.untyped_storage())
        return output

    def add(self, storage: torch.UntypedStorage) -> None:
        if storage._cdata not in self.seen:
            self.seen.add(storage._cdata)
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self.remove, storage._cdata, storage.nbytes())

    def remove(self, address: int, size: int) -> None:
        self.seen.discard(address)
        self.now -= size


def random_batch(batch: int, columns: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    """Random images (B, 3, H, columns) in 0..1 and trace y-coordinates (B, 4, columns) px."""
    image = torch.rand(batch, 3, INPUT_HEIGHT, columns, device=device)
    return image, INPUT_HEIGHT * torch.rand(batch, ROW_CHANNELS, columns, device=device)


def computed_bytes(net: Stage2Net, batch: int, columns: int, training: bool) -> int:
    """Peak bytes of the tensors of one forward pass on CUDA, in training including the loss.

    The weights are not counted, but their copies in half precision are. The backward pass is neglected: its
    gradients replace features, and change the peak little.
    """
    dtype = torch.bfloat16 if training else torch.float16
    cuda = torch.device("cuda")
    with FakeTensorMode(), torch.set_grad_enabled(training):
        state = {
            name: torch.empty(value.shape, dtype=value.dtype, device=cuda).requires_grad_(
                training and isinstance(value, nn.Parameter)
            )
            for name, value in net.state_dict(keep_vars=True).items()
        }
        try:  # torch.autocast itself requires a CUDA device
            torch.set_autocast_enabled("cuda", True)
            torch.set_autocast_dtype("cuda", dtype)
            with LiveBytes() as live:
                image, y = random_batch(batch, columns, cuda)
                logits = torch.func.functional_call(net, state, (image,))
                if training:
                    torch.set_autocast_enabled("cuda", False)
                    loss = stage2_loss(logits, y, net.row_stride, net.config)
                    del loss
        finally:
            torch.set_autocast_enabled("cuda", False)
            torch.clear_autocast_cache()
    return live.peak


def weight_bytes(net: nn.Module) -> int:
    return sum(value.numel() * value.element_size() for value in net.state_dict().values())


def train_step(net: Stage2Net, batch: int, columns: int, device: torch.device) -> Callable[[], None]:
    """A function that takes one training step on random images."""
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-6)
    image, y = random_batch(batch, columns, device)

    def step() -> None:
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
            logits = net(image)
        optimizer.zero_grad(set_to_none=True)
        stage2_loss(logits, y, net.row_stride, net.config).backward()
        optimizer.step()

    return step


def predict_page(net: Stage2Net, columns: int, device: torch.device) -> Callable[[], None]:
    """A function that runs the network on a page of the given number of columns."""
    image, _ = random_batch(1, columns, device)

    @torch.inference_mode()
    def step() -> None:
        with torch.autocast(device.type, torch.float16, enabled=device.type == "cuda"):
            net(image)

    return step


def seconds(step: Callable[[], None], device: torch.device) -> float:
    """Seconds of a step: on CUDA the least of three runs, on a CPU, where it takes long, of one.

    On a CPU this is processor time, summed over threads, which other work on the machine affects less.
    """
    cuda, taken = device.type == "cuda", []
    clock = time.perf_counter if cuda else time.process_time
    for _ in range(3 if cuda else 1):
        started = clock()
        step()
        if cuda:
            torch.cuda.synchronize(device)
        taken.append(clock() - started)
    return min(taken)


def peak_memory(step: Callable[[], None], device: torch.device) -> int:
    """Peak bytes that torch holds on a CUDA device during a step, weights included."""
    torch.cuda.reset_peak_memory_stats(device)
    step()
    return torch.cuda.max_memory_allocated(device)


def operations(net: Stage2Net, columns: int) -> int:
    """The number of multiplications and additions of one forward pass over an image of `columns` columns."""
    meta = {name: value.to("meta") for name, value in net.state_dict().items()}
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        torch.func.functional_call(net, meta, (torch.empty(1, 3, INPUT_HEIGHT, columns, device="meta"),))
    return counter.get_total_flops()


def measure(config: Stage2Config, device: torch.device, timed: bool, columns: int) -> dict[str, object]:
    """A row of the table; on a CPU without speeds unless `timed`."""
    net = Stage2Net(config)
    batch, crop = config.batch_size, config.crop_columns
    row: dict[str, object] = {
        "M parameters": sum(p.numel() for p in net.parameters()) / 1e6,
        "batch x crop": f"{batch} x {crop}",
        "TFLOP a page": operations(net.eval(), INPUT_WIDTH) / 1e12,
    }
    cuda = device.type == "cuda"
    if not cuda:
        held = computed_bytes(net.train(), batch, crop, training=True)
        row["train GiB"] = (COPIES * weight_bytes(net) + held) / GIB
        row["page GiB"] = (weight_bytes(net) + computed_bytes(net.eval(), 1, INPUT_WIDTH, False)) / GIB
        batch = 1  # larger batches are no faster on a CPU
    if not (cuda or timed):
        return row
    net = net.to(device).train()
    average = copy.deepcopy(net)  # held for its memory, as in training
    step = train_step(net, batch, crop, device)
    if cuda:
        step()  # allocates the optimizer's moments
        row["train GiB"] = peak_memory(step, device) / GIB
    row["crops/s, training"] = batch / seconds(step, device)
    del step, average
    net.zero_grad(set_to_none=True)
    prepare_for_inference(net.eval()).to(memory_format=torch.channels_last)
    page = predict_page(net, columns, device)
    if cuda:
        row["page GiB"] = peak_memory(page, device) / GIB
    row["pages/s"] = columns / INPUT_WIDTH / seconds(page, device)
    return row


def device_name(device: torch.device) -> str:
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{device}, {torch.get_num_threads()} threads, memory computed for CUDA's mixed precision"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--configs", nargs="+", default=CONFIGS, help="modules of configs/ (default: all)")
    parser.add_argument("--no-times", action="store_true", help="on a CPU, skip the slow timing")
    parser.add_argument(
        "--page-columns",
        type=positive_int,
        default=INPUT_WIDTH,
        help="columns of the page that is timed; results are scaled to a whole page (default: whole page)",
    )
    parser.add_argument("--threads", type=positive_int, help="torch threads on the CPU")
    parser.add_argument("--device", help="default: CUDA if available, else cpu")
    args = parser.parse_args()
    limit_threads(args.threads)
    device = choose_device(args.device)
    rows = {}
    for name in args.configs:
        config = importlib.import_module(f"configs.{name}").config
        if not isinstance(config, Stage2Config):
            raise ValueError(f"--configs {name}: this is not a configuration of stage 2")
        rows[name] = measure(config, device, not args.no_times, min(args.page_columns, INPUT_WIDTH))
        log.info(f"{name}: {rows[name]}")
    print(device_name(device))
    print(pd.DataFrame(rows).T.to_string(float_format="{:.3g}".format))


if __name__ == "__main__":
    run_main(main)
