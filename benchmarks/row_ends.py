"""Error at the ends of rows and leads on labelled pages of synthesize.py, and recovery of pacing spikes.

    python benchmarks/row_ends.py DATA

Three tables by image type, with the columns row start and row end (the first and last 30 ms of a row), lead
start and lead end (the same of leads within a row) and middle (the rest): the root-mean-square error in mV
over all pages, its median over leads, and the share of all squared error in %. The offset of each lead is
removed first.

--true-grid rectifies the pages by their labels, to measure stage 2 and the decoder alone.
--spikes adds a table of pacing spikes (make them with synthesize.py --paced 1):
  spikes          number of true spikes
  read            median share of their height that is recovered
  page holds      the same for the true traces at the resolution of the page's columns
  half read       share of spikes of which at least half the height is recovered
  false per page  number of spikes found per page that are not true
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import median_filter

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.labelled import LabelledPage, open_digitizer, page_arguments, selected_pages
from configs.layouts import COMPETITION_ROWS, rows_from_leads
from configs.page import DURATION_S
from datasets.labels import read_labels
from digitization.digitizer import Digitizer
from digitization.geometry.orientation import points_to_upright, undo_orientation
from digitization.geometry.rectify import rectify
from digitization.signal.traces import columns_from_rows, rows_from_columns
from utils.command import run_main
from utils.device import limit_threads
from utils.images import read_rgb

END_S = 0.03  # length of the ends
PARTS = ("row start", "lead start", "middle", "lead end", "row end")
SPIKE_MV = 0.3  # least height of a spike
SPIKE_BASE_S = 0.012  # window of the median that is a spike's baseline, twice as long as the widest spike
SPIKE_REACH_S = 0.006  # greatest error in time of a recovered spike


def part_errors(truth: np.ndarray, found: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """For each part of each lead its name in PARTS and errors (n,) mV; rows are (4, L) mV of ten seconds."""
    length = truth.shape[1]
    end = max(round(END_S * length / DURATION_S), 1)
    for row in range(len(truth)):
        for start, stop in COMPETITION_ROWS.spans(length)[row]:
            error = found[row, start:stop] - truth[row, start:stop]
            error = error - np.median(error)
            yield "row start" if start == 0 else "lead start", error[:end]
            yield "middle", error[end:-end]
            yield "row end" if stop == length else "lead end", error[-end:]


def spike_heights(rows: np.ndarray) -> np.ndarray:
    """Rows (4, L) mV of ten seconds minus their running median over SPIKE_BASE_S."""
    width = round(SPIKE_BASE_S * rows.shape[1] / DURATION_S) // 2 * 2 + 1
    return rows - median_filter(rows, size=(1, width), mode="nearest")


def find_spikes(heights: np.ndarray) -> list[tuple[int, int]]:
    """The spikes (row, sample) in `heights` (4, L) mV of `spike_heights`, one within SPIKE_REACH_S."""
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
    """The share (n,) of each spike's height in `heights` (4, L) that `others` (4, L) has near its time."""
    reach = reach_samples(heights)
    shares = [
        (others[row, max(at - reach, 0) : at + reach + 1] / heights[row, at]).max()
        for row, at in find_spikes(heights)
    ]
    return np.array(shares, dtype=float)


def spike_facts(truth: np.ndarray, found: np.ndarray) -> dict[str, np.ndarray]:
    """Recovered shares of true spikes ("read"), of true spikes limited by the page's columns ("held"), and
    the shares of spikes found that are true ("true")."""
    true, read = spike_heights(truth), spike_heights(found)
    held = spike_heights(rows_from_columns(columns_from_rows(truth), truth.shape[1]))
    return {
        "read": recovered_shares(true, read),
        "held": recovered_shares(true, held),
        "true": recovered_shares(read, true),
    }


def digitize_page(digitizer: Digitizer, page: LabelledPage, true_grid: bool) -> np.ndarray:
    """The digitized rows (4, L) mV of a page. Raises PageNotFound."""
    image, length = read_rgb(page.path), page.truth.shape[1]
    if not true_grid:
        return digitizer(image, page.fs).trace_result.rows
    grid, orientation = read_labels(page.path.with_name(f"{page.path.stem}.labels.npz"))
    points = points_to_upright(grid.reshape(-1, 2), orientation, image.shape[:2]).reshape(grid.shape)
    return digitizer.tracer.trace(rectify(undo_orientation(image, orientation), points), length).rows


def print_ends(errors: pd.DataFrame) -> None:
    """Print the tables of errors, given a row for each part of each lead: type, part, square, samples."""
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
    """Print the table of spikes, given the pages' `spike_facts` by image type."""
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
        raise ValueError("no page has a pacing spike: make some with synthesize.py --paced 1")
    print("\npacing spikes\n" + pd.DataFrame(lines).T.to_string(float_format="{:.2f}".format))


def main() -> None:
    parser = page_arguments(__doc__)
    parser.add_argument("--true-grid", action="store_true", help="rectify the pages by their labels")
    parser.add_argument("--spikes", action="store_true", help="also measure the recovery of pacing spikes")
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
        raise ValueError(f"{args.data}: no page could be digitized")
    print_ends(pd.DataFrame(errors, columns=["type", "part", "square", "samples"]))
    if args.spikes:
        print_spikes(spikes)


if __name__ == "__main__":
    run_main(main)
