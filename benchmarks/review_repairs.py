"""Doubtful pages mended by hand: what was done on each, and how much better it is read.

    python benchmarks/review_repairs.py ../shared/samples/real

Each repair is a list of actions as the browser sends them, worked out once by looking at the page; they go
through the code of review.py. Real pages are measured by the contradiction of their limb leads and by their
doubts, drawn ones (of simulated records, with labels, print or traces painted over) by the signal-to-noise
ratio of what they show. `clicks` counts clicks and drags: one to choose a tool, a value or Accept, one for
each point or handle. `seconds` are the longest and the mean of the actions, in time of the processor.
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.layouts import add_network_arguments, build_digitizer
from configs.layouts import parse_layout
from configs.page import LEADS
from digitization.digitizer import Digitized, Digitizer
from review.actions import TURNS, orientation_after
from review.corrections import UNREADABLE, Corrections
from review.picture import describe_page
from review.reading import PageReader
from review.session import OpenPage
from review.store import Entry
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import deepfake_record
from utils.command import run_main
from utils.images import read_rgb

FS = 500  # Hz
TOOLS = {
    "layout": "",
    "speed": "",
    "gain": "",
    "turn": "grid",
    "redraw": "redraw",
    "crossing": "grid",
}  # of the others: rows


def unreadable(row: int, first: float, last: float, y: float) -> dict:
    return {"do": "redraw", "row": row, "kind": UNREADABLE, "points": [[first, y], [last, y]]}


def zero_line(row: int, y: float) -> dict:
    return {"do": "zero_line", "row": row, "point": [20.0, y]}


REPAIRS: dict[str, list[dict]] = {  # by eye, in squares of the straightened page
    "00020.jpg": [  # five columns of leads, of which the last, V4r, V8 and V9, is no layout's
        {"do": "layout", "layout": "3x4"},
        {"do": "end", "side": "end", "point": [39.95, 9.0]},
        {"do": "end", "side": "start", "point": [-0.05, 9.0]},
        *(zero_line(row, y) for row, y in ((0, 1.95), (1, 9.15), (2, 16.35))),
    ],
    "00036.jpg": [  # rolled-up paper at the left, where the grid lost two squares
        {"do": "gain", "value": 10},
        {"do": "crossing", "found": [174.0, 141.0], "true": [189.6, 139.3]},  # in px of the photo
        {"do": "crossing", "found": [59.0, 151.4], "true": [82.5, 148.7]},
    ],
    "00005.jpg": [  # feet of the pulses; the image ends after 7.5 s
        *(zero_line(row, y) for row, y in ((0, 6.0), (1, 13.0), (2, 20.0), (3, 27.0), (5, 41.0))),
        {"do": "end", "side": "end", "point": [39.79, 23.5]},
    ],
    "00022.bmp": [unreadable(row, 46.95, 48.37, y) for row, y in ((0, 2.5), (1, 10.1), (2, 17.5))],
    "00053.png": [{"do": "layout", "layout": "3x4+V1+II+V5"}],  # its label is V5
}


@dataclass
class Case:
    """A page to mend: its image (H, W, 3), what is done, and the truth (12, L) mV where it is known."""

    name: str
    image: np.ndarray
    actions: list[dict]
    truth: np.ndarray | None = None


# Layouts drawn, what is painted over, and what a person does.
HIDDEN: tuple[tuple[str, str, list[dict]], ...] = (
    ("6x2", "labels", [{"do": "layout", "layout": "6x2"}]),
    ("12x1", "labels", [{"do": "layout", "layout": "12x1"}]),
    ("6x2:25:5", "pulses", [{"do": "gain", "value": 5}]),
    ("6x2:50", "scales", [{"do": "speed", "value": 50}]),
    ("3x4+V1", "labels", [{"do": "layout", "layout": "3x4+V1"}]),
)


def draw_cases() -> Iterator[Case]:
    """Drawn pages on which something is painted over, and what a person sees all the same."""
    for seed, (text, hidden, actions) in enumerate(HIDDEN, start=1):
        layout = parse_layout(text)
        record = deepfake_record(np.random.default_rng(seed))  # of FS
        page = draw_layout_page(record, layout, np.random.default_rng(seed))
        image = page.image.copy()
        places = [(x, y) for _, x, y in (page.labels if hidden == "labels" else page.scales)]
        if hidden == "pulses":
            places += [tuple(pulse.mean(axis=0)) for pulse in page.pulses]
        for x, y in places:
            paint_over(image, round(x), round(y))
        shown = round(layout.duration_s * FS)
        yield Case(f"{text} without {hidden}", image, actions, record.leads[:, :shown])


def paint_over(image: np.ndarray, x: int, y: int, reach: int = 40) -> None:
    """Hide what is written at a place of an image by the paper beside it."""
    top, left = max(y - reach, 0), max(x - reach, 0)
    part = image[top : y + reach, left : x + reach]
    dark = part.max(axis=2) < 110
    part[dark] = np.median(image.reshape(-1, 3), axis=0).astype(np.uint8)


def noise_ratio(found: Digitized, truth: np.ndarray) -> float:
    """Signal over noise in dB of what the page shows, each lead about its mean; at the best common delay."""
    best = -np.inf
    for delay in range(-10, 11):
        signal = noise = 0.0
        for lead in found.layout.longest:
            index = LEADS.index(lead)
            length = min(found.leads.shape[1], truth.shape[1])
            true = np.roll(truth[index], delay)[:length]
            known = np.isfinite(found.leads[index, :length])
            if known.any():
                true, read = true[known], found.leads[index, :length][known]
                signal += float(((true - true.mean()) ** 2).sum())
                noise += float(((read - read.mean() - true + true.mean()) ** 2).sum())
        best = max(best, 10 * np.log10(signal / max(noise, 1e-9)))
    return best


def measure(found: Digitized | None, truth: np.ndarray | None) -> str:
    """How well a page is read: dB, or the limb leads' residual in uV; and how many doubts are left."""
    if found is None:
        return "not read"
    if truth is None:
        return f"{1000 * found.limb_residual:.0f} uV, {len(found.doubts)} doubts"
    return f"{noise_ratio(found, truth):.1f} dB, {len(found.doubts)} doubts"


def count_clicks(actions: list[dict]) -> int:
    """The clicks and drags that the actions and accepting take."""
    clicks, tool = 1, "look"
    for action in actions:
        needed = TOOLS.get(action["do"], "rows")
        if action["do"] == "redraw" and action["kind"] == UNREADABLE:
            needed = UNREADABLE
        if needed and needed != tool:
            clicks, tool = clicks + 1, needed
        clicks += len(action.get("points", [])) + 1 if action["do"] == "redraw" else 1
    return clicks


def turns_upright(page: OpenPage) -> list[dict]:
    """The turn that a person makes where a drawn page, which is upright, is shown turned."""
    shown = page.reader.paper(Corrections()).orientation
    upright = (how for how, change in TURNS.items() if shown and orientation_after(shown, change) == 0)
    return [{"do": "turn", "how": how} for how in upright]


def repair(digitizer: Digitizer, case: Case) -> str:
    """A row of the table."""
    reader = PageReader(digitizer, case.image, FS)
    page = OpenPage(
        Entry(case.name, {"reviewed": ""}), case.image, reader, Corrections(), reader.first, reader.reason
    )
    before, seconds = measure(page.shown, case.truth), []
    actions = list(case.actions)
    if case.truth is not None and page.reader.first is None:
        actions += turns_upright(page)
    for action in actions:
        started = time.process_time()
        page.act(action, page.revision)
        describe_page(page)
        seconds.append(time.process_time() - started)
    after = measure(page.shown, case.truth)
    return (
        f"| {case.name} | {before} | {after} | {max(seconds):.1f} ({np.mean(seconds):.1f}) | "
        f"{count_clicks(actions)} | {'; '.join(page.corrections.describe())} |"
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with the real pages")
    add_network_arguments(parser)
    args = parser.parse_args()
    digitizer = build_digitizer(args)
    print("| page | before | after | seconds, longest (mean) | clicks | what |\n|---|---|---|---|---|---|")
    for name, actions in REPAIRS.items():
        print(repair(digitizer, Case(name, read_rgb(args.folder / name), actions)), flush=True)
    for case in draw_cases():
        print(repair(digitizer, case), flush=True)


if __name__ == "__main__":
    run_main(main)
