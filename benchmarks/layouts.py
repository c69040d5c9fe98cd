"""How pages of any layout are read, from the image to the signals, on drawn pages whose truth is known.

    python benchmarks/layouts.py --records RECORDS --count 10

Each layout is drawn from held-out records (--part train: from others, to choose thresholds on), as scans and
as photos, and digitized as predict.py does. A layout may come with a speed and a gain: 6x2:50 or 3x4:25:5.
Above 25 mm/s rows last five seconds. A page is right if layout, speed and gain are, its score is at least
RIGHT_DB and no lead is off by more than RIGHT_MV. The table has, for each layout and kind: the pages;
`layout`, the share whose layout is right; `scales`, the share whose speed and gain are, of which pages
without pulse and print tell nothing; `right`, the share of right pages; `wrong done`, the number of pages
that are not right and not doubted; `done`, the share of right pages that are not doubted; `of told`, the same
share of those that tell their speed and gain by print, pulse or the width of four leads; `dB`, the
competition's score over the leads printed, pages that are not found counting as a ratio of 0; its median over
pages; and `offset mV`, the median over pages of the largest offset of a lead. With --true-layout
layout, speed and gain are given.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.paper_grid import LAYOUTS, PHOTOS, SCANS
from configs.layouts import Layout, parse_layout
from configs.page import LEADS, MM_PER_SECOND, PULSE_SECONDS, SQUARE_MM
from digitization.digitizer import Digitized, Digitizer
from digitization.geometry.locate import PageNotFound
from digitization.geometry.row_strips import lattice_points
from digitization.geometry.straight_paper import is_inside
from digitization.layout.page import NOTHING_KNOWN, Known
from models.checkpoint import CLOSE_UPS, LANDMARKS, STAGE2_LAYOUTS, checkpoint_path
from synthesis.layouts.capture import LayoutCapture, capture_layout
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import Record, find_records, is_heldout, read_record
from utils.command import positive_int, run_main
from utils.device import limit_threads
from utils.images import encode_jpeg
from utils.kaggle_metric import CAP, lead_powers, ratio_of, to_db

RIGHT_DB = 10.0  # dB, score from which a page is read right
RIGHT_MV = 0.15  # mV, offset of a lead up to which it is
MORE_LAYOUTS = ("6x2:50", "12x1:50", "3x4+II:25:5", "3x4+II:25:20", "6x2+II:25:5")


def compare(truth: np.ndarray, digitized: Digitized, layout: Layout) -> tuple[bool, float, float]:
    """Whether speed and gain are right; the ratio over the leads printed; the largest offset of one, mV."""
    found, leads = digitized.layout, digitized.leads
    right = all(getattr(found, name) == getattr(layout, name) for name in ("mm_per_second", "mm_per_mv"))
    length = round(layout.duration_s * digitized.fs)
    leads = np.pad(leads, ((0, 0), (0, max(length - leads.shape[1], 0))), constant_values=np.nan)
    powers, offsets = [], [0.0]
    for lead, segment in layout.longest.items():
        index, inside = LEADS.index(lead), segment.span(length)
        known = np.isfinite(leads[index, inside])
        powers.append(lead_powers(truth[index, inside], np.nan_to_num(leads[index, inside]), digitized.fs))
        if known.any():
            offsets.append(abs(float(np.median((leads[index, inside] - truth[index, inside])[known]))))
    return right, ratio_of(powers, CAP), max(offsets)


@dataclass(frozen=True)
class Drawn:
    """A page drawn in a layout, named `text`, from a record, and captured as a scan or a photo (`kind`)."""

    text: str
    kind: str
    layout: Layout
    record: Record
    image_type: str
    capture: LayoutCapture

    @property
    def printed_scales(self) -> list[str]:
        """The speeds and gains printed on it that lie within the image."""
        page = self.capture.page
        middles = np.array([page.to_squares(np.array(xy)) for _, *xy in page.scales]).reshape(-1, 2)
        shown = lattice_points(self.capture.gridpoint_xy, middles[:, 1], middles[:, 0])
        inside = is_inside(shown, self.capture.image.shape)
        return [name for (name, *_), is_shown in zip(page.scales, inside, strict=True) if is_shown]

    @property
    def tells_scales(self) -> bool:
        """Whether print or pulses on it, or the width of four leads, say its speed and its gain."""
        page, seconds, names = self.capture.page, 0.0, self.printed_scales
        if len(page.pulses):
            corners = page.to_squares(page.pulses)[0]
            seconds = (corners[3, 0] - corners[0, 0]) * SQUARE_MM / self.layout.mm_per_second
        quarters = self.layout.columns == 4 and self.layout.mm_per_second == MM_PER_SECOND
        tells_speed = quarters or seconds > 0.75 * PULSE_SECONDS or any(name.endswith("/s") for name in names)
        return tells_speed and (seconds > 0 or any(name.endswith("/mV") for name in names))

    @property
    def known(self) -> Known:
        """Its layout, speed and gain."""
        return Known(self.layout, self.layout.mm_per_second, self.layout.mm_per_mv)


def add_page_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which pages are drawn."""
    parser.add_argument("--records", type=Path, required=True, help="folder with WFDB records")
    parser.add_argument("--part", choices=["heldout", "train"], default="heldout", help="which records")
    parser.add_argument("--skip", type=int, default=0, help="records left out at the start (default: 0)")
    parser.add_argument(
        "--count", type=positive_int, default=2, help="records drawn in each layout and kind (default: 2)"
    )
    parser.add_argument(
        "--layouts", nargs="+", default=(*LAYOUTS, *MORE_LAYOUTS), help="NAME[:SPEED[:GAIN]] (default: all)"
    )
    parser.add_argument("--kinds", nargs="+", default=("scans", "photos"), help="scans, photos, or both")
    parser.add_argument("--seed", type=int, default=2101, help="seed of the drawn pages (default: 2101)")


def add_network_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that say which networks read pages of any layout."""
    for name, path in (
        ("landmarks", checkpoint_path(LANDMARKS)),
        ("close-ups", checkpoint_path(CLOSE_UPS)),
        ("stage2-layouts", STAGE2_LAYOUTS),
    ):
        help_text = f"checkpoint of another network in place of {path.name}"
        parser.add_argument(f"--{name}", type=Path, default=path, help=help_text)


def build_digitizer(args: argparse.Namespace) -> Digitizer:
    """The digitizer of these options, on one core."""
    limit_threads(1)
    return Digitizer(
        device="cpu",
        landmarks=args.landmarks,
        stage2_layouts=args.stage2_layouts,
        close_ups=args.close_ups,
    )


def draw_pages(args: argparse.Namespace) -> Iterator[Drawn]:
    """The pages of these options."""
    heldout = args.part == "heldout"
    records = [path for path in find_records(args.records) if is_heldout(path.stem) == heldout]
    records = records[args.skip : args.skip + args.count]
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
                capture = capture_layout(page, image_type := next(types), rng, orientation=0)
                yield Drawn(text, kind, layout, record, image_type, capture)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_page_arguments(parser)
    add_network_arguments(parser)
    parser.add_argument("--true-layout", action="store_true", help="tell layout, speed and gain")
    parser.add_argument("--pages", action="store_true", help="a line for each page too")
    parser.add_argument("--overlays", type=Path, help="folder for the overlays of the pages")
    args = parser.parse_args()
    digitizer = build_digitizer(args)
    rows = []
    for drawn in draw_pages(args):
        image, record, layout = drawn.capture.image, drawn.record, drawn.layout
        started = time.monotonic()
        found, doubts = "not found", [""]
        scales, ratio, offset = False, 0.0, np.nan
        try:
            digitized = digitizer(image, record.fs, drawn.known if args.true_layout else NOTHING_KNOWN)
        except PageNotFound as error:
            doubts = [str(error)]
        else:
            scales, ratio, offset = compare(record.leads, digitized, layout)
            found, doubts = digitized.layout.name, digitized.doubts
            if args.overlays:
                args.overlays.mkdir(parents=True, exist_ok=True)
                name = f"{drawn.text.replace(':', '-')}-{record.id}-{drawn.image_type}.jpg"
                (args.overlays / name).write_bytes(encode_jpeg(digitized.draw_overlay(image), 85))
        seconds = time.monotonic() - started
        named = found == layout.name
        good = named and scales and ratio >= 10 ** (RIGHT_DB / 10) and offset <= RIGHT_MV
        if args.pages:
            print(
                f"{drawn.text} {drawn.image_type} {record.id}: {found} {to_db(ratio):.1f} dB, "
                f"{offset:.2f} mV, {seconds:.1f} s{'' if good else ' NOT RIGHT'}"
                f"{'' if drawn.tells_scales else ' (tells no scales)'}; {'; '.join(doubts)}",
                flush=True,
            )
        page = (drawn.text, drawn.kind, named, scales, good, not doubts, drawn.tells_scales)
        rows.append((*page, ratio, offset, seconds))
    columns = ["layout", "kind", "named", "scales", "good", "sure", "told", "ratio", "offset", "seconds"]
    table = pd.DataFrame(rows, columns=columns)
    everything = table.assign(layout="all")
    print(summarize(pd.concat([table, everything])).to_string(float_format="{:.2f}".format))


def summarize(table: pd.DataFrame) -> pd.DataFrame:
    """The table that is printed, from a row for each page."""
    groups = table.groupby(["layout", "kind"], sort=False)
    good = table[table["good"]].groupby(["layout", "kind"], sort=False)
    told = table[table["good"] & table["told"]].groupby(["layout", "kind"], sort=False)
    wrong = table.assign(wrong=table["sure"] & ~table["good"]).groupby(["layout", "kind"], sort=False)
    return pd.DataFrame(
        {
            "pages": groups.size(),
            "layout": groups["named"].mean(),
            "scales": groups["scales"].mean(),
            "right": groups["good"].mean(),
            "wrong done": wrong["wrong"].sum(),
            "done": good["sure"].mean(),
            "of told": told["sure"].mean(),
            "dB": to_db(groups["ratio"].mean()),
            "median dB": to_db(groups["ratio"].median()),
            "offset mV": groups["offset"].median(),
            "s": groups["seconds"].median(),
        }
    )


if __name__ == "__main__":
    run_main(main)
