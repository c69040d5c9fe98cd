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
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.layouts import (
    Drawn,
    add_network_arguments,
    add_page_arguments,
    build_digitizer,
    compare,
    draw_pages,
)
from configs.layouts import leads_from_rows
from configs.page import SQUARE_MM
from digitization.digitizer import Digitized, Digitizer
from digitization.geometry.locate import PageNotFound
from digitization.layout.page import LayoutPage
from digitization.layout.reading import read_page
from synthesis.layouts.capture import LayoutCapture
from utils.command import run_main
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
        width=capture.layout.duration_s * capture.layout.mm_per_second / SQUARE_MM,
    )


def readings(digitizer: Digitizer, drawn: Drawn) -> Iterator[tuple[str, Digitized]]:
    """Each way of reading a page. Raises PageNotFound."""
    capture, record = drawn.capture, drawn.record
    upright, page = digitizer.finder.find(capture.image, drawn.known)
    rows = replace(true_places(page, capture), layout=drawn.layout)
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
    add_page_arguments(parser)
    add_network_arguments(parser)
    args = parser.parse_args()
    digitizer = build_digitizer(args)
    rows = []
    for drawn in draw_pages(args):
        page = f"{drawn.text} {drawn.image_type} {drawn.record.id}"
        try:
            for name, digitized in readings(digitizer, drawn):
                _, ratio, offset = compare(drawn.record.leads, digitized, drawn.layout)
                rows.append((drawn.text, drawn.kind, name, drawn.record.id, ratio, offset))
                print(f"{page} {name}: {to_db(ratio):.2f} dB, {offset:.3f} mV", flush=True)
        except PageNotFound as error:
            print(f"{page}: {error}", flush=True)
    table = pd.DataFrame(rows, columns=["layout", "kind", "way", "record", "ratio", "offset"])
    table = pd.concat([table, table.assign(layout="all")])
    means = table.groupby(["layout", "kind", "way"], sort=False)["ratio"].mean().unstack()
    print(to_db(means).to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
