"""What predict.py and evaluate.py are asked for in the same words: how pages are read, where, how fast."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from digitization.options import DigitizerOptions
from digitization.signal.decode import MERGES
from utils.command import positive_int
from utils.device import add_precision_argument


def add_digitizer_arguments(parser: argparse.ArgumentParser) -> None:
    """All of DigitizerOptions but the checkpoints of stages 0 and 1, and an Engine's --workers and --threads.

    --tta and --tta-mirrored become the list args.tta.
    """
    parser.add_argument(
        "--stage2",
        "--weights",
        type=Path,
        nargs="+",
        help="checkpoint of stage 2, or several whose readings are merged (default: the shipped stage2.pt)",
    )
    parser.add_argument(
        "--tta",
        action="append_const",
        const="moved",
        default=[],
        help="test-time augmentation: read each page a second time, moved by a fraction of a square",
    )
    parser.add_argument(
        "--tta-mirrored",
        action="append_const",
        const="mirrored",
        dest="tta",
        help="test-time augmentation: read the mirrored page too; the shipped network was not trained for it",
    )
    parser.add_argument(
        "--merge",
        choices=MERGES,
        default="mean",
        help="how readings of several networks and views become one, weighted by confidence (default: mean)",
    )
    parser.add_argument(
        "--no-impute",
        action="store_false",
        dest="impute",
        help="interpolate over gaps, rather than impute what the page hardly shows from other beats",
    )
    add_precision_argument(parser)
    parser.add_argument(
        "--device", help="cpu, cuda:0, cuda:0,cuda:1 ... (default: all CUDA devices, else the CPU)"
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        help="number of processes, about 1.5 GB each (default: 1, for many pages up to 4)",
    )
    parser.add_argument(
        "--threads",
        type=int,
        help="number of torch threads on the CPU, with a single worker (default: torch's)",
    )


def digitizer_options(
    args: argparse.Namespace, stage0: Path, stage1: Path, stage2: Sequence[Path]
) -> DigitizerOptions:
    """What the arguments of add_digitizer_arguments ask for, with these checkpoints."""
    return DigitizerOptions(
        stage0, stage1, tuple(stage2), tuple(args.tta), args.merge, args.impute, args.device, args.precision
    )
