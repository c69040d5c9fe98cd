"""Deal the training records into folds, each with its share of every sampling rate: train_folds.csv."""

import argparse
import sys
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from datasets.competition import DATA, check_data, read_train_table, write_folds

DEFAULT_FOLDS = 5


def make_folds(records: pd.DataFrame, folds: int, seed: int) -> pd.DataFrame:
    """The table of records (id, fs, ...) with a column fold, 0 .. folds - 1.

    A record's images share its fold. Within a sampling rate fold sizes differ by at most one, in all as well.
    """
    if not 2 <= folds <= len(records):
        raise ValueError(f"{len(records)} records cannot be dealt into {folds} folds: choose another --folds")
    shuffled = np.random.default_rng(seed).permutation(len(records))
    dealt = shuffled[np.argsort(records["fs"].to_numpy()[shuffled], kind="stable")]
    fold = np.empty(len(records), np.int64)
    fold[dealt] = np.arange(len(records)) % folds
    return records.assign(fold=fold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "data", type=Path, nargs="?", default=DATA, help="folder with train.csv (default: data)"
    )
    parser.add_argument(
        "--folds", type=int, help="number of folds (default: 5, or as many as there are records if fewer)"
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the shuffling (default: %(default)s)")
    args = parser.parse_args()
    check_data(args.data)
    records = read_train_table(args.data)
    count = args.folds or min(DEFAULT_FOLDS, max(len(records), 2))
    folds = make_folds(records, count, args.seed)
    write_folds(args.data, folds)
    print(folds.groupby(["fold", "fs"]).size().unstack(fill_value=0).to_string())


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"make_folds.py: {error}")
