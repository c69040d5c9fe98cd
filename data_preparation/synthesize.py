"""Make a training folder like the competition's of synthetic pages, with exact labels beside the images.

Every record becomes OUT/train/<id>/<id>.csv, one <id>-<type>.png per image type, and <id>-<type>.labels.npz
with gridpoint_xy (44, 57, 2) and leadpoint_xy (13, 2) float32 px of that image, orientation (0..7),
has_pulse, and slip_columns, slip_lost (n,) and slip_slant of the slices of paper that a scanner lost
(synthesis/slip.py). OUT/train.csv lists them. Records that are complete are left alone, so an interrupted run
goes on where it stopped; the same seed makes the same files with any number of workers.
"""

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.layouts import mask_unprinted
from configs.page import DURATION_S, IMAGE_TYPES, SAMPLING_RATES
from datasets.competition import (
    DATA,
    TRAIN_COLUMNS,
    image_path,
    read_train_table,
    record_path,
    write_train_table,
)
from datasets.labels import labels_path, write_labels
from digitization.record_files import write_record
from synthesis.capture import capture
from synthesis.page import draw_page
from synthesis.signals import (
    PACED_SHARE,
    deepfake_record,
    find_records,
    is_heldout,
    pace,
    read_record,
    resample,
    vary,
)
from utils.command import positive_int, progress
from utils.device import use_one_thread
from utils.images import write_png
from utils.workers import map_unordered

TYPES_HELP = (
    f"image types to draw, of {', '.join(IMAGE_TYPES)}: 0001 the print itself, 0003, 0004, 0011, 0012 scans, "
    "0005, 0009, 0010 photos of paper, 0006 photos of a screen (default: all)"
)
PART_HELP = (
    "records that training may use (train), those kept from it (heldout), or all (default: %(default)s)"
)
SLIP_CHOICES = {"some": None, "all": True, "none": False}
ID_RANGE = (10**8, 2**32)  # nine or ten digits, as the competition's


@dataclass(frozen=True)
class Task:
    """One record to be made; `source` is a WFDB header, or None for a made-up heart."""

    root: Path
    id: str
    source: Path | None
    fs: int
    types: tuple[str, ...]
    seed: tuple[int, int]
    slips: bool | None = None
    paced: float = PACED_SHARE  # chance of pacing spikes

    def labels_path(self, image_type: str) -> Path:
        return labels_path(image_path(self.root, self.id, image_type))

    def is_complete(self) -> bool:
        files = [record_path(self.root, self.id)]
        for image_type in self.types:
            files += [image_path(self.root, self.id, image_type), self.labels_path(image_type)]
        return all(file.is_file() for file in files)


def make_record(task: Task) -> None:
    """Write a record's signals, its images and their labels; every file is whole or not there."""
    rng = np.random.default_rng(task.seed)
    record = vary(read_record(task.source) if task.source else deepfake_record(rng), rng, paced=0)
    record = replace(record, leads=resample(record.leads, record.fs, task.fs), fs=task.fs)
    if rng.random() < task.paced:  # at the rate of the page, which a spike's one sample would not survive
        record = pace(record, rng)
    write_record(record_path(task.root, task.id), mask_unprinted(record.leads), task.fs)
    for image_type in task.types:
        rng = np.random.default_rng((*task.seed, IMAGE_TYPES.index(image_type)))
        page = draw_page(record, rng, image_type)
        taken = capture(page, image_type, rng, slips=task.slips)
        write_png(image_path(task.root, task.id, image_type), taken.image)
        write_labels(task.labels_path(image_type), taken, page.has_pulse)


def try_record(task: Task) -> str | None:
    """make_record; returns why a record could not be read, None when all went well."""
    try:
        make_record(task)
    except ValueError as error:
        return str(error)
    return None


def new_ids(seed: int, count: int) -> list[str]:
    """`count` different ids; fewer of the same seed are the first of them."""
    rng = np.random.default_rng(seed)
    ids: dict[str, None] = {}
    while len(ids) < count:
        ids[str(rng.integers(*ID_RANGE))] = None
    return list(ids)


def find_sources(records: Path | None, part: str, skip: int = 0) -> Sequence[Path | None]:
    """The records to draw: those of a part below a folder, or the one None that stands for made-up hearts.

    They are sorted by path; `skip` leaves out so many of the first.
    """
    if records is None:
        if part != "all":
            raise ValueError(f"--part {part} needs --records: made-up hearts are not divided")
        return [None]
    wanted = {"all": (False, True), "train": (False,), "heldout": (True,)}[part]
    paths = [path for path in find_records(records) if is_heldout(path.stem) in wanted]
    if not paths[skip:]:
        beyond = f" after the first {skip}" if skip else ""
        raise ValueError(f"{records}: no records (*.hea) of part {part!r}{beyond}")
    return paths[skip:]


def list_in_train_table(root: Path, tasks: list[Task]) -> None:
    """Add the records to train.csv, after those that it has already."""
    rows = [(task.id, task.fs, round(DURATION_S * task.fs)) for task in tasks]
    table = pd.DataFrame(rows, columns=list(TRAIN_COLUMNS))
    if (root / "train.csv").exists():
        table = pd.concat([read_train_table(root), table]).drop_duplicates("id")
    write_train_table(root, table)


def synthesize_folder(
    root: Path,
    records: Path | None,
    count: int,
    seed: int,
    types: tuple[str, ...] = IMAGE_TYPES,
    part: str = "all",
    workers: int = 1,
    skip: int = 0,
    slips: bool | None = None,
    paced: float = PACED_SHARE,
) -> list[str]:
    """Make `count` records below `root`, cycling through the sources and the six sampling rates.

    `slips` says whether the scanner of scans loses its grip, None leaves it to chance; `paced` is the share
    of records with pacing spikes. Returns why records could not be made; all others are listed in train.csv.
    """
    sources = find_sources(records, part, skip)
    tasks = [
        Task(
            root,
            record_id,
            sources[index % len(sources)],
            SAMPLING_RATES[index % len(SAMPLING_RATES)],
            types,
            (seed, index),
            slips,
            paced,
        )
        for index, record_id in enumerate(new_ids(seed, count))
    ]
    undone = [task for task in tasks if not task.is_complete()]
    if (root / "train.csv").exists():
        read_train_table(root)  # a broken table is better known before the drawing
    failed = {}
    outcomes = map_unordered(try_record, undone, workers, use_one_thread)
    for task, reason in progress(outcomes, count, "record", done=count - len(undone)):
        if reason:
            failed[task.id] = str(reason)
    made = [task for task in tasks if task.id not in failed]
    if made:
        list_in_train_table(root, made)
    return list(dict.fromkeys(failed.values()))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--records",
        type=Path,
        help="folder with WFDB records (default: simulated ones of the package deepfake-ecg)",
    )
    parser.add_argument("--out", type=Path, default=DATA, help="folder to write to (default: %(default)s)")
    parser.add_argument(
        "--count",
        type=positive_int,
        default=100,
        help="number of records, each becomes a page of every type (default: %(default)s)",
    )
    parser.add_argument(
        "--types", nargs="+", choices=IMAGE_TYPES, default=IMAGE_TYPES, metavar="TYPE", help=TYPES_HELP
    )
    parser.add_argument("--part", choices=("all", "train", "heldout"), default="all", help=PART_HELP)
    parser.add_argument(
        "--skip", type=int, default=0, help="number of the first records of --part to leave out"
    )
    parser.add_argument(
        "--paced",
        type=float,
        default=PACED_SHARE,
        help="share of records, 0 to 1, to which pacing spikes are added (default: %(default)s)",
    )
    parser.add_argument(
        "--workers", type=positive_int, default=1, help="number of processes (default: %(default)s)"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of all random numbers (default: %(default)s)"
    )
    parser.add_argument(
        "--slips",
        choices=SLIP_CHOICES,
        default="some",
        help="scans on which the paper slips, so that a slice of it is missing; all else is the same "
        "(default: some, three in four)",
    )
    args = parser.parse_args()
    if args.seed < 0:
        parser.error("--seed is at least 0")
    if args.skip < 0 or (args.skip and args.records is None):
        parser.error("--skip is at least 0, and of --records")
    if not 0 <= args.paced <= 1:
        parser.error("--paced is from 0 to 1")
    if args.records is not None and not args.records.is_dir():
        parser.error(f"{args.records}: no such folder")
    try:
        failures = synthesize_folder(
            args.out,
            args.records,
            args.count,
            args.seed,
            tuple(args.types),
            args.part,
            args.workers,
            args.skip,
            SLIP_CHOICES[args.slips],
            args.paced,
        )
    except (ValueError, ImportError, OSError) as error:
        sys.exit(f"synthesize: {error}")
    there = len(read_train_table(args.out)) if (args.out / "train.csv").exists() else 0
    pages = f"{there} records, {len(args.types)} pages of each" if there else "no records"
    print(f"{args.out} holds {pages}; {len(failures)} sources could not be read")
    for reason in failures:
        print(f"failed: {reason}", file=sys.stderr)
    sys.exit(int(bool(failures)))


if __name__ == "__main__":
    main()
