"""What bounds the score of pages of other layouts: their rows, their grid, or the reading of their traces.

    python benchmarks/layout_bounds.py --records RECORDS --count 2

Pages as benchmarks/layouts.py draws them are read with their layout, speed and gain given: `whole` as
predict.py reads them, `rows` with the true zero lines and beginnings on the lattice that was found, `grid`
with the true lattice as well. Means over pages in dB; pages whose paper is not found are left out.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.layouts import MORE_LAYOUTS, compare
from benchmarks.paper_grid import LAYOUTS, PHOTOS, SCANS
from configs.layouts import leads_from_rows, parse_layout
from digitization.digitizer import Digitized, Digitizer
from digitization.geometry.locate import PageNotFound
from digitization.layout.page import Known, LayoutPage
from digitization.layout.reading import read_page
from models.checkpoint import STAGE2_LAYOUTS
from synthesis.layouts.capture import LayoutCapture, capture_layout
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import Record, find_records, is_heldout, read_record
from utils.command import positive_int, run_main
from utils.device import limit_threads
from utils.kaggle_metric import to_db


def true_places(page: LayoutPage, capture: LayoutCapture) -> LayoutPage:
    """The page with the true zero lines and beginning on the lattice found, whose numbering is its own."""
    found, true = page.gridpoint_xy, capture.gridpoint_xy.astype(np.float64)
    middle = found[page.seen][len(found[page.seen]) // 2]
    at = np.argwhere((found == middle).all(axis=-1))[0]
    nearest = np.linalg.norm(true - middle, axis=-1)
    off = np.array(np.unravel_index(nearest.argmin(), nearest.shape)) - at  # (rows, columns)
    return replace(
        page,
        zero_lines=capture.zero_lines - off[0],
        start=capture.start - off[1],
        slant=0.0,
        width=capture.layout.duration_s * capture.layout.mm_per_second / 5.0,
    )


def readings(digitizer: Digitizer, capture: LayoutCapture, record: Record) -> Iterator[tuple[str, Digitized]]:
    """Each way of reading a page. Raises PageNotFound."""
    layout = capture.layout
    known = Known(layout, layout.mm_per_second, layout.mm_per_mv)
    upright, page = digitizer.finder.find(capture.image, known)
    rows = replace(true_places(page, capture), layout=layout)
    grid = replace(
        rows,
        gridpoint_xy=capture.gridpoint_xy,
        seen=np.ones(capture.gridpoint_xy.shape[:2], bool),
        zero_lines=capture.zero_lines,
        start=capture.start,
    )
    for name, found in (("whole", page), ("rows", rows), ("grid", grid)):
        read, traces = read_page(digitizer.layout_tracer, upright, found, record.fs)
        yield name, Digitized(leads_from_rows(traces.rows, read.layout), record.fs, read, traces)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=Path, required=True, help="folder with WFDB records")
    parser.add_argument("--part", choices=["heldout", "train"], default="heldout", help="which records")
    parser.add_argument("--skip", type=int, default=0, help="records left out at the start (default: 0)")
    parser.add_argument("--count", type=positive_int, default=2, help="records drawn of each (default: 2)")
    parser.add_argument("--layouts", nargs="+", default=(*LAYOUTS, *MORE_LAYOUTS), help="NAME[:SPEED[:GAIN]]")
    parser.add_argument("--kinds", nargs="+", default=("scans", "photos"), help="scans, photos, or both")
    parser.add_argument("--seed", type=int, default=2101, help="seed of the drawn pages (default: 2101)")
    parser.add_argument("--stage2-layouts", type=Path, default=STAGE2_LAYOUTS, help="stage 2's checkpoint")
    args = parser.parse_args()
    limit_threads(1)
    digitizer = Digitizer(device="cpu", stage2_layouts=args.stage2_layouts)
    part = args.part == "heldout"
    records = [path for path in find_records(args.records) if is_heldout(path.stem) == part]
    records = records[args.skip : args.skip + args.count]
    rows = []
    for number, text in enumerate(args.layouts):
        layout = parse_layout(text)
        for kind in args.kinds:
            types = cycle(SCANS if kind == "scans" else PHOTOS)
            for index, path in enumerate(records):
                rng = np.random.default_rng([args.seed, number, index, len(kind)])
                record = read_record(path)
                page = draw_layout_page(record, layout, rng)
                for _ in range((number + index) % 3):
                    next(types)  # so that the layouts are seen as different types
                capture = capture_layout(page, next(types), rng, orientation=0)
                try:
                    for name, digitized in readings(digitizer, capture, record):
                        _, ratio, offset = compare(record.leads, digitized, layout)
                        rows.append((text, kind, name, path.stem, ratio, offset))
                        print(f"{text} {kind} {path.stem} {name}: {to_db(ratio):.2f} dB, {offset:.3f} mV",
                              flush=True)  # fmt: skip
                except PageNotFound as error:
                    print(f"{text} {kind} {path.stem}: {error}", flush=True)
    table = pd.DataFrame(rows, columns=["layout", "kind", "way", "record", "ratio", "offset"])
    table = pd.concat([table, table.assign(layout="all")])
    means = table.groupby(["layout", "kind", "way"], sort=False)["ratio"].mean().unstack()
    print(to_db(means).to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
