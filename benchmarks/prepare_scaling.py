"""Speed and memory of prepare_inputs.py by the number of worker processes.

    python benchmarks/prepare_scaling.py DATA

The table has a row for each number of workers and the columns
  images, straightened        number of images, number of pages found
  images/s, times the first   speed after the workers have started, and relative to the first row
  own MiB, resident MiB       peak memory of the largest worker: private memory, sampled every SAMPLE_S, and
                              resident memory, which includes torch's shared libraries
"""

import argparse
import os
import resource
import sys
import tempfile
import threading
import time
from functools import partial
from multiprocessing import active_children, get_context
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_preparation.straighten_image import OK, straighten_image
from datasets.competition import list_images
from digitization.options import StraightenerOptions
from utils.command import positive_int, run_main
from utils.device import use_one_thread
from utils.pool import Pool

SAMPLE_S = 0.02  # interval between samples of the memory


def private_mib(pid: int) -> float:
    """The private memory of a process in MiB, without shared libraries; 0 if it has ended."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:  # the process has ended
        return 0.0
    return int(status.split("RssAnon:")[1].split()[0]) / 1024 if "RssAnon:" in status else 0.0


def watch(stop: threading.Event, peaks: list[float]) -> None:
    """Sample the largest private memory of the children, or of this process if it has none, into `peaks`."""
    while not stop.wait(SAMPLE_S):
        children = [child.pid for child in active_children() if child.pid]
        peaks.append(max(map(private_mib, children or [os.getpid()])))


def measure(tasks: list[tuple[str, Path]], workers: int, answer) -> None:
    """Send images per second, the number of pages found, and a worker's peak private and resident MiB."""
    stamps: list[float] = []
    good, peaks, stop = 0, [0.0], threading.Event()
    threading.Thread(target=watch, args=(stop, peaks), daemon=True).start()
    with tempfile.TemporaryDirectory() as folder:
        use_one_thread()
        pool = Pool(StraightenerOptions(device="cpu"), workers)
        for _, outcome in pool.map(partial(straighten_image, folder=Path(folder)), tasks):
            stamps.append(time.perf_counter())
            good += getattr(outcome, "outcome", None) == OK
    stop.set()
    who = resource.RUSAGE_SELF if workers == 1 else resource.RUSAGE_CHILDREN
    rate = (len(stamps) - workers) / (stamps[-1] - stamps[workers - 1])
    answer.send((rate, good, max(peaks), resource.getrusage(who).ru_maxrss / 1024))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder with train/")
    parser.add_argument(
        "--images", type=positive_int, default=24, help="number of images (default: %(default)s)"
    )
    parser.add_argument("--types", nargs="+", help="image types (default: all)")
    parser.add_argument(
        "--workers", type=positive_int, nargs="+", default=[1, 2], help="numbers of workers (default: 1 2)"
    )
    args = parser.parse_args()
    table = list_images(args.data)
    if args.types:
        table = table[table["type"].isin(args.types)]
    tasks = list(zip(table["image_id"], table["path"], strict=True))[: args.images]
    if len(tasks) <= max(args.workers):
        parser.error(f"{args.data}: {len(tasks)} images are too few for {max(args.workers)} workers")
    rows: list[tuple[int, int, int, float, float, float]] = []
    for workers in args.workers:
        context = get_context("spawn")  # a fresh process, whose memory is its own
        receive, send = context.Pipe(duplex=False)
        process = context.Process(target=measure, args=(tasks, workers, send))
        process.start()
        send.close()
        rate, good, *memory = receive.recv()
        process.join()
        rows.append((workers, len(tasks), good, rate, rate / (rows[0][3] if rows else rate), *memory))
    columns = ["workers", "images", "straightened", "images/s", "times the first", "own MiB", "resident MiB"]
    print(pd.DataFrame(rows, columns=columns).to_string(index=False, float_format="{:.2f}".format))


if __name__ == "__main__":
    run_main(main)
