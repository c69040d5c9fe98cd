"""Train a stage: python train.py [--stage 0|1|2|all] [--config NAME] --records DIR | --data DIR [--fold K].

With --records all stages learn from synthetic pages of those WFDB records, drawn on the fly. With --data
stage 2 learns from the pages that prepare_inputs.py has straightened, without those of one fold, on which it
is scored; with both, from a mixture. Several GPUs: torchrun --nproc-per-node N train.py ...
"""

import argparse
import importlib
import math
import sys
from dataclasses import fields, replace
from pathlib import Path

from datasets.competition import read_folds
from training.loop import Options, train
from training.processes import leave_processes
from training.stages import STAGES
from utils.checkpoint import NETWORKS, CheckpointError
from utils.device import add_precision_argument, limit_threads

INTERRUPTED = 130  # exit code, as a shell gives it for Ctrl-C
DEFAULT_CONFIGS = {0: "stage0_compact", 1: "stage1_compact", 2: "compact"}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--stage", default="2", choices=["0", "1", "2", "all"])
    parser.add_argument(
        "--config", help="module of configs/ with a `config` (default: the shipped network's)"
    )
    parser.add_argument(
        "--records",
        "--synthetic",
        type=Path,
        help="folder with WFDB records (*.hea), to draw synthetic pages of",
    )
    parser.add_argument("--data", type=Path, help="folder with train/, train_folds.csv and the masks")
    parser.add_argument("--outputs", type=Path, default=Path("outputs"), help="where prepare_inputs.py wrote")
    parser.add_argument(
        "--fold",
        default="0",
        help="of --data: held back for validation (default 0); all trains one after another",
    )
    parser.add_argument(
        "--synthetic-share",
        type=float,
        default=0.5,
        help="of the pages, where --records and --data are given",
    )
    parser.add_argument(
        "--runs", type=Path, default=Path("runs"), help="folder for <config>/last.pt, stageN.pt"
    )
    parser.add_argument("--device", help="cpu, cuda, ... (default: CUDA when there is one)")
    add_precision_argument(parser)
    parser.add_argument("--workers", type=int, default=1, help="processes that draw pages")
    parser.add_argument("--threads", type=int, help="torch threads of the training process")
    parser.add_argument("--max-minutes", type=float, default=60.0, help="per stage, resumed time counted in")
    parser.add_argument(
        "--steps",
        type=int,
        help="of the schedule, which then does not depend on --max-minutes; these still end the run",
    )
    parser.add_argument("--validate-minutes", type=float, default=8.0)
    parser.add_argument("--validation-pages", type=int, default=9)
    parser.add_argument("--log-every", type=int, default=20, help="steps")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--batch-size", type=int, help="of one process (default: the configuration's)")
    parser.add_argument(
        "--learning-rate", type=float, help="at its peak (default: the configuration's); less after --init"
    )
    parser.add_argument("--accumulate", type=int, default=1, help="batches whose gradients make one step")
    parser.add_argument(
        "--checkpointing",
        action="store_true",
        help="compute features twice rather than keep them: less memory",
    )
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases too")
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
        "learning_rate",
        "steps",
        "accumulate",
    ):
        value = getattr(args, option)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{option.replace('_', '-')} {value}: must be above 0, and finite")
    if not (args.records or args.data):
        parser.error("what to learn from? --records DIR, --data DIR or both")
    if not 0 <= args.synthetic_share <= 1:
        parser.error(f"--synthetic-share {args.synthetic_share}: must be in 0..1")
    if args.fold != "all" and not args.fold.isdecimal():
        parser.error(f"--fold {args.fold}: a number, or all")
    if args.fold == "all" and not args.data:
        parser.error("--fold all: of --data")
    if args.workers < 0 or not 0 <= args.seed < 2**63:
        parser.error("--workers and --seed must not be negative, nor --seed above 2^63")
    if args.config and not args.config.isidentifier():
        parser.error(f"--config {args.config}: the name of a module of configs/")
    if args.config and args.stage == "all":
        parser.error("--config names one network: give its --stage")
    if args.data and args.stage != "2":
        parser.error("--data has no labels for stages 0 and 1: train them with --records")
    return args


def main() -> int:
    """Returns the exit code."""
    args = parse_arguments()
    limit_threads(args.threads)
    given = {field.name: getattr(args, field.name) for field in fields(Options)}
    numbers = [0, 1, 2] if args.stage == "all" else [int(args.stage)]
    folds = sorted(set(read_folds(args.data)["fold"])) if args.fold == "all" else [int(args.fold)]
    for number in numbers:
        name = args.config if args.config and len(numbers) == 1 else DEFAULT_CONFIGS[number]
        config = getattr(importlib.import_module(f"configs.{name}"), "config", None)
        if not isinstance(config, NETWORKS[number][1]):
            raise ValueError(f"--config {name}: not a configuration of stage {number}")
        for option in ("batch_size", "learning_rate"):
            if getattr(args, option):
                config = replace(config, **{option: getattr(args, option)})
        if args.debug:
            config = replace(config, steps=3, pool=2, batch_size=2)
            given |= {"validation_pages": 1, "workers": 0, "log_every": 1}
        for fold in folds:
            run = f"{name}_fold{fold}" if args.fold == "all" else name
            if train(STAGES[number], config, run, Options(**(given | {"fold": fold}))) is None:
                return INTERRUPTED
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError, CheckpointError, ModuleNotFoundError) as error:
        sys.exit(f"train.py: {error}")
    finally:
        leave_processes()
