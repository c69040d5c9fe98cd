"""Bounds of the score on labelled pages of synthesize.py, in dB by image type.

    python benchmarks/bounds.py DATA

The columns are
  whole      all stages, as in predict.py
  true grid  stage 2 and the decoder on the page rectified by its labels
  geometry   the true traces, displaced by the errors of the found grid: the limit for stage 2
  mask       the true traces drawn as masks and decoded: the limit of the rectified page's resolution
  200 dpi    the true leads, low-pass filtered to the resolution of a 200 dpi page, as flat pages have

A second table lists the worst pages; --overlays draws them with the traces found.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
from scipy import signal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.labelled import open_digitizer, page_arguments, selected_pages
from configs.layouts import COMPETITION_ROWS, leads_from_rows, rows_from_leads
from configs.page import DURATION_S, MM_PER_SECOND, PAGE_PX_PER_MM, RECTIFIED
from datasets.labels import read_labels, read_slip
from digitization.digitizer import Digitizer
from digitization.geometry.orientation import points_to_upright, undo_orientation
from digitization.geometry.rectify import rectify
from digitization.geometry.slip import Slip
from digitization.overlay import draw_rows
from digitization.signal.traces import (
    columns_from_rows,
    draw_traces,
    read_traces,
    rows_from_columns,
    segment_columns,
)
from utils.command import positive_int, run_main
from utils.device import limit_threads
from utils.images import read_rgb, write_png
from utils.kaggle_metric import image_snr, to_db

KINDS = ("whole", "true grid", "geometry", "mask", "200 dpi")
PAGE_LIMIT_HZ = PAGE_PX_PER_MM * MM_PER_SECOND / 2  # Nyquist frequency of a 200 dpi page's columns, 98 Hz


def limit_band(leads: np.ndarray, fs: int) -> np.ndarray:
    """Leads (12, L) mV, NaN where not shown, low-pass filtered at PAGE_LIMIT_HZ (zero-phase Butterworth)."""
    low_pass = signal.butter(8, PAGE_LIMIT_HZ, fs=fs, output="sos")
    limited = leads.copy()
    for lead in limited:
        known = np.isfinite(lead)
        lead[known] = signal.sosfiltfilt(low_pass, lead[known])
    return limited


def displace_rows(rows: np.ndarray, grid: np.ndarray, found: np.ndarray) -> np.ndarray:
    """Rows (4, L) mV as they appear if the page is rectified by `found` instead of the true `grid`.

    Both grids are (44, 57, 2) px. The result is exact to first order in the grid's error.
    """
    found = found.astype(np.float64)
    squares = np.stack([np.gradient(found, axis=1), np.gradient(found, axis=0)], axis=-1)
    error = np.linalg.solve(squares, (grid - found)[..., None])[..., 0].astype(np.float32)  # squares, (x, y)
    y = columns_from_rows(rows)
    displaced = np.full_like(y, np.nan)
    x = np.arange(RECTIFIED.width)
    for row, trace_y in enumerate(y):
        grid_xy = (
            (x / RECTIFIED.square_width).astype(np.float32),
            (np.nan_to_num(trace_y) / RECTIFIED.square_height).astype(np.float32),
        )
        trace_error = cv2.remap(
            error, grid_xy[0][None], grid_xy[1][None], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
        )[0]
        for start, stop in COMPETITION_ROWS.spans(rows.shape[1])[row]:
            columns = segment_columns(start, stop, rows.shape[1], RECTIFIED)
            shift = trace_error[columns] * (RECTIFIED.square_width, RECTIFIED.square_height)
            displaced[row, columns] = np.interp(
                columns, columns + shift[:, 0], trace_y[columns] + shift[:, 1]
            )
    return rows_from_columns(displaced, rows.shape[1])


def measure(
    digitizer: Digitizer,
    image: np.ndarray,
    truth: np.ndarray,
    grid: np.ndarray,
    orientation: int,
    slip: Slip | None = None,
) -> dict:
    """The linear ratios of KINDS for a labelled page; "page" is the whole result, None if it failed."""
    fs = truth.shape[1] // int(DURATION_S)
    upright = undo_orientation(image, orientation)
    grid = points_to_upright(grid.reshape(-1, 2), orientation, image.shape[:2]).reshape(grid.shape)

    def ratio(rows: np.ndarray) -> float:
        return image_snr(truth, leads_from_rows(rows), fs)

    rows = rows_from_leads(truth)
    best = digitizer.tracer.trace(rectify(upright, grid, slip=slip), truth.shape[1])
    facts = {
        "true grid": ratio(best.rows),
        "mask": ratio(read_traces(draw_traces(rows), fs)),
        "200 dpi": image_snr(truth, limit_band(truth, fs), fs),
    }
    try:
        page = digitizer(image, fs)
    except ValueError:
        return facts | {"whole": 0.0, "geometry": 0.0, "page": None}
    found = page.rectified
    misoriented = found.orientation != orientation
    geometry = 0.0 if misoriented else ratio(displace_rows(rows, grid, found.gridpoint_xy))
    return facts | {"whole": image_snr(truth, page.leads, fs), "geometry": geometry, "page": page}


def main() -> None:
    parser = page_arguments(__doc__)
    parser.add_argument(
        "--worst", type=positive_int, default=10, help="number of worst pages (default: %(default)s)"
    )
    parser.add_argument("--overlays", type=Path, help="folder for images of the worst pages")
    args = parser.parse_args()
    limit_threads(args.threads)
    digitizer = open_digitizer(args)
    rows, trace_result = [], {}
    for image in selected_pages(args):
        labels = image.path.with_name(f"{image.path.stem}.labels.npz")
        facts = measure(digitizer, read_rgb(image.path), image.truth, *read_labels(labels), read_slip(labels))
        page = facts.pop("page")
        rows.append({"image_id": image.image_id, "type": image.type} | facts)
        if args.overlays and page:
            trace_result[image.image_id] = (page.rectified.rect, page.trace_result.y)
            kept = pd.DataFrame(rows).nsmallest(args.worst, "whole")["image_id"]
            trace_result = {name: page for name, page in trace_result.items() if name in set(kept)}
    table = pd.DataFrame(rows)
    means = table.groupby("type")[list(KINDS)].mean()
    means.loc["all"] = table[list(KINDS)].mean()
    print(to_db(means).to_string(float_format="{:.2f}".format))
    print("\nworst pages, dB")
    worst = table.nsmallest(args.worst, "whole").set_index("image_id")[list(KINDS)]
    print(to_db(worst).to_string(float_format="{:.2f}".format))
    for name, (rect, y) in trace_result.items():
        write_png(args.overlays / f"{name}.png", draw_rows(rect, y))


if __name__ == "__main__":
    run_main(main)
