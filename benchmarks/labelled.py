"""Labelled pages for benchmarks of the whole pipeline, and the common command-line arguments."""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from datasets.competition import list_images, record_path
from datasets.labels import read_truth
from digitization.digitizer import Digitizer
from models.checkpoint import CHECKPOINTS
from utils.command import positive_int


class LabelledPage(NamedTuple):
    image_id: str
    type: str
    path: Path
    truth: np.ndarray  # (12, 10 * fs) mV
    fs: int  # Hz


def page_arguments(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that select pages and stage 2's networks."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with train/, made by synthesize.py")
    parser.add_argument("--types", nargs="+", help="image types (default: all)")
    parser.add_argument(
        "--count", type=positive_int, default=10, help="pages of each type (default: %(default)s)"
    )
    parser.add_argument(
        "--stage2", type=Path, nargs="+", default=[CHECKPOINTS / "stage2.pt"], help="checkpoints of stage 2"
    )
    parser.add_argument("--threads", type=positive_int, help="torch threads on the CPU")
    return parser


def open_digitizer(args: argparse.Namespace) -> Digitizer:
    return Digitizer(stage2=args.stage2)


def selected_pages(args: argparse.Namespace) -> Iterator[LabelledPage]:
    """The selected pages, with a progress bar. Raises ValueError when there are none."""
    images = list_images(args.data)
    images = images[images["type"].isin(args.types)] if args.types else images
    images = images[images.groupby("type").cumcount() < args.count]
    if images.empty:
        raise ValueError(f"{args.data}: no images of the types {', '.join(args.types)}")
    for image in tqdm(images.itertuples(), total=len(images), unit="page", disable=None):
        yield LabelledPage(
            image.image_id, image.type, image.path, *read_truth(record_path(args.data, image.record))
        )
