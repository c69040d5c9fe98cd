"""What predict.py and evaluate.py are asked for in the same words: how pages are read, where, how fast."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from configs.layouts import find_layout
from configs.page import MM_PER_MV, MM_PER_SECOND
from digitization.layout.page import Known
from digitization.options import DigitizerOptions
from digitization.signal.decode import MERGES
from models.checkpoint import CLOSE_UPS, LANDMARKS, STAGE2_LAYOUTS, checkpoint_path
from utils.command import positive_int
from utils.device import add_precision_argument

ANY_LAYOUT, COMPETITION_PAGE = "any", "competition"  # values of --layout beside names of layouts
MIN_SCALE, MAX_SCALE = 1.0, 200.0  # range of paper speeds and gains that pages have


def add_digitizer_arguments(parser: argparse.ArgumentParser, layout: str = ANY_LAYOUT) -> None:
    """All of DigitizerOptions but the checkpoints of stages 0 and 1, and an Engine's --workers and --threads.

    `layout` is the default of --layout. --tta and --tta-mirrored become the list args.tta.
    """
    parser.add_argument(
        "--layout",
        default=layout,
        help=f"layout of the pages: {ANY_LAYOUT} (recognized page by page), {COMPETITION_PAGE} (the "
        "competition's page and no other), or one by name: 3x4+II, 6x2, 12x1, 6x1-limb, cabrera-6x2 ..., see "
        "configs/layouts.py (default: %(default)s)",
    )
    parser.add_argument(
        "--speed", type=scale, help="paper speed of the pages in mm/s (default: as seen on each)"
    )
    parser.add_argument("--gain", type=scale, help="gain of the pages in mm/mV (default: as seen on each)")
    parser.add_argument(
        "--stage2",
        "--weights",
        type=Path,
        nargs="+",
        help="checkpoint of stage 2, or several whose readings are merged (default: the shipped stage2.pt)",
    )
    for name, path, what in (
        ("landmarks", checkpoint_path(LANDMARKS), "that finds what is on a page of any layout"),
        (
            "close-ups",
            checkpoint_path(CLOSE_UPS),
            "that sees closely where rows begin and leads meet on such a page",
        ),
        ("stage2-layouts", STAGE2_LAYOUTS, "of stage 2 for any layout but the competition's"),
    ):
        parser.add_argument(
            f"--{name}",
            type=Path,
            default=path,
            help=f"checkpoint of the network {what} (default: checkpoints/{path.name})",
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


def scale(text: str) -> float:
    """A paper speed or gain; argparse.ArgumentTypeError for one that no page has."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not MIN_SCALE <= value <= MAX_SCALE:
        raise argparse.ArgumentTypeError(f"{text}: must be a number from {MIN_SCALE:g} to {MAX_SCALE:g}")
    return value


def known_of(args: argparse.Namespace, is_competition: bool = False) -> Known:
    """What --layout, --speed and --gain say; ValueError for a layout that does not exist.

    `is_competition` says that the pages are the competition's, which goes with no other layout.
    """
    if is_competition or args.layout == COMPETITION_PAGE:
        if args.layout not in (ANY_LAYOUT, COMPETITION_PAGE):
            raise ValueError(f"--layout {args.layout}: the pages of test.csv are the competition's")
        if (args.speed or MM_PER_SECOND, args.gain or MM_PER_MV) != (MM_PER_SECOND, MM_PER_MV):
            raise ValueError(
                f"--speed and --gain: the competition's page has {MM_PER_SECOND:g} mm/s, {MM_PER_MV:g} mm/mV"
            )
        return Known(competition=True)
    layout = None if args.layout == ANY_LAYOUT else find_layout(args.layout)
    return Known(layout, args.speed, args.gain)


def digitizer_options(
    args: argparse.Namespace,
    stage0: Path,
    stage1: Path,
    stage2: Sequence[Path],
    is_competition: bool = False,
) -> DigitizerOptions:
    """What the arguments of add_digitizer_arguments ask for, with these checkpoints; errors of known_of."""
    return DigitizerOptions(
        stage0, stage1, tuple(stage2), tuple(args.tta), args.merge, args.impute, args.device, args.precision,
        args.landmarks, args.stage2_layouts, known_of(args, is_competition), args.close_ups,
    )  # fmt: skip
