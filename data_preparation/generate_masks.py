"""Draw every training record as the mask of its four traces: DATA/mask_4352x1696/<id>.npz.

The array `mask` in it is (1696, 4352, 4) uint8, see digitization.signal.traces.draw_traces. A later run draws
only what is missing.
"""

import argparse
import sys
from collections.abc import Iterable
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.layouts import rows_from_leads
from configs.page import MASK_HEIGHT, MASK_WIDTH
from datasets.competition import DATA, check_data, read_record, record_path
from digitization.signal.traces import draw_traces
from utils.command import positive_int, progress, run_main
from utils.files import atomic_write, folder_lock, is_newer, remove_partial_files
from utils.workers import map_unordered

FOLDER = f"mask_{MASK_WIDTH}x{MASK_HEIGHT}"


def mask_path(data: Path, record: str) -> Path:
    return data / FOLDER / f"{record}.npz"


def generate_mask(data: Path, record: str) -> str | None:
    """Write one record's mask; returns why it could not be done, None if it was."""
    try:
        mask = draw_traces(rows_from_leads(read_record(record_path(data, record))))
        with atomic_write(mask_path(data, record)) as path:
            np.savez_compressed(path, mask=mask)
    except (ValueError, OSError) as error:
        return str(error)
    return None


def generate_masks(data: Path, records: Iterable[str], workers: int = 1) -> dict[str, str]:
    """Write the masks that are not there yet, or older than their record; the failures, record -> reason.

    Raises ValueError when another run is at it.
    """
    folder = data / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, folder / ".lock"):
        remove_partial_files(folder)
        missing = [
            record for record in records if is_newer(record_path(data, record), mask_path(data, record))
        ]
        outcomes = map_unordered(partial(generate_mask, data), missing, min(workers, max(len(missing), 1)))
        drawn = progress(outcomes, len(missing), "mask")
        return {record: str(reason) for record, reason in drawn if reason is not None}


def main() -> int:
    """Returns 0 when all masks are there, 1 when some could not be drawn."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument(
        "data", type=Path, nargs="?", default=DATA, help="folder with train/<id>/<id>.csv (default: data)"
    )
    parser.add_argument(
        "--workers", type=positive_int, default=1, help="number of processes (default: %(default)s)"
    )
    args = parser.parse_args()
    check_data(args.data)
    records = sorted(path.name for path in (args.data / "train").glob("*") if path.is_dir())
    if not records:
        raise ValueError(f"{args.data / 'train'}: no records")
    failures = generate_masks(args.data, records, args.workers)
    for record, reason in failures.items():
        print(f"failed: {record}: {reason}", file=sys.stderr)
    print(f"{len(records) - len(failures)} of {len(records)} masks in {args.data / FOLDER}")
    return int(bool(failures))


if __name__ == "__main__":
    run_main(main, "interrupted; what is written is whole, run it again to go on")
