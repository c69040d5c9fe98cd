"""Speed of the competition's metric on random signals of 1000 images at 500 Hz.

    python benchmarks/metric_speed.py

Prints the seconds of image_snr on arrays ("signals") and of score on submission tables ("tables").
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.layouts import lead_slice
from configs.page import DURATION_S, LEADS
from utils.command import positive_int, run_main
from utils.kaggle_metric import image_snr, score
from utils.submission import row_ids

NOISE = 0.1  # standard deviation of the predictions' noise, relative to the signals'


def time_signals(pages: int, labels: np.ndarray, predictions: np.ndarray, fs: int) -> float:
    started = time.perf_counter()
    for _ in range(pages):
        image_snr(labels, predictions, fs)
    return time.perf_counter() - started


def time_tables(pages: int, labels: np.ndarray, predictions: np.ndarray, fs: int) -> float:
    inside = [lead_slice(lead, labels.shape[1]) for lead in LEADS]
    counts = [part.stop - part.start for part in inside]
    requests = [(str(page), *pair) for page in range(pages) for pair in zip(LEADS, counts, strict=True)]
    ids = row_ids(pd.DataFrame(requests, columns=["id", "lead", "number_of_rows"]))
    label, prediction = (
        np.tile(np.concatenate([lead[part] for lead, part in zip(leads, inside, strict=True)]), pages)
        for leads in (labels, predictions)
    )
    solution = pd.DataFrame({"id": ids, "fs": fs, "value": label})
    submission = pd.DataFrame({"id": ids, "value": prediction})
    started = time.perf_counter()
    score(solution, submission)
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--images", type=positive_int, default=1000, help="default: %(default)s")
    parser.add_argument(
        "--fs", type=positive_int, default=500, help="sampling rate in Hz (default: %(default)s)"
    )
    args = parser.parse_args()
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(len(LEADS), int(DURATION_S * args.fs)))
    predictions = labels + NOISE * rng.normal(size=labels.shape)
    for name, clock in (("signals", time_signals), ("tables", time_tables)):
        seconds = clock(args.images, labels, predictions, args.fs)
        print(f"{name}: {seconds:.1f} s for {args.images} images at {args.fs} Hz")


if __name__ == "__main__":
    run_main(main)
