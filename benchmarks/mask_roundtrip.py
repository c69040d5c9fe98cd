"""Signal-to-noise ratio of records drawn as masks and decoded again, without a network, by sampling rate.

    python benchmarks/mask_roundtrip.py RECORDS

The columns are the rate in Hz, and the mean, median and worst of the records' uncapped ratios in dB.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
from tqdm import tqdm

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.layouts import leads_from_rows, rows_from_leads
from configs.page import SAMPLING_RATES
from digitization.signal.traces import draw_traces, read_traces
from synthesis.signals import find_records, read_record, resample
from utils.command import positive_int, run_main
from utils.kaggle_metric import image_snr, to_db


def roundtrip_ratios(paths: list[Path], fs: int) -> np.ndarray:
    """The linear, uncapped ratios (len(paths),) of the leads decoded from the masks."""
    ratios = []
    for path in tqdm(paths, desc=f"{fs} Hz", disable=None):
        record = read_record(path)
        leads = resample(record.leads, record.fs, fs)
        decoded = read_traces(draw_traces(rows_from_leads(leads)), fs)
        ratios.append(image_snr(leads, leads_from_rows(decoded), fs, cap=None))
    return np.array(ratios)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="folder with WFDB records (*.hea)")
    parser.add_argument(
        "--count", type=positive_int, default=50, help="number of records (default: %(default)s)"
    )
    args = parser.parse_args()
    paths = find_records(args.records)
    if not paths:
        parser.error(f"{args.records}: no records (*.hea)")
    chosen = [paths[i] for i in np.linspace(0, len(paths) - 1, min(args.count, len(paths))).astype(int)]
    print("  Hz    dB of mean  median    worst")
    for fs in SAMPLING_RATES:
        ratios = roundtrip_ratios(chosen, fs)
        summary = (np.mean(ratios), np.median(ratios), np.min(ratios))
        print(f"{fs:4d}" + "".join(f"{to_db(ratio):10.1f}" for ratio in summary))


if __name__ == "__main__":
    run_main(main)
