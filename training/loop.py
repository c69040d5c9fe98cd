"""The training loop of all stages: AdamW, a one-cycle schedule, averaged weights and mixed precision."""

import math
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path

import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from configs.network import NetworkConfig
from datasets.pages import PagePool, PageSource, Samples
from models import checkpoint
from models.checkpoint import CheckpointError, read_checkpoint, rename_fields, save_network
from models.unet import UNet
from training.log import RunLog
from training.meter import Interval, Meter
from training.options import Options
from training.processes import join_processes, start_session
from training.stages import Stage, ValidationPage, find_pages
from training.weights import average_weights, copy_weights, learning_rate_at
from utils.device import choose_device, choose_precision
from utils.files import folder_lock, remove_partial_files

SAVE_SECONDS = 120.0  # time between saves of last.pt, the most that a killed run loses
# Keys of last.pt beside the weights.
STATE_KEYS = {"average", "optimizer", "step", "spent", "best_score", "rng", "recipe"}


class Training:
    """A training run in the folder `run`: its state is saved as last.pt, the best network as stageN.pt."""

    def __init__(self, stage: Stage, config: NetworkConfig, run: Path, options: Options):
        self.stage, self.config, self.options = stage, config, options
        self.processes, self.device = join_processes(choose_device(options.device))
        self.last, self.best = run / "last.pt", run / f"{checkpoint.network_name(stage.number)}.pt"
        if self.last.exists() and not options.resume:
            raise ValueError(
                f"{self.last}: a run is there already; continue it with --resume, or choose another --runs"
            )
        torch.manual_seed(options.seed)
        self.net: UNet = stage.build(config, pretrained=options.pretrained).to(self.device)
        self.net.checkpointing = options.checkpointing
        self.net.precision = choose_precision(options.precision, self.device)
        if self.device.type == "cpu" and self.net.precision == torch.bfloat16:
            self.net.to(memory_format=torch.channels_last)  # the layout of AMX; float32 is no faster with it
        if options.init:
            copy_weights(self.net, options.init)
        self.average = average_weights(self.net, config.ema_decay)
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
        if missing := STATE_KEYS.difference(state):
            raise CheckpointError(
                f"{self.last}: not the state of a training run, {', '.join(sorted(missing))} missing"
            )
        try:
            recipe = self.recipe()
            # Fields that were added after the run began have their defaults.
            saved = asdict(type(self.config)()) | rename_fields(state["recipe"])
            if changed := sorted(name for name in recipe if saved.get(name) != recipe[name]):
                raise CheckpointError(f"begun with another {', '.join(changed)}; choose another --runs")
            self.net.load_state_dict(state["state_dict"])
            self.average.module.load_state_dict(state["average"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.step, self.spent, self.best_score = state["step"], state["spent"], state["best_score"]
            self.average.n_averaged.fill_(self.step)
            if self.processes.is_main:
                torch.set_rng_state(state["rng"])
        except CheckpointError as error:
            raise CheckpointError(f"{self.last}: {error}") from None
        except Exception as error:  # torch raises exceptions of many types on damaged files
            raise CheckpointError(f"{self.last}: damaged ({type(error).__name__})") from error
        print(f"resumed {self.last} at step {self.step}, {self.spent / 60:.1f} min")

    def recipe(self) -> dict:
        """The settings that must not change when a run is resumed."""
        options = self.options
        pages = {name: getattr(options, name) for name in ("fold", "seed", "accumulate")}
        return {"stage": self.stage.number, "processes": self.processes.count} | pages | asdict(self.config)

    def save(self) -> None:
        if not self.processes.is_main:
            return
        progress = {"step": self.step, "spent": self.spent, "best_score": self.best_score}
        networks = {"state_dict": self.net.state_dict(), "average": self.average.module.state_dict()}
        state = {"optimizer": self.optimizer.state_dict(), "rng": torch.get_rng_state()}
        checkpoint.write_torch(self.last, {**networks, **state, **progress, "recipe": self.recipe()})

    def validate(self, pages: list[ValidationPage]) -> None:
        if not self.log:
            return
        net = self.average.module
        assert isinstance(net, UNet)
        score, facts = self.stage.validate(net, pages, self.device)
        listed = "  ".join(f"{key} {value:.3f}" for key, value in facts.items())
        print(f"{self.last.parent.name} step {self.step} validation: {listed}", flush=True)
        self.log.scalars(self.step, {f"validation/{key}": value for key, value in facts.items()})
        picture = self.stage.preview(net, pages[0], self.device)
        if picture is not None:
            self.log.image(self.step, "validation/page", picture)
        if score > self.best_score:
            self.best_score = score
            training = {"steps": self.step, "minutes": self.spent / 60, "images": self.step * self.batch}
            training |= {"seed": self.options.seed}
            save_network(self.best, net, self.stage.number, validation=facts, training=training)

    @property
    def batch(self) -> int:
        """Images per step, over all processes."""
        return self.config.batch_size * self.options.accumulate * self.processes.count

    def progress(self) -> float:
        """Progress from 0 to 1: the share of the steps, or of the minutes where that is greater.

        If options.steps is given it alone sets the schedule, so that interruptions do not change the result.
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
            worker_init_fn=start_session, prefetch_factor=4 if options.workers else None,
            persistent_workers=options.workers > 0, pin_memory=self.device.type == "cuda",
        )  # fmt: skip

    def train_step(self, model: nn.Module, batches: list[list[torch.Tensor]]) -> torch.Tensor:
        """One optimizer step on `accumulate` batches. Returns the mean loss, a scalar on the device."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate_at(self.progress(), self.config)
        self.net.train()
        self.optimizer.zero_grad(set_to_none=True)
        total = torch.zeros((), device=self.device)
        for index, batch in enumerate(batches):
            image, *target = (part.to(self.device, non_blocking=True) for part in batch)
            image = image.permute(0, 3, 1, 2).float().div_(255)
            accumulates = index + 1 < len(batches)
            with (
                model.no_sync()
                if accumulates and isinstance(model, DistributedDataParallel)
                else nullcontext()
            ):
                loss = self.stage.loss(model(image), target, self.net) / len(batches)
                loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.config.gradient_clip)
        self.optimizer.step()
        self.average.update_parameters(self.net)
        self.step += 1
        return total

    def run(self) -> Path | None:
        """Train until steps or minutes are over; returns the best checkpoint, None if a signal came."""
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
                f"{self.last.parent.name}: trains on pages of {folders}, validates on {len(validation)}, "
                f"until {options.max_minutes:g} min or {options.steps or self.config.steps} steps",
                flush=True,
            )
        batches = iter(self.loader(source, samples))
        model = processes.wrap(self.net, self.device)
        if not self.step:
            self.save()
        started = time.monotonic() - self.spent
        meter, saving = Meter(self.device), Interval(SAVE_SECONDS)
        validating = Interval(60 * options.validate_minutes)
        while not self.is_over(started):
            requested = time.monotonic()
            step_batches = self.next_batches(batches)
            waited = time.monotonic() - requested
            meter.add(self.train_step(model, step_batches), waited)
            is_logged = self.step % options.log_every == 0
            is_validated = validating.is_over
            is_saved = is_validated or saving.is_over
            if is_logged or is_saved:
                self.check_loss(meter.loss)
            if is_logged:
                self.report(meter)
                meter.restart()
            if is_validated:
                self.validate(validation)
                validating.restart()
            if is_saved:
                self.save()
                saving.restart()
        self.stopped = bool(processes.broadcast_from_main(float(self.stopped)))  # all processes stop alike
        self.check_loss(meter.loss)
        if not self.stopped:
            self.validate(validation)
        self.save()
        if self.log:
            print(self.outcome())
        return None if self.stopped else self.best

    def is_over(self, started: float) -> bool:
        """Whether the run, begun at `started` s by time.monotonic, ends now; the same in all processes."""
        self.spent = time.monotonic() - started
        over = self.stopped or self.progress() >= 1 or self.spent >= 60 * self.options.max_minutes
        over = bool(self.processes.broadcast_from_main(float(over)))
        if not over:
            self.spent = self.processes.broadcast_from_main(self.spent)
        return over

    def outcome(self) -> str:
        """A message on how the run ended."""
        if self.stopped:
            return f"stopped by a signal after {self.step} steps; continue with --resume"
        ended = f"{self.best}: best score {self.best_score:.4f} after {self.step} steps"
        if self.step < (self.options.steps or 0):
            return f"{ended} of {self.options.steps}; continue with --resume and more --max-minutes"
        return ended

    def next_batches(self, batches: Iterator[list[torch.Tensor]]) -> list[list[torch.Tensor]]:
        """The next step's batches. Raises ValueError with the last line of an error in a loader's process."""
        try:
            return [next(batches) for _ in range(self.options.accumulate)]
        except ValueError as error:  # torch puts the worker's traceback before its message
            raise ValueError(str(error).strip().splitlines()[-1].removeprefix("ValueError: ")) from error

    def check_loss(self, loss: torch.Tensor) -> None:
        """Raise ValueError for a loss, or a sum of losses, that is not finite."""
        if not torch.isfinite(loss):
            raise ValueError(
                f"{self.last.parent}: the loss is no longer finite at step {self.step}; earlier saves are "
                "kept, and a lower learning_rate (--set) may help"
            )

    def report(self, meter: Meter) -> None:
        """Print and log the mean loss and the speed since the last log line."""
        if not self.log:
            return
        loss, seconds, waited = float(meter.loss) / meter.steps, meter.seconds, meter.waited / meter.seconds
        images_per_s = meter.steps * self.batch / seconds
        learning_rate = self.optimizer.param_groups[0]["lr"]
        print(
            f"{self.last.parent.name} step {self.step} {self.spent / 60:.1f} min loss {loss:.4f} "
            f"lr {learning_rate:.1e} {images_per_s:.2f} images/s, waited {100 * waited:.0f} %",
            flush=True,
        )
        numbers = {"loss": loss, "lr": learning_rate, "images_per_s": images_per_s, "waited": waited}
        self.log.scalars(self.step, numbers)

    def stop(self, *_) -> None:
        """Signal handler: end after the current step and save everything."""
        self.stopped = True


def train(stage: Stage, config: NetworkConfig, name: str, options: Options) -> Path | None:
    """Train one stage in options.runs / name; returns the checkpoint of the best weights.

    Returns None when a signal stopped the run. Raises ValueError when the loss is no longer finite,
    CheckpointError when the checkpoint to resume or start from does not fit.
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
    except RuntimeError as error:  # torch raises it at an arbitrary line
        if "DataLoader worker" not in str(error):
            raise
        raise ValueError(f"{error} --resume goes on from {training.last}.") from error
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
