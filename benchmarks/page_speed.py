"""Time of each step from an image file to millivolts, in seconds per page.

    python benchmarks/page_speed.py

The table has a row for each step, and a column each for a synthetic page as a 2200 x 1700 render and as a
4032 x 3024 photo. Values are medians over repeats; on CUDA those of the networks are for a batch, divided by
its size, and the last row is the peak GPU memory.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.page import DURATION_S, MASK_WIDTH
from configs.stage1 import FRAME_HEIGHT, FRAME_WIDTH
from configs.stage2 import CROP_TOP, INPUT_HEIGHT
from digitization.geometry.frame import warp_to_frame
from digitization.geometry.grid import decode_grid
from digitization.geometry.keypoints import prepare_input, stage0_config
from digitization.geometry.orientation import undo_orientation
from digitization.geometry.rectify import rectify
from digitization.geometry.straighten import Straightener
from digitization.signal.decode import decode_rows
from digitization.signal.tracer import Tracer
from models.checkpoint import CHECKPOINTS, checkpoint_path, load_network
from models.tensors import to_tensor
from synthesis import Pose, synthesize
from synthesis.signals import deepfake_record, find_records, read_record
from utils.command import positive_int, run_main
from utils.device import add_precision_argument, choose_device, choose_precision, keep_memory, limit_threads
from utils.images import read_rgb, write_png

Result = TypeVar("Result")


def timed(device: torch.device, repeats: int, step: Callable[[], Result]) -> tuple[float, Result]:
    """The median seconds of a step over repeats after a warm-up run, and its result."""
    seconds, result = [], step()
    for _ in range(repeats):
        started = time.perf_counter()
        result = step()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        seconds.append(time.perf_counter() - started)
    return float(np.median(seconds)), result


@torch.inference_mode()
def measure(
    straightener: Straightener, tracer: Tracer, path: Path, repeats: int, batch: int
) -> dict[str, float]:
    """Seconds of each step and of whole stages for one image file, by name."""
    device = straightener.device
    nets = straightener.stage0_net, straightener.stage1_net
    row = {}
    row["read"], image = timed(device, repeats, lambda: read_rgb(path))
    tensor = prepare_input(image, stage0_config(nets[0])).tensor.to(device).repeat(batch, 1, 1, 1)
    row["stage 0 net"], _ = timed(device, repeats, lambda: nets[0](tensor))
    row["find page"], page = timed(device, repeats, lambda: next(straightener.find_pages(image)))
    upright = undo_orientation(image, page.orientation)
    row["warp"], frame = timed(device, repeats, lambda: to_tensor(warp_to_frame(upright, page.homography)))
    frame = frame.to(device).repeat(batch, 1, 1, 1)
    assert frame.shape[2:] == (FRAME_HEIGHT, FRAME_WIDTH)
    row["stage 1 net"], output = timed(device, repeats, lambda: nets[1](frame))
    maps = {head: logits[0, 0].float().sigmoid().cpu().numpy() for head, logits in output.items()}
    decode = lambda: decode_grid(maps["gridpoint"], page, maps.get("leadend"))  # noqa: E731
    row["decode grid"], grid = timed(device, repeats, decode)
    row["remap"], rect = timed(device, repeats, lambda: rectify(upright, grid.gridpoint_xy))
    row["write"], _ = timed(device, repeats, lambda: write_png(path.with_name("rect.png"), rect))
    row["stage 0 + stage 1 + remap"], _ = timed(device, repeats, lambda: straightener.straighten(image))
    tracing = tracer.nets[0]
    crop = to_tensor(rect[CROP_TOP : CROP_TOP + INPUT_HEIGHT, :MASK_WIDTH]).to(device).repeat(batch, 1, 1, 1)
    row["stage 2 net"], logits = timed(device, repeats, lambda: tracing(crop))
    length, row_stride = int(DURATION_S * 500), INPUT_HEIGHT // logits.shape[2]
    row["decode traces"], _ = timed(device, repeats, lambda: decode_rows(logits[0], row_stride, length))
    row["stage 2 + decoding"], _ = timed(device, repeats, lambda: tracer.trace(rect, length))
    for name in ("stage 0 net", "stage 1 net", "stage 2 net"):
        row[name] /= batch
    if device.type == "cuda":
        row["GPU memory, GiB"] = torch.cuda.max_memory_allocated(device) / 2**30
    return row


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--records", type=Path, help="folder with WFDB records (default: a simulated ECG)")
    parser.add_argument("--repeats", type=positive_int, default=5, help="default: %(default)s")
    parser.add_argument("--threads", type=positive_int, help="torch threads on the CPU")
    parser.add_argument("--device", help="default: CUDA if available, else cpu")
    add_precision_argument(parser)
    parser.add_argument("--batch", type=positive_int, default=8, help="batch size on CUDA (default: 8)")
    parser.add_argument("--checkpoints", type=Path, default=CHECKPOINTS, help="folder with stageN.pt")
    args = parser.parse_args()
    limit_threads(args.threads)
    keep_memory()
    if args.threads:
        cv2.setNumThreads(args.threads)
    device = choose_device(args.device)
    precision = choose_precision(args.precision, device)
    stage0, stage1, stage2 = (
        load_network(checkpoint_path(n, args.checkpoints), n, device, precision) for n in range(3)
    )
    straightener, tracer = Straightener(stage0, stage1, device), Tracer([stage2], device)
    rng = np.random.default_rng(0)
    record = read_record(find_records(args.records)[0]) if args.records else deepfake_record(rng)
    pages = {
        "2200 x 1700 render": synthesize(record, "0001", rng, orientation=0),
        "4032 x 3024 photo": synthesize(
            record, "0005", rng, orientation=0, pose=Pose((4032, 3024), 0.1, 0.1)
        ),
    }
    batch = args.batch if device.type == "cuda" else 1
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, page in pages.items():
            path = Path(folder) / "page.png"
            write_png(path, page.image)
            columns[name] = measure(straightener, tracer, path, args.repeats, batch)
    threads = f"{torch.get_num_threads()} threads" if device.type == "cpu" else f"batches of {batch}"
    print(f"seconds per page, {device}, {threads}, {str(precision).removeprefix('torch.')}")
    print(pd.DataFrame(columns).to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    run_main(main)
