"""Train a stage: python train.py [--stage N] [--config NAME] [--data DIR] [--records DIR] [--fold K].

Without --data and --records the data are those in data/. From --data stage 2 learns from the pages that
prepare_inputs.py has straightened, stages 0 and 1 from the images that synthesize.py has labelled, all of
them without the records of one fold, on which the network is scored. With --records a stage learns from
synthetic pages of those WFDB records, drawn on the fly; with both, from a mixture. Any value of a
configuration can be changed by name: --set batch_size=8. Several GPUs: torchrun --nproc-per-node N train.py

Exit code: 0 trained; 1 nothing could be done; 2 the command was not understood; 130 stopped by a signal, and
--resume goes on.
"""

import argparse
import importlib
import math
import sys
from dataclasses import fields, replace
from pathlib import Path

from configs.changes import change_config, parse_change
from configs.network import NetworkConfig
from datasets.competition import DATA, check_data, read_folds
from models.checkpoint import CLOSE_UPS, LANDMARKS, NETWORKS, CheckpointError
from training.loop import train
from training.options import Options
from training.processes import leave_processes
from training.stages import STAGES
from utils.command import show_log
from utils.device import add_precision_argument, limit_threads

MINUTES_HELP = (
    "minutes of training per stage, those before --resume included; start-up, validation and the step in "
    "hand come on top (default: %(default)s)"
)
INTERRUPTED = 130  # exit code, as a shell gives it for Ctrl-C
DEFAULT_CONFIGS = {
    **{0: "stage0_compact", 1: "stage1_compact", 2: "compact"},
    **{LANDMARKS: "landmarks", CLOSE_UPS: "close_ups"},
}
NUMBERS = {  # of --stage
    **{"0": [0], "1": [1], "2": [2], "all": [0, 1, 2]},
    **{"landmarks": [LANDMARKS], "close_ups": [CLOSE_UPS]},
}


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--stage",
        default="2",
        choices=["0", "1", "2", "landmarks", "close_ups", "all"],
        help="stage to train, or a network of pages of any layout: that of the landmarks, or that of the "
        "close-ups; all: the three stages "
        "(default: %(default)s)",
    )
    parser.add_argument(
        "--config",
        help="configuration to train, the name of a module of configs/: convnextv2, hrnet, ... "
        "(default: the shipped network's)",
    )
    parser.add_argument(
        "--records",
        "--synthetic",
        type=Path,
        help="folder with WFDB records (*.hea) of which synthetic pages are drawn",
    )
    parser.add_argument(
        "--data", type=Path, help="folder with train/ and train_folds.csv (default without --records: data)"
    )
    parser.add_argument(
        "--outputs",
        type=Path,
        default=Path("outputs"),
        help="folder that prepare_inputs.py wrote to (default: %(default)s)",
    )
    parser.add_argument(
        "--fold",
        default="0",
        help="fold of --data held back for validation; all: a network for each fold in turn (default: 0)",
    )
    parser.add_argument(
        "--synthetic-share",
        type=float,
        default=0.5,
        help="share of drawn pages where both --records and --data are given (default: %(default)s)",
    )
    parser.add_argument(
        "--runs",
        type=Path,
        default=Path("runs"),
        help="folder of the runs: <config>/stageN.pt, last.pt, log.csv (default: %(default)s)",
    )
    parser.add_argument("--device", help="cpu, cuda, ... (default: CUDA when there is one)")
    add_precision_argument(parser)
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="number of processes that draw or load pages (default: %(default)s)",
    )
    parser.add_argument(
        "--threads", type=int, help="number of torch threads of the training process (default: torch's)"
    )
    parser.add_argument("--max-minutes", type=float, default=60.0, help=MINUTES_HELP)
    parser.add_argument(
        "--steps",
        type=int,
        help="length of the learning-rate schedule in steps; without it the schedule ends with --max-minutes "
        "or the configuration's steps; --max-minutes end the run in either case",
    )
    parser.add_argument(
        "--validate-minutes",
        type=float,
        default=8.0,
        help="minutes from one validation to the next (default: %(default)s)",
    )
    parser.add_argument(
        "--validation-pages",
        type=int,
        default=9,
        help="number of pages to validate on (default: %(default)s)",
    )
    parser.add_argument(
        "--log-every", type=int, default=20, help="steps from one log line to the next (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)"
    )
    parser.add_argument(
        "--set",
        type=parse_change,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        dest="changes",
        help="change a value of the configuration, batch_size=8 for instance; may be given several times",
    )
    parser.add_argument(
        "--accumulate",
        type=int,
        default=1,
        help="number of batches whose gradients are accumulated for one step (default: 1)",
    )
    parser.add_argument(
        "--checkpointing",
        action="store_true",
        help="compute features twice rather than keep them, which takes less memory",
    )
    parser.add_argument("--wandb", action="store_true", help="log to Weights & Biases too")
    parser.add_argument("--resume", action="store_true", help="go on from runs/<config>/last.pt")
    parser.add_argument("--init", type=Path, help="start from the weights of this checkpoint where they fit")
    parser.add_argument("--pretrained", action="store_true", help="start from ImageNet weights")
    parser.add_argument(
        "--debug",
        action="store_true",
        help="quick check: three steps with batches of 2, validated on one page",
    )
    args = parser.parse_args()
    for option in (
        "max_minutes",
        "validate_minutes",
        "validation_pages",
        "log_every",
        "steps",
        "accumulate",
    ):
        value = getattr(args, option)
        if value is not None and not 0 < value < math.inf:
            parser.error(f"--{option.replace('_', '-')} {value}: must be above 0, and finite")
    if not (args.records or args.data):
        args.data = DATA
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
    return args


def choose_configs(args: argparse.Namespace) -> dict[int, tuple[str, NetworkConfig]]:
    """The stages to train: number -> name of the run and its configuration, with the changes of --set.

    Raises ValueError for a configuration of another stage, and for a change that fits none of them.
    """
    numbers = NUMBERS[args.stage]
    chosen: dict[int, tuple[str, NetworkConfig]] = {}
    for number in numbers:
        name = args.config or DEFAULT_CONFIGS[number]
        config = getattr(importlib.import_module(f"configs.{name}"), "config", None)
        if not isinstance(config, NETWORKS[number][1]):
            raise ValueError(f"--config {name}: not a configuration of stage {number}")
        if args.debug:
            config = replace(config, steps=3, pool=2, batch_size=2)
        chosen[number] = name, config
    for change in args.changes:
        fitting = [number for number in numbers if change[0] in field_names(chosen[number][1])]
        for number in fitting or numbers[:1]:  # the first says which values there are
            name, config = chosen[number]
            chosen[number] = name, change_config(config, [change])
    return chosen


def field_names(config: NetworkConfig) -> set[str]:
    return {field.name for field in fields(config)}


def main() -> int:
    """Returns the exit code."""
    args = parse_arguments()
    chosen = choose_configs(args)
    if args.data:
        check_data(args.data)
    limit_threads(args.threads)
    given = {field.name: getattr(args, field.name) for field in fields(Options)}
    if args.debug:
        given |= {"validation_pages": 1, "workers": 0, "log_every": 1}
    folds = sorted(set(read_folds(args.data)["fold"])) if args.fold == "all" else [int(args.fold)]
    for number, (name, config) in chosen.items():
        for fold in folds:
            run = f"{name}_fold{fold}" if args.fold == "all" else name
            if train(STAGES[number], config, run, Options(**(given | {"fold": fold}))) is None:
                return INTERRUPTED
    return 0


if __name__ == "__main__":
    show_log()
    try:
        sys.exit(main())
    except (ValueError, OSError, CheckpointError, ModuleNotFoundError) as error:
        sys.exit(f"train.py: {error}")
    finally:
        leave_processes()
