"""The recipe that trains any stage: AdamW, one cycle, an average of the weights, mixed precision."""

import copy
import math
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from configs.network import NetworkConfig
from datasets.pages import MixedPages, PagePool, PageSource, Samples, SyntheticPages, training_records
from models.checkpoint import CheckpointError, read_checkpoint, rename_fields, save_network, write_torch
from models.unet import UNet
from training.log import RunLog
from training.processes import join_processes
from training.stages import Stage, ValidationPage
from utils.device import AUTO, choose_device, choose_precision
from utils.files import folder_lock, remove_partial_files

SAVE_EVERY = 120.0  # seconds
FRESH_LISTED = 6  # layers that --init leaves as they are, named at most
RESUMED = {
    "average",
    "optimizer",
    "step",
    "spent",
    "best_score",
    "rng",
    "recipe",
}  # what last.pt holds beside the weights


@dataclass(frozen=True)
class Options:
    """What a run is told beside its configuration; train.py's arguments of the same names."""

    records: Path | None = None
    data: Path | None = None
    outputs: Path = Path("outputs")
    fold: int = 0
    synthetic_share: float = 0.5
    runs: Path = Path("runs")
    device: str | None = None
    precision: str = AUTO
    workers: int = 1
    steps: int | None = None
    max_minutes: float = 60.0
    validate_minutes: float = 8.0
    validation_pages: int = 9
    log_every: int = 20
    seed: int = 0
    accumulate: int = 1
    checkpointing: bool = False
    resume: bool = False
    init: Path | None = None
    pretrained: bool = False
    wandb: bool = False


class Average:
    """An exponential moving average of a network's weights and buffers, kept as a network of its own."""

    def __init__(self, net: UNet, decay: float):
        self.net = copy.deepcopy(net).eval().requires_grad_(False)
        self.decay, self.updates = decay, 0

    @torch.no_grad()
    def update(self, net: UNet) -> None:
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
    fresh = sorted({name.rpartition(".")[0] or name for name in set(own) - set(fitting)})
    listed = ", ".join(fresh[:FRESH_LISTED]) + (" …" if len(fresh) > FRESH_LISTED else "")
    print(f"{path}: {len(fitting)} of {len(own)} tensors taken, fresh: {listed or 'none'}")


def learning_rate_at(progress: float, config: NetworkConfig) -> float:
    """One cycle: a linear warm-up, then a cosine to a hundredth. progress in 0..1."""
    if progress < config.warmup:
        return config.learning_rate * max(progress / config.warmup, 0.02)
    phase = (progress - config.warmup) / (1 - config.warmup)
    return config.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(phase, 1.0))))


def find_pages(stage: Stage, samples: Samples, options: Options) -> tuple[PageSource, list[ValidationPage]]:
    """The source of pages to learn from, and those to be scored on."""
    drawn = None
    if options.records:
        drawn = SyntheticPages(training_records(options.records), samples, samples.config.image_types)
    if options.data:
        source, pages = stage.pages_on_disk(
            options.data, options.outputs, options.fold, options.validation_pages, samples
        )
        return MixedPages(drawn, source, options.synthetic_share) if drawn else source, pages
    if options.records and drawn:
        return drawn, stage.validation(options.records, options.validation_pages, samples)
    raise ValueError("nothing to learn from: neither records nor data")


class Training:
    """A run: what it has learnt so far, on disk as last.pt and the best as stageN.pt."""

    def __init__(self, stage: Stage, config: NetworkConfig, run: Path, options: Options):
        self.stage, self.config, self.options = stage, config, options
        self.processes, self.device = join_processes(choose_device(options.device))
        self.last, self.best = run / "last.pt", run / f"stage{stage.number}.pt"
        if self.last.exists() and not options.resume:
            raise ValueError(
                f"{self.last}: a run is there already; --resume goes on with it, another --runs starts anew"
            )
        torch.manual_seed(options.seed)
        self.net: UNet = stage.build(config, pretrained=options.pretrained).to(self.device)
        self.net.checkpointing = options.checkpointing
        self.net.precision = choose_precision(options.precision, self.device)
        if self.device.type == "cpu" and self.net.precision == torch.bfloat16:
            self.net.to(memory_format=torch.channels_last)  # as AMX wants it; float32 is no faster by it
        if options.init:
            copy_weights(self.net, options.init)
        self.average = Average(self.net, config.ema_decay)
        self.optimizer = torch.optim.AdamW(
            self.net.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.step, self.spent, self.best_score = 0, 0.0, -math.inf
        torch.manual_seed(options.seed + self.processes.rank)
        if options.resume and self.last.exists():
            self.load()
        self.log: RunLog | None = None
        self.stopped = False

    def load(self) -> None:
        state = read_checkpoint(self.last)
        if missing := RESUMED.difference(state):
            raise CheckpointError(
                f"{self.last}: not the state of a training run, without {', '.join(sorted(missing))}"
            )
        try:
            recipe = self.recipe()
            # fields that are newer than the run had their defaults
            begun = asdict(type(self.config)()) | rename_fields(state["recipe"])
            if changed := sorted(name for name in recipe if begun.get(name) != recipe[name]):
                raise CheckpointError(f"begun with another {', '.join(changed)}; choose another --runs")
            self.net.load_state_dict(state["state_dict"])
            self.average.net.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.spent, self.best_score = state["step"], state["spent"], state["best_score"]
            self.average.updates = self.step
            if self.processes.is_main:
                torch.set_rng_state(state["rng"])
        except CheckpointError as error:
            raise CheckpointError(f"{self.last}: {error}") from None
        except Exception as error:  # torch raises many kinds on what is damaged
            raise CheckpointError(f"{self.last}: damaged ({type(error).__name__})") from error
        print(f"resumed {self.last} at step {self.step}, {self.spent / 60:.1f} min")

    def recipe(self) -> dict:
        """What a run must not change on its way: a resumed one would be neither the one nor the other."""
        options = self.options
        pages = {name: getattr(options, name) for name in ("fold", "seed", "accumulate")}
        return {"stage": self.stage.number, "processes": self.processes.count} | pages | asdict(self.config)

    def save(self) -> None:
        if not self.processes.is_main:
            return
        contents = {
            "state_dict": self.net.state_dict(),
            "average": self.average.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "rng": torch.get_rng_state(),
            "recipe": self.recipe(),
        }
        progress = {"step": self.step, "spent": self.spent, "best_score": self.best_score}
        write_torch(self.last, {**contents, **progress})

    def validate(self, pages: list[ValidationPage]) -> None:
        if not self.log:
            return
        score, facts = self.stage.validate(self.average.net, pages, self.device)
        listed = "  ".join(f"{key} {value:.3f}" for key, value in facts.items())
        print(f"{self.last.parent.name} step {self.step} validation: {listed}", flush=True)
        self.log.numbers(self.step, {f"validation/{key}": value for key, value in facts.items()})
        picture = self.stage.picture(self.average.net, pages[0], self.device)
        if picture is not None:
            self.log.picture(self.step, "validation/page", picture)
        if score > self.best_score:
            self.best_score = score
            training = {
                "steps": self.step,
                "minutes": self.spent / 60,
                "seed": self.options.seed,
                "images": self.step * self.batch,
            }
            save_network(self.best, self.average.net, self.stage.number, validation=facts, training=training)

    @property
    def batch(self) -> int:
        """Images that one step learns from, over all processes."""
        return self.config.batch_size * self.options.accumulate * self.processes.count

    def progress(self) -> float:
        """0 at the start, 1 when it is over: of the steps, or of the minutes where these end sooner.

        With `steps` given the schedule is theirs alone, so that a run that was interrupted ends as one that
        was not.
        """
        if self.options.steps is not None:
            return self.step / self.options.steps
        return max(self.step / self.config.steps, self.spent / (60 * self.options.max_minutes))

    def loader(self, source: PageSource, samples: Samples) -> DataLoader:
        options = self.options
        pages = PagePool(
            source, samples, self.config.samples_per_page, self.config.pool, self.config.batch_size,
            seed=(options.seed, self.processes.rank), start=self.step * options.accumulate,
        )  # fmt: skip
        return DataLoader(
            pages, self.config.batch_size, num_workers=options.workers, drop_last=True,
            worker_init_fn=leave_group, prefetch_factor=4 if options.workers else None,
            persistent_workers=options.workers > 0, pin_memory=self.device.type == "cuda",
        )  # fmt: skip

    def learn(self, model: nn.Module, batches: list[list[torch.Tensor]]) -> torch.Tensor:
        """One step: `accumulate` batches, their gradients, the weights moved. Returns the mean loss."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.progress(), self.config)
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for index, batch in enumerate(batches):
            image, *target = (part.to(self.device, non_blocking=True) for part in batch)
            image = image.permute(0, 3, 1, 2).float().div_(255)
            more = index + 1 < len(batches)
            with model.no_sync() if more and isinstance(model, DistributedDataParallel) else nullcontext():
                loss = self.stage.loss(model(image), target, self.net) / len(batches)
                loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.average.update(self.net)
        self.step += 1
        return total

    def run(self) -> Path | None:
        """Train until steps or minutes are over, or a signal comes; returns the checkpoint of the best."""
        options, processes = self.options, self.processes
        if processes.is_main:
            run = self.last.parent
            run.mkdir(parents=True, exist_ok=True)
            remove_partial_files(run)
            self.log = RunLog(run, options.wandb)
        samples = self.stage.samples(self.net)
        source, validation = find_pages(self.stage, samples, options)
        if self.log:
            folders = " and ".join(str(folder) for folder in (options.data, options.records) if folder)
            print(
                f"{self.last.parent.name}: learns from pages of {folders}, validated on {len(validation)}, "
                f"until {options.max_minutes:g} min or {options.steps or self.config.steps} steps",
                flush=True,
            )
        batches = iter(self.loader(source, samples))
        model = processes.wrap(self.net, self.device)
        if not self.step:
            self.save()
        begun = time.monotonic() - self.spent
        saved = validated = logged = time.monotonic()
        running, waited, summed = torch.zeros((), device=self.device), 0.0, 0
        while True:
            self.spent = time.monotonic() - begun
            over = self.stopped or self.progress() >= 1 or self.spent >= 60 * options.max_minutes
            if processes.broadcast_from_main(float(over)):
                break
            self.spent = processes.broadcast_from_main(self.spent)
            mark = time.monotonic()
            taken = self.draw(batches)
            waited += time.monotonic() - mark
            running += self.learn(model, taken)
            summed += 1
            now = time.monotonic()
            validates = now - validated > 60 * options.validate_minutes
            saves = validates or now - saved > SAVE_EVERY
            logs = self.step % options.log_every == 0
            if logs or saves:
                self.check_loss(running)
            if logs:
                if self.log:
                    self.report(self.log, float(running) / summed, summed, now - logged, waited)
                running, waited, summed, logged = torch.zeros_like(running), 0.0, 0, now
            if validates:
                self.validate(validation)
                validated = time.monotonic()
            if saves:
                self.save()
                saved = time.monotonic()
        self.stopped = bool(
            processes.broadcast_from_main(float(self.stopped))
        )  # none goes on to another run alone
        self.check_loss(running)
        if not self.stopped:
            self.validate(validation)
        self.save()
        if self.log:
            print(self.outcome())
        return None if self.stopped else self.best

    def outcome(self) -> str:
        """How the run ended, in a line."""
        if self.stopped:
            return f"stopped by a signal after {self.step} steps; --resume goes on"
        ended = f"{self.best}: best score {self.best_score:.4f} after {self.step} steps"
        if self.step < (self.options.steps or 0):
            return f"{ended} of {self.options.steps}; --resume with more --max-minutes goes on"
        return ended

    def draw(self, batches: Iterator[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
        """The next step's batches; what went wrong in a loader's process is told in a line."""
        try:
            return [next(batches) for _ in range(self.options.accumulate)]
        except ValueError as error:  # torch puts the worker's traceback before what it says
            raise ValueError(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from error

    def check_loss(self, running: torch.Tensor) -> None:
        if not torch.isfinite(running):
            raise ValueError(
                f"{self.last.parent}: the loss is no longer finite at step {self.step}; what was saved "
                "before is kept, a lower learning_rate (--set) may help"
            )

    def report(self, log: RunLog, loss: float, steps: int, seconds: float, waited: float) -> None:
        rate = steps * self.batch / seconds
        pace = self.optimizer.param_groups[0]["lr"]
        print(
            f"{self.last.parent.name} step {self.step} {self.spent / 60:.1f} min loss {loss:.4f} "
            f"lr {pace:.1e} {rate:.2f} images/s, waited {100 * waited / seconds:.0f} %",
            flush=True,
        )
        log.numbers(self.step, {"loss": loss, "lr": pace, "images_per_s": rate, "waited": waited / seconds})

    def stop(self, *_) -> None:
        """For a signal: end after the step in hand, with everything saved."""
        self.stopped = True


def leave_group(worker: int) -> None:
    """Ctrl-C and `timeout` signal a whole group of processes; the trainer alone says when its loaders end.

    They heed SIGTERM all the same: it is how one that hangs is ended.
    """
    if sys.platform != "win32":
        os.setsid()


def train(stage: Stage, config: NetworkConfig, name: str, options: Options) -> Path | None:
    """Train one stage in options.runs / name; returns the checkpoint of the best weights.

    None when a signal stopped it. Raises ValueError when the loss is no longer finite, CheckpointError when
    what is to be resumed or started from does not fit.
    """
    training = Training(stage, config, options.runs / name, options)
    handlers = {number: signal.signal(number, training.stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        with folder_lock(options.runs / name) if training.processes.is_main else nullcontext():
            try:
                return training.run()
            finally:
                if training.log:
                    training.log.close(failed=sys.exc_info()[0] is not None)
    except RuntimeError as error:  # torch raises it wherever the trainer is just then
        if "DataLoader worker" not in str(error):
            raise
        raise ValueError(f"{error} --resume goes on from {training.last}") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
