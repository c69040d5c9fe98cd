"""Real pages without true signals: what is made of each, and its overlay to look at.

    python benchmarks/real_pages.py ../shared/samples/real --overlays OUT

The table has for each page its layout as read by eye (pages.csv beside the images, where there is one), the
layout found with its score, speed and gain with how each is known, the median confidence of its leads, the
limb leads' contradiction as a share of II's rms, and why it is doubted. OUT gets each page's overlay.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.layouts import add_network_arguments, build_digitizer
from configs.page import LEADS
from digitization.geometry.locate import PageNotFound
from digitization.layout.page import LayoutPage
from utils.command import run_main
from utils.images import IMAGE_SUFFIXES, encode_jpeg, read_rgb


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of images, with pages.csv or without")
    parser.add_argument("--overlays", type=Path, help="folder for the overlays")
    add_network_arguments(parser)
    args = parser.parse_args()
    digitizer = build_digitizer(args)
    known = {}
    if (args.folder / "pages.csv").exists():
        table = pd.read_csv(args.folder / "pages.csv")
        known = dict(zip(table["file"], table["layout"], strict=True))
    shares = []
    for path in sorted(path for path in args.folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES):
        image, started = read_rgb(path), time.monotonic()
        try:
            page = digitizer(image)
        except PageNotFound as error:
            print(f"{path.name} ({known.get(path.name, '')}): failed, {error}", flush=True)
            continue
        seconds, found = time.monotonic() - started, page.page
        share = page.limb_residual / float(np.nanstd(page.leads[LEADS.index("II")]))
        shares.append(share)
        facts = "the competition's page"
        if isinstance(found, LayoutPage):
            speed, gain = found.speed, found.gain
            facts = f"score {found.score:.2f}, lead {found.lead:.2f}, {speed.value:g} mm/s ({speed.source}), "
            facts += f"{gain.value:g} mm/mV ({gain.source})"
        print(
            f"{path.name} ({known.get(path.name, '')}): {page.layout.name}, {facts}, "
            f"confidence {np.nanmedian(page.confidence):.2f}, limb leads {share:.2f}, {seconds:.1f} s; "
            f"{'; '.join(page.doubts) or 'done'}",
            flush=True,
        )
        if args.overlays:
            args.overlays.mkdir(parents=True, exist_ok=True)
            drawn = encode_jpeg(page.draw_overlay(image), 88)
            (args.overlays / f"{path.stem}.jpg").write_bytes(drawn)
    if shares:
        print(f"limb leads' contradiction as a share of II's rms, median: {np.nanmedian(shares):.3f}")


if __name__ == "__main__":
    run_main(main)
