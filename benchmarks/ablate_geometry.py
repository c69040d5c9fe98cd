"""Ablation of the training of stages 0 and 1, measured by how well pages and their grids are found.

    python benchmarks/ablate_geometry.py RECORDS DATA

Each variant fine-tunes the shipped weights of one stage for the same number of steps with the same seed, but
without one part of the training. It is then measured on the pages of DATA, made by synthesize.py, together
with the shipped weights of the other stage. `shipped` has no additional steps. The table has a row for each
variant; its columns are those of benchmarks/grid_accuracy.py.
"""

import argparse
import shutil
import sys
import tempfile
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.grid_accuracy import list_pages, measure_all, summarize
from configs.page import FLAT_TYPES
from configs.stage0_compact import config as stage0
from configs.stage1_compact import config as stage1
from models.checkpoint import CHECKPOINTS
from training.loop import train
from training.options import Options
from training.stages import STAGES
from utils.command import positive_int, run_main
from utils.device import limit_threads

VARIANTS: dict[str, tuple[int, dict | None]] = {
    "shipped": (0, None),
    "stage 0: all": (0, {}),
    "stage 0: no new colours": (0, {"colour_augmentation": False}),
    "stage 0: no new places": (0, {"geometric_augmentation": False}),
    "stage 0: flat types only": (0, {"image_types": FLAT_TYPES}),
    "stage 1: all": (1, {}),
    "stage 1: no new colours": (1, {"colour_augmentation": False}),
    "stage 1: stage 0 without errors": (1, {"keypoint_error": 0.0}),
    "stage 1: flat types only": (1, {"image_types": FLAT_TYPES}),
}


def train_variant(number: int, change: dict, checkpoints: Path, args: Namespace) -> None:
    """Train a variant of stage `number` and copy its weights into the folder `checkpoints`.

    `change` holds the fields of the configuration that differ from the shipped one's.
    """
    config = replace((stage0, stage1)[number], **change, learning_rate=args.learning_rate)
    options = Options(
        records=args.records,
        runs=checkpoints / "runs",
        init=CHECKPOINTS / f"stage{number}.pt",
        device=args.device,
        steps=args.steps,
        max_minutes=600.0,
        validate_minutes=600.0,
        validation_pages=1,
        log_every=50,
    )
    best = train(STAGES[number], config, "variant", options)
    if best is None:
        raise KeyboardInterrupt
    shutil.copy(best, checkpoints)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="folder with WFDB records (*.hea)")
    parser.add_argument("data", type=Path, help="folder with train/, made by synthesize.py --part heldout")
    parser.add_argument(
        "--types", nargs="+", default=["0003", "0005", "0010"], help="image types (default: %(default)s)"
    )
    parser.add_argument(
        "--steps", type=positive_int, default=150, help="training steps (default: %(default)s)"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="default: %(default)s")
    parser.add_argument("--only", default="", help="only variants whose name contains this text")
    parser.add_argument("--workers", type=positive_int, default=1, help="worker processes (default: 1)")
    parser.add_argument("--threads", type=positive_int, help="torch threads on the CPU")
    parser.add_argument("--device", help="device for training (default: CUDA if available, else cpu)")
    args = parser.parse_args()
    limit_threads(args.threads)
    pages = list_pages([args.data], args.types)
    rows = {}
    for name, (number, change) in VARIANTS.items():
        if args.only not in name:
            continue
        with tempfile.TemporaryDirectory() as folder:
            for path in CHECKPOINTS.glob("stage[01].pt"):
                shutil.copy(path, folder)
            if change is not None:
                train_variant(number, change, Path(folder), args)
            rows[name] = summarize(measure_all(pages, args.workers, Path(folder)))
            print(name, rows[name].to_dict(), file=sys.stderr)
    print(pd.DataFrame(rows).T.to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
