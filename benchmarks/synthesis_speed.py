"""Speed of synthesis: images per second of one core's time and mean megapixels, by image type.

python benchmarks/synthesis_speed.py RECORDS
"""

import argparse
import sys
import time
from pathlib import Path

import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.page import IMAGE_TYPES
from synthesis import Record, synthesize
from synthesis.signals import find_records, read_record
from utils.command import positive_int, run_main


def measure(record: Record, image_type: str, count: int) -> tuple[float, float]:
    """Images per second of processor time and their mean size in megapixels."""
    pixels = 0
    begin = time.process_time()
    for seed in range(count):
        image = synthesize(record, image_type, np.random.default_rng(seed)).image
        pixels += image.shape[0] * image.shape[1]
    return count / (time.process_time() - begin), pixels / count / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="folder with WFDB records (*.hea)")
    parser.add_argument(
        "--count", type=positive_int, default=10, help="images of each type (default: %(default)s)"
    )
    args = parser.parse_args()
    paths = find_records(args.records)
    if not paths:
        parser.error(f"{args.records}: no records (*.hea)")
    cv2.setNumThreads(1)
    record = read_record(paths[0])
    synthesize(record, "0001", np.random.default_rng(0))  # fills the cache of rasterized text
    print("type  images/s  megapixels")
    for image_type in IMAGE_TYPES:
        speed, size = measure(record, image_type, args.count)
        print(f"{image_type}  {speed:8.1f}  {size:10.1f}")


if __name__ == "__main__":
    run_main(main)
