"""How well pages of any layout are read once their rows are known: what the networks are worth beyond 3x4+II.

    python benchmarks/any_layout.py --records RECORDS --count 2

Pages of held-out records are drawn in each layout, as scans and as photos. The grid is found from the paper
alone (digitization/geometry/paper.py) or, with --true-grid, taken from the labels; where the rows are on it
comes from the labels. Their strips are laid out as on the competition's page and read by stage 2 as it is
shipped. `dB` is the competition's score over the leads that are printed, `median dB` its median over pages,
`offset mV` the median over pages of the largest offset of a lead.
"""

import argparse
import sys
from itertools import cycle
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.paper_grid import LAYOUTS, PHOTOS, SCANS
from configs.layouts import Layout, find_layout, leads_from_rows
from configs.page import LEADS
from digitization.digitizer import Digitizer
from digitization.geometry.locate import PageNotFound
from digitization.geometry.paper import find_paper
from digitization.geometry.row_strips import lay_out_rows, row_groups
from digitization.signal.decode import rows_from_traces
from digitization.signal.limb_leads import reconcile_limbs
from digitization.signal.quality import confidence_at
from digitization.signal.tracer import PLAIN, Tracer
from models.checkpoint import checkpoint_path
from synthesis.layouts.capture import LayoutCapture, capture_layout
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import find_records, is_heldout, read_record
from utils.command import positive_int, run_main
from utils.device import limit_threads
from utils.kaggle_metric import CAP, lead_powers, ratio_of, to_db


def rows_on_grid(capture: LayoutCapture, gridpoint_xy: np.ndarray) -> tuple[np.ndarray, float]:
    """The rows' zero lines and beginning in squares of a found grid, from where the labels have them.

    Both lattices are of the same squares, so that they differ by a shift: that of their nearest points.
    """
    middle = tuple(size // 2 for size in gridpoint_xy.shape[:2])
    distance = np.linalg.norm(capture.gridpoint_xy - gridpoint_xy[middle], axis=-1)
    nearest = np.unravel_index(distance.argmin(), distance.shape)
    down, right = np.array(middle) - nearest
    return capture.zero_lines + down, capture.start + float(right)


def read_rows(tracer: Tracer, capture: LayoutCapture, gridpoint_xy: np.ndarray, length: int) -> np.ndarray:
    """The leads (12, length) mV of a page whose rows are known, NaN where they are not printed."""
    layout = capture.layout
    zero_lines, start = rows_on_grid(capture, gridpoint_xy)
    rows = np.empty((layout.row_count, length), np.float32)
    confidence = np.empty(rows.shape)
    for group in row_groups(layout.row_count):
        page = lay_out_rows(capture.image, gridpoint_xy, zero_lines[group], start)
        traces = tracer.read(tracer.nets[0], page, PLAIN)
        rows[group] = rows_from_traces(traces.y, length)[: len(group)]
        confidence[group] = confidence_at(traces.confidence, length)[: len(group)]
    return leads_from_rows(reconcile_limbs(rows, confidence, layout)[0], layout)


def score_page(truth: np.ndarray, leads: np.ndarray, layout: Layout, fs: int) -> tuple[float, float]:
    """The competition's ratio over the leads that are printed, and the largest offset of a lead in mV."""
    powers, offsets = [], []
    for lead, segment in layout.longest.items():
        index, inside = LEADS.index(lead), segment.span(truth.shape[1])
        powers.append(lead_powers(truth[index, inside], leads[index, inside], fs))
        offsets.append(abs(float(np.median(leads[index, inside] - truth[index, inside]))))
    return ratio_of(powers, CAP), max(offsets)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=Path, required=True, help="folder with WFDB records")
    parser.add_argument(
        "--count", type=positive_int, default=2, help="records drawn in each layout and kind (default: 2)"
    )
    parser.add_argument("--layouts", nargs="+", default=LAYOUTS, help="names of layouts (default: all)")
    parser.add_argument("--seed", type=int, default=2101, help="seed of the drawn pages (default: 2101)")
    parser.add_argument("--true-grid", action="store_true", help="take the grid from the labels")
    parser.add_argument(
        "--stage2",
        type=Path,
        default=checkpoint_path(2),
        help="checkpoint of stage 2 (default: the shipped one)",
    )
    args = parser.parse_args()
    limit_threads(1)
    digitizer = Digitizer(stage2=args.stage2, device="cpu")
    records = [path for path in find_records(args.records) if is_heldout(path.stem)][: args.count]
    rows = []
    for number, name in enumerate(args.layouts):
        for kind, types in (("scans", cycle(SCANS)), ("photos", cycle(PHOTOS))):
            for index, path in enumerate(records):
                rng = np.random.default_rng([args.seed, number, index, len(kind)])
                record = read_record(path)
                page = draw_layout_page(record, find_layout(name), rng)
                for _ in range((number + index) % 3):
                    next(types)  # so that the layouts are seen as different types
                capture = capture_layout(page, next(types), rng, orientation=0)
                try:
                    grid = capture.gridpoint_xy
                    if not args.true_grid:
                        grid = find_paper(capture.image, digitizer.straightener.stage1_net).gridpoint_xy
                    leads = read_rows(digitizer.tracer, capture, grid, record.leads.shape[1])
                    rows.append((name, kind, *score_page(record.leads, leads, capture.layout, record.fs)))
                except PageNotFound:
                    rows.append((name, kind, 0.0, np.nan))
    table = pd.DataFrame(rows, columns=["layout", "kind", "ratio", "offset"])
    groups = table.groupby(["layout", "kind"], sort=False)
    result = {
        "pages": groups.size(),
        "dB": to_db(groups["ratio"].mean()),
        "median dB": to_db(groups["ratio"].median()),
        "offset mV": groups["offset"].median(),
    }
    print(pd.DataFrame(result).to_string(float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
