"""Draw pages of any layout, as scans and photos, with their true signals and exact labels.

    python data_preparation/synthesize_layouts.py --records PTB-XL --out pages --layouts 6x2 12x1:50 3x4:25:5

A layout is NAME[:SPEED[:GAIN]], see configs/layouts.py; above 25 mm/s rows last five seconds. Of every record
and layout comes OUT/<layout>-<record>-<type>.png with beside it a .csv of the signals in mV, blank where a
lead is not printed, and a .labels.npz: gridpoint_xy (R, C, 2) float32 px of the image, the crossings of the
5 mm lines; zero_lines (rows,) and start, where the rows lie, in squares from the first of these; label_names
and label_xy (N, 2) px; orientation 0..7. The same seed makes the same files; those that are there are left
alone.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.layouts import Layout, mask_unprinted, parse_layout
from configs.page import IMAGE_TYPES
from data_preparation.synthesize import PART_HELP, TYPES_HELP, find_sources
from datasets.labels import labels_path
from digitization.record_files import write_record
from synthesis.layouts.capture import capture_layout
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import Record, read_record, vary
from utils.command import log, positive_int, progress, run_main
from utils.files import atomic_write
from utils.images import write_png


def write_page(path: Path, record: Record, layout: Layout, image_type: str, rng: np.random.Generator) -> None:
    """Draw and capture a page, and write its labels, its signals and, last, its image to `path`."""
    page = draw_layout_page(record, layout, rng)
    taken = capture_layout(page, image_type, rng)
    with atomic_write(labels_path(path)) as partial:
        np.savez(
            partial,
            gridpoint_xy=taken.gridpoint_xy,
            zero_lines=taken.zero_lines,
            start=taken.start,
            label_names=[name for name, *_ in taken.labels],
            label_xy=np.array([xy for _, *xy in taken.labels], np.float32),
            orientation=taken.orientation,
        )
    shown = record.leads[:, : round(layout.duration_s * record.fs)]
    write_record(path.with_suffix(".csv"), mask_unprinted(shown, layout), record.fs, layout.duration_s)
    write_png(path, taken.image)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=Path, required=True, help="folder with WFDB records")
    parser.add_argument("--out", type=Path, required=True, help="folder to write to")
    parser.add_argument(
        "--layouts", type=parse_layout, nargs="+", required=True, metavar="LAYOUT", help="NAME[:SPEED[:GAIN]]"
    )
    parser.add_argument(
        "--count", type=positive_int, default=10, help="number of records (default: %(default)s)"
    )
    parser.add_argument(
        "--types", nargs="+", choices=IMAGE_TYPES, default=IMAGE_TYPES, metavar="TYPE", help=TYPES_HELP
    )
    parser.add_argument("--part", choices=("all", "train", "heldout"), default="all", help=PART_HELP)
    parser.add_argument("--seed", type=int, default=0, help="seed of all random numbers (default: 0)")
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    sources = [path for path in find_sources(args.records, args.part) if path is not None][: args.count]
    tasks = [
        (index, path, layout, image_type)
        for index, path in enumerate(sources)
        for layout in args.layouts
        for image_type in args.types
    ]
    for index, source, layout, image_type in progress(tasks, len(tasks), "page"):
        scales = f"{layout.mm_per_second:g}-{layout.mm_per_mv:g}"
        path = args.out / f"{layout.name}-{scales}-{source.stem}-{image_type}.png"
        if path.exists():
            continue
        number = [args.seed, index, *f"{layout.name}-{scales}-{image_type}".encode()]
        rng = np.random.default_rng(number)
        try:
            write_page(path, vary(read_record(source), rng), layout, image_type, rng)
        except ValueError as error:
            log.warning(f"left out: {path.name}: {error}")


if __name__ == "__main__":
    run_main(main)
