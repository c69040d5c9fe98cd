"""Train a stage: python train.py [--stage 0|1|2|all] [--config NAME] --records DIR | --data DIR [--fold K].

With --records all stages learn from synthetic pages of those WFDB records. With --data stage 2 learns from
the pages that prepare_inputs.py has straightened, without those of one fold, on which it is scored.
"""

import argparse
import copy
import importlib
import math
import sys
import time
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import DataLoader

from configs.network import NetworkConfig
from datasets.pages import PagePool, SyntheticPages, training_records
from datasets.prepared import PreparedPages, prepared_images
from models.imagenet import PretrainedUnavailable
from training.stages import STAGES, Stage
from utils.checkpoint import NETWORKS, CheckpointError, read_checkpoint, save_network, write_torch
from utils.device import choose_device, limit_threads

DEFAULT_CONFIGS = {0: "stage0_compact", 1: "stage1_compact", 2: "compact"}
SAVE_EVERY = 120.0  # seconds
RESUMED = {"average", "optimizer", "step", "spent", "best_score"}  # what last.pt holds beside the weights


class Average:
    """An exponential moving average of a network's weights and buffers, kept as a network of its own."""

    def __init__(self, net: nn.Module, decay: float):
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, net: nn.Module) -> None:
        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        for mean, value in zip(self.net.state_dict().values(), net.state_dict().values(), strict=True):
            if mean.is_floating_point():
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def copy_weights(net: nn.Module, path: Path) -> None:
    """Start from the weights of a checkpoint, as far as names and shapes agree; says what stays fresh."""
    given = read_checkpoint(path)["state_dict"]
    own = net.state_dict()
    fitting = {
        name: value.float() if value.is_floating_point() else value
        for name, value in given.items()
        if name in own and own[name].shape == value.shape
    }
    if not fitting:
        raise CheckpointError(f"{path}: none of its weights fit this network")
    net.load_state_dict(own | fitting)
    fresh = sorted(set(own) - set(fitting))
    print(f"{path}: {len(fitting)} of {len(own)} tensors taken, fresh: {', '.join(fresh) or 'none'}")


def learning_rate_at(progress: float, config: NetworkConfig) -> float:
    """One cycle: a linear warm-up, then a cosine to a hundredth. progress in 0..1."""
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 0.02)
    phase = (progress - config.warmup) / (1 - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(phase, 1.0))))


def train(stage: Stage, config: NetworkConfig, name: str, args: argparse.Namespace) -> Path:
    """Train one stage until its steps or minutes are over; returns the checkpoint of the best weights."""
    device = choose_device(args.device)
    torch.manual_seed(args.seed)
    run = args.runs / name
    run.mkdir(parents=True, exist_ok=True)
    last, best = run / "last.pt", run / f"stage{stage.number}.pt"
    if last.exists() and not args.resume:
        raise ValueError(
            f"{last}: a run is there already; --resume goes on with it, another --runs starts anew"
        )
    net = stage.build(config, pretrained=args.pretrained).to(device)
    if args.init:
        copy_weights(net, args.init)
    average = Average(net, config.ema_decay)
    optimizer = torch.optim.AdamW(net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
    step, spent, best_score = 0, 0.0, -math.inf
    if args.resume and last.exists():
        state = read_checkpoint(last)
        if missing := RESUMED.difference(state):
            raise CheckpointError(f"{last}: not the state of a training run, without {', '.join(missing)}")
        net.load_state_dict(state["state_dict"])
        average.net.load_state_dict(state["average"])
        optimizer.load_state_dict(state["optimizer"])
        step, spent, best_score = state["step"], state["spent"], state["best_score"]
        average.updates = step
        print(f"resumed {last} at step {step}, {spent / 60:.1f} min")

    samples = stage.samples(net)
    if args.data:
        shown, held = prepared_images(args.data, args.outputs, args.fold)
        source = PreparedPages(shown)
        validation = stage.prepared_validation(args.data, held, args.validation_pages)
    else:
        source = SyntheticPages(training_records(args.records), samples, config.image_types)
        validation = stage.validation(args.records, args.validation_pages)
    pages = PagePool(source, samples, config.echo, config.pool, args.seed + step)
    workers = {"prefetch_factor": 4, "persistent_workers": True} if args.workers else {}
    loader = DataLoader(pages, config.batch_size, num_workers=args.workers, drop_last=True, **workers)

    def save() -> None:
        contents = {
            "state_dict": net.state_dict(),
            "average": average.net.state_dict(),
            "optimizer": optimizer.state_dict(),
        }
        write_torch(last, {**contents, "step": step, "spent": spent, "best_score": best_score})

    def validate() -> None:
        nonlocal best_score
        score, facts = stage.validate(average.net, validation, device)
        listed = "  ".join(f"{key} {value:.3f}" for key, value in facts.items())
        print(f"{name} step {step} validation: {listed}", flush=True)
        if score > best_score:
            best_score = score
            training = {
                "steps": step,
                "minutes": spent / 60,
                "seed": args.seed,
                "images": step * config.batch_size,
            }
            save_network(best, average.net, stage.number, validation=facts, training=training)

    started = time.monotonic() - spent
    saved = validated = logged = time.monotonic()
    running, waited = 0.0, 0.0
    limit = 60 * args.max_minutes
    mark = time.monotonic()
    for batch in loader:
        waited += time.monotonic() - mark
        spent = time.monotonic() - started
        progress = max(step / config.steps, spent / limit)
        if progress >= 1:
            break
        for group in optimizer.param_groups:
            group["lr"] = learning_rate_at(progress, config)
        net.train()
        image, *target = (part.to(device, non_blocking=True) for part in batch)
        image = image.permute(0, 3, 1, 2).float().div_(255)
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=device.type == "cuda"):
            output = net(image)
        loss = stage.loss(output, *target, net=net)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), config.gradient_clip)
        optimizer.step()
        average.update(net)
        step += 1
        running += loss.detach()
        now = time.monotonic()
        if step % args.log_every == 0:
            rate = args.log_every * config.batch_size / (now - logged)
            print(
                f"{name} step {step} {spent / 60:.1f} min loss {float(running) / args.log_every:.4f} "
                f"lr {optimizer.param_groups[0]['lr']:.1e} {rate:.2f} images/s, "
                f"waited {100 * waited / (now - logged):.0f} %",
                flush=True,
            )
            running, waited, logged = 0.0, 0.0, now
        if now - validated > 60 * args.validate_minutes:
            validate()
            validated = time.monotonic()
        if now - saved > SAVE_EVERY:
            save()
            saved = time.monotonic()
        mark = time.monotonic()
    validate()
    save()
    print(f"{best}: best score {best_score:.4f} after {step} steps")
    return best


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", default="2", choices=["0", "1", "2", "all"])
    parser.add_argument(
        "--config", help="module of configs/ with a `config` (default: the shipped network's)"
    )
    pages = parser.add_mutually_exclusive_group(required=True)
    pages.add_argument("--records", type=Path, help="folder with WFDB records (*.hea)")
    pages.add_argument("--data", type=Path, help="folder with train/, train_folds.csv and the masks")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where prepare_inputs.py wrote")
    parser.add_argument("--fold", type=int, default=0, help="of --data: held back for validation (default 0)")
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder for <config>/last.pt, stageN.pt"
    )
    parser.add_argument("--device", help="cpu, cuda, ... (default: CUDA when there is one)")
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pages")
    parser.add_argument("--threads", type=int, help="torch threads of the training process")
    parser.add_argument("--max-minutes", type=float, default=60.0, help="per stage, resumed time counted in")
    parser.add_argument("--validate-minutes", type=float, default=8.0)
    parser.add_argument("--validation-pages", type=int, default=9)
    parser.add_argument("--log-every", type=int, default=20, help="steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int)
    parser.add_argument("--resume", action="store_true", help="go on from runs/<config>/last.pt")
    parser.add_argument("--init", type=Path, help="start from the weights of this checkpoint where they fit")
    parser.add_argument("--pretrained", action="store_true", help="start from ImageNet weights")
    parser.add_argument("--debug", action="store_true", help="a few steps, everything exercised")
    args = parser.parse_args()
    for option in (
        "max_minutes",
        "validate_minutes",
        "validation_pages",
        "log_every",
        "batch_size",
    ):
        value = getattr(args, option)
        if value is not None and not value > 0:
            parser.error(f"--{option.replace('_', '-')} {value}: must be above 0")
    if args.workers < 0 or args.seed < 0:
        parser.error("--workers and --seed must not be negative")
    if args.config and args.stage == "all":
        parser.error("--config names one network: give its --stage")
    if args.data and args.stage != "2":
        parser.error("--data has no labels for stages 0 and 1: train them with --records")
    return args


def main() -> None:
    args = parse_arguments()
    limit_threads(args.threads)
    numbers = [0, 1, 2] if args.stage == "all" else [int(args.stage)]
    for number in numbers:
        name = args.config if args.config and len(numbers) == 1 else DEFAULT_CONFIGS[number]
        config = getattr(importlib.import_module(f"configs.{name}"), "config", None)
        if not isinstance(config, NETWORKS[number][1]):
            raise ValueError(f"--config {name}: not a configuration of stage {number}")
        if args.batch_size:
            config = replace(config, batch_size=args.batch_size)
        if args.debug:
            config = replace(config, steps=3, pool=2, batch_size=2)
            args.validation_pages, args.workers, args.log_every = 1, 0, 1
        train(STAGES[number], config, name, args)


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError, PretrainedUnavailable, CheckpointError, ModuleNotFoundError) as error:
        sys.exit(f"train.py: {error}")
