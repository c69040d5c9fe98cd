"""Speed and numerical error of each precision, in training and in prediction, on a synthetic photo (0005).

    python benchmarks/precision.py

The table has a row for each stage and precision and the columns
  training s       seconds per image of a training step: the default configuration with random weights, on a
                   batch of its own size
  prediction s     seconds per page of the shipped network
  logits off, rms; at most   root-mean-square and greatest difference of its logits from those of float32

Seconds are processor time, on CUDA wall-clock time: the least of several repeats, in which the precisions
alternate.
"""

import argparse
import importlib
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from digitization.geometry.keypoints import prepare_input
from models.checkpoint import checkpoint_path, load_network
from models.tensors import to_tensor
from synthesis import synthesize
from synthesis.signals import deepfake_record
from train import DEFAULT_CONFIGS
from training.loop import Training
from training.options import Options
from training.stages import STAGES
from utils.command import positive_int, run_main
from utils.device import PRECISIONS, choose_device, limit_threads

Step = Callable[[], object]


def time_steps(steps: dict[str, Step], device: torch.device, repeats: int) -> dict[str, float]:
    """The least seconds of each step over the repeats, after a warm-up run."""
    clock = time.perf_counter if device.type == "cuda" else time.process_time
    seconds = {name: np.inf for name in steps}
    for repeat in range(repeats + 1):
        for name, step in steps.items():
            started = clock()
            step()
            if device.type == "cuda":
                torch.cuda.synchronize(device)
            seconds[name] = min(seconds[name], clock() - started if repeat else np.inf)
    return seconds


def measure(number: int, device: torch.device, repeats: int) -> pd.DataFrame:
    """The rows of the table for stage `number`, one for each precision."""
    rng = np.random.default_rng(0)
    stage, config = STAGES[number], importlib.import_module(f"configs.{DEFAULT_CONFIGS[number]}").config
    samples = stage.samples(stage.build(config, pretrained=False))
    record = deepfake_record(rng)
    page = samples.prepare(synthesize(record, "0005", rng, orientation=0), record, rng)
    drawn = [samples.sample(page, rng) for _ in range(config.batch_size)]
    batch = [torch.from_numpy(np.stack(parts)) for parts in zip(*drawn, strict=True)]
    tensor = prepare_input(page["image"], config).tensor if number == 0 else to_tensor(page["image"])
    tensor = tensor.to(device)

    learn: dict[str, Step] = {}
    predict: dict[str, Step] = {}
    logits = {}
    for name, precision in PRECISIONS.items():
        training = Training(stage, config, Path("no such run"), Options(device=str(device), precision=name))
        learn[name] = partial(training.train_step, training.net, [batch])
        net = load_network(checkpoint_path(number), number, device, precision)
        predict[name] = partial(net, tensor)
        with torch.inference_mode():
            output = net(tensor)
        maps = [output] if isinstance(output, torch.Tensor) else list(output.values())
        logits[name] = torch.cat([part.flatten() for part in maps])
    trained = time_steps(learn, device, repeats)
    with torch.inference_mode():
        predicted = time_steps(predict, device, repeats)
    return pd.DataFrame(
        {
            "stage": number,
            "precision": name,
            "training s": trained[name] / config.batch_size,
            "prediction s": predicted[name],
            "logits off, rms": float((logits[name] - logits["float32"]).square().mean().sqrt()),
            "at most": float((logits[name] - logits["float32"]).abs().max()),
        }
        for name in PRECISIONS
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stages", type=int, nargs="+", choices=(0, 1, 2), default=[0, 1, 2], help="default: all"
    )
    parser.add_argument("--repeats", type=positive_int, default=3, help="default: %(default)s")
    parser.add_argument("--threads", type=positive_int, help="torch threads on the CPU")
    parser.add_argument("--device", help="default: CUDA if available, else cpu")
    args = parser.parse_args()
    limit_threads(args.threads)
    device = choose_device(args.device)
    tables = [measure(number, device, args.repeats) for number in args.stages]
    print(pd.concat(tables).to_string(index=False, float_format="{:.3f}".format))


if __name__ == "__main__":
    run_main(main)
