"""Time and memory of writing submission.csv for a table as large as the training set.

    python benchmarks/submission_speed.py

977 images of twelve leads at the competition's sampling rates have 21.6 million rows. The file is read back
and compared. The columns are its rows and size in MB, the seconds to write it, the peak memory in GB, whether
all ids are exact, and the greatest error of a value in mV.
"""

import argparse
import resource
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.layouts import COMPETITION
from configs.page import DURATION_S, LEADS, RHYTHM_LEAD, SAMPLING_RATES
from utils.command import positive_int, run_main
from utils.submission import row_ids, write_submission


def make_table(images: int) -> pd.DataFrame:
    """A test.csv for `images` images, cycling through the sampling rates."""
    rows = []
    for image in range(images):
        fs = SAMPLING_RATES[image % len(SAMPLING_RATES)]
        for lead in LEADS:
            seconds = DURATION_S if lead == RHYTHM_LEAD else DURATION_S / COMPETITION.columns
            rows.append((str(10**9 + image), lead, fs, int(seconds * fs)))
    return pd.DataFrame(rows, columns=["id", "lead", "fs", "number_of_rows"])


def make_signals(table: pd.DataFrame) -> dict[str, dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    signals: dict[str, dict[str, np.ndarray]] = {}
    for request in table.itertuples():
        values = generator.normal(size=request.number_of_rows).astype(np.float32)
        signals.setdefault(request.id, {})[request.lead] = values
    return signals


def peak_gb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--images", type=positive_int, default=977, help="default: %(default)s")
    args = parser.parse_args()
    table = make_table(args.images)
    signals = make_signals(table)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "submission.csv"
        started = time.perf_counter()
        write_submission(path, table, signals)
        seconds, memory = time.perf_counter() - started, peak_gb()
        megabytes = path.stat().st_size / 1e6
        written = pd.read_csv(path, dtype={"id": str})
    values = np.concatenate([signals[request.id][request.lead] for request in table.itertuples()])
    row = {
        "rows": len(written),
        "MB": megabytes,
        "seconds": seconds,
        "peak GB": memory,
        "ids exact": written["id"].tolist() == row_ids(table),
        "worst mV": np.abs(written["value"].to_numpy() - values).max(),
    }
    print(pd.DataFrame([row]).to_string(index=False, float_format="{:.6g}".format))


if __name__ == "__main__":
    run_main(main)
