"""How surely and how fast print beside the rows is searched for speed and gain, by the detector's resolution.

    python benchmarks/print_search.py --records RECORDS --part train --count 1 --sides 736 480 320

Pages are drawn as for benchmarks/layouts.py, and their margins searched with the true grid and rows. For each
length of RapidOCR's `limit_side_len`, to which its detector enlarges the shorter side of what it sees:
`found`, the share of the printed speeds and gains that are read; `wrong`, the number of those read that are
not printed; and `seconds` of CPU a page.
"""

import argparse
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.layouts import Drawn, add_page_arguments, draw_pages
from configs.landmarks import KEYPOINTS
from digitization.layout import printed_scales
from digitization.layout.finder import parts_beside_rows
from utils.command import positive_int, run_main
from utils.device import limit_threads


def search(drawn: Drawn) -> tuple[set[str], set[str]]:
    """The speeds and gains printed on a page, and those read in its margins."""
    capture = drawn.capture
    page: Any = SimpleNamespace(zero_lines=capture.page.zero_lines, gridpoint_xy=capture.gridpoint_xy)
    px_per_square = float(np.linalg.norm(np.diff(capture.gridpoint_xy, axis=1), axis=-1).mean())
    read = set()
    for part in parts_beside_rows(capture.image, page):
        for keypoint in printed_scales.search_scales(part, px_per_square):
            read.add(KEYPOINTS[int(np.argmax(keypoint.probability))])
    return set(drawn.printed_scales), read


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_page_arguments(parser)
    parser.add_argument("--sides", type=positive_int, nargs="+", default=(736, 480, 320), help="px")
    args = parser.parse_args()
    limit_threads(1)
    pages = [drawn for drawn in draw_pages(args) if drawn.printed_scales]
    rows = []
    for side in args.sides:
        printed_scales.DETECTOR_SIDE = side
        printed_scales.engine.cache_clear()
        printed_scales.engine()
        started = time.process_time()
        results = [search(drawn) for drawn in pages]
        seconds = (time.process_time() - started) / len(pages)
        there = sum(len(printed) for printed, _ in results)
        found = sum(len(printed & read) for printed, read in results)
        wrong = sum(len(read - printed) for printed, read in results)
        rows.append(
            {
                "side": side,
                "pages": len(pages),
                "printed": there,
                "found": found / there,
                "wrong": wrong,
                "seconds": seconds,
            }
        )
        print(pd.DataFrame(rows).round(3).to_string(index=False), flush=True)
    return 0


if __name__ == "__main__":
    run_main(main)
