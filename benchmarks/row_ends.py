"""Print how well the ends of the rows are read, on pages that synthesize.py labelled.

The error in mV rms of the first and the last 30 ms of the rows, of the leads within the rows, and of all that
lies between, each lead against its own zero line; by image type, pooled over all pages and, less moved by a
few bad ones, as the median over leads. Then how much of all squared error lies in the ends.

--true-grid reads the page rectified by its labels: stage 2 and the decoder alone.
--spikes adds what is left of pacing spikes (draw with synthesize.py --paced 1): of the true height the median
share that is read, the same of what the columns of the page could hold, how many are read at half their
height or more, and how many spikes a page is given that it has not.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import median_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.labelled import LabelledPage, open_digitizer, page_arguments, selected_pages
from configs.leads import rows_from_leads
from configs.page import DURATION_S
from datasets.labels import read_labels
from digitization.digitizer import Digitizer
from digitization.geometry.orientation import points_to_upright, undo_orientation
from digitization.geometry.rectify import rectify
from digitization.signal.traces import columns_from_rows, rows_from_columns, segments
from utils.command import run_main
from utils.device import limit_threads
from utils.images import read_rgb

END_S = 0.03
PARTS = ("row start", "lead start", "middle", "lead end", "row end")
SPIKE_MV = 0.3  # the least height
SPIKE_BASE_S = 0.012  # of the median from which a spike stands out: twice as long as the widest
SPIKE_REACH_S = 0.006  # by which a spike may be off in time


def part_errors(truth: np.ndarray, found: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """The errors (n,) mV of each part of each lead, from rows (4, L) mV of ten seconds."""
    length = truth.shape[1]
    end = max(round(END_S * length / DURATION_S), 1)
    for row in range(len(truth)):
        for start, stop in segments(length, row):
            error = found[row, start:stop] - truth[row, start:stop]
            error = error - np.median(error)
            yield "row start" if start == 0 else "lead start", error[:end]
            yield "middle", error[end:-end]
            yield "row end" if stop == length else "lead end", error[-end:]


def spike_heights(rows: np.ndarray) -> np.ndarray:
    """How far rows (4, L) mV of ten seconds stand out from their own median over SPIKE_BASE_S: (4, L) mV."""
    width = round(SPIKE_BASE_S * rows.shape[1] / DURATION_S) // 2 * 2 + 1
    return rows - median_filter(rows, size=(1, width), mode="nearest")


def find_spikes(heights: np.ndarray) -> list[tuple[int, int]]:
    """(row, sample) of the spikes in what `spike_heights` gives, one within SPIKE_REACH_S each."""
    reach = reach_samples(heights)
    tall = np.argwhere(np.abs(heights) >= SPIKE_MV)
    return [
        (row, at)
        for row, at in tall.tolist()
        if np.abs(heights[row, max(at - reach, 0) : at + reach + 1]).argmax() == min(at, reach)
    ]


def reach_samples(rows: np.ndarray) -> int:
    return max(round(SPIKE_REACH_S * rows.shape[1] / DURATION_S), 1)


def recovered_shares(heights: np.ndarray, others: np.ndarray) -> np.ndarray:
    """What share of each spike in `heights` (4, L) is in `others`, of its sign and near its time: (n,)."""
    reach = reach_samples(heights)
    shares = [
        (others[row, max(at - reach, 0) : at + reach + 1] / heights[row, at]).max()
        for row, at in find_spikes(heights)
    ]
    return np.array(shares, dtype=float)


def spike_facts(truth: np.ndarray, found: np.ndarray) -> dict[str, np.ndarray]:
    """The shares of true spikes that are read and that columns can hold, and of read ones that are true."""
    true, read = spike_heights(truth), spike_heights(found)
    held = spike_heights(rows_from_columns(columns_from_rows(truth), truth.shape[1]))
    return {
        "read": recovered_shares(true, read),
        "held": recovered_shares(true, held),
        "true": recovered_shares(read, true),
    }


def digitize_page(digitizer: Digitizer, page: LabelledPage, true_grid: bool) -> np.ndarray:
    """Rows (4, L) mV of a page; raises PageNotFound."""
    image, length = read_rgb(page.path), page.truth.shape[1]
    if not true_grid:
        return digitizer(image, page.fs).trace_result.rows
    grid, orientation = read_labels(page.path.with_name(f"{page.path.stem}.labels.npz"))
    points = points_to_upright(grid.reshape(-1, 2), orientation, image.shape[:2]).reshape(grid.shape)
    return digitizer.tracer.trace(rectify(undo_orientation(image, orientation), points), length).rows


def print_ends(errors: pd.DataFrame) -> None:
    """The tables of errors, from one line for each part of each lead: type, part, square, samples."""
    everything = pd.concat([errors, errors.assign(type="all")])
    groups = everything.groupby(["type", "part"])
    pooled = np.sqrt(groups["square"].sum() / groups["samples"].sum()).unstack()
    typical = everything.assign(rms=np.sqrt(everything["square"] / everything["samples"]))
    median = typical.groupby(["type", "part"])["rms"].median().unstack()
    share = groups["square"].sum().unstack()
    for title, table, digits in (
        ("error, mV rms", pooled, 3),
        ("median over leads, mV rms", median, 3),
        ("share of all squared error, %", share.div(share.sum(axis=1), axis=0) * 100, 1),
    ):
        print(f"\n{title}\n" + table[list(PARTS)].to_string(float_format=f"{{:.{digits}f}}".format))


def print_spikes(facts: dict[str, list[dict[str, np.ndarray]]]) -> None:
    """The table of spikes, from each type's pages."""
    lines = {}
    for group in (*sorted(facts), "all"):
        pages = facts[group] if group != "all" else [page for pages in facts.values() for page in pages]
        read, held, true = (
            np.concatenate([page[name] for page in pages]) for name in ("read", "held", "true")
        )
        if len(read):
            lines[group] = {
                "spikes": len(read),
                "read": np.median(read),
                "page holds": np.median(held),
                "half read": np.mean(read >= 0.5),
                "false per page": (true < 0.3).sum() / len(pages),
            }
    if not lines:
        raise ValueError("no page has a pacing spike: draw some with synthesize.py --paced 1")
    print("\npacing spikes\n" + pd.DataFrame(lines).T.to_string(float_format="{:.2f}".format))


def main() -> None:
    parser = page_arguments(__doc__)
    parser.add_argument("--true-grid", action="store_true", help="rectify by the labels")
    parser.add_argument("--spikes", action="store_true", help="also what is left of pacing spikes")
    args = parser.parse_args()
    limit_threads(args.threads)
    digitizer = open_digitizer(args)
    errors: list[tuple[str, str, float, int]] = []
    spikes: dict[str, list[dict[str, np.ndarray]]] = {}
    for page in selected_pages(args):
        try:
            found = digitize_page(digitizer, page, args.true_grid)
        except ValueError as error:
            print(f"{page.image_id}: left out, {error}", file=sys.stderr)
            continue
        truth = rows_from_leads(page.truth)
        errors += [(page.type, part, (e**2).sum(), len(e)) for part, e in part_errors(truth, found)]
        if args.spikes:
            spikes.setdefault(page.type, []).append(spike_facts(truth, found))
    if not errors:
        raise ValueError(f"{args.data}: no page could be read")
    print_ends(pd.DataFrame(errors, columns=["type", "part", "square", "samples"]))
    if args.spikes:
        print_spikes(spikes)


if __name__ == "__main__":
    run_main(main)
