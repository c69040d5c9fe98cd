"""Straighten every training image: the rectified pages that stage 2 is trained on, and their masks.

Writes for each image <id>-<type>, under OUT/stage1/rectified_kaggle_data_4400x1700/,
  .rect.png         the rectified page, 4400 x 1700
  .homo.npy         (3, 3) float64, px of the upright image to px of the stage-1 frame (1440 x 1152)
  .rotation.npy     int, the orientation 0..7: image == apply_orientation(upright, orientation), see
                    digitization/geometry/orientation.py
  .gridpoint_xy.npy (44, 57, 2) float32, the grid in px of the upright image
  .slip.npz         slices of paper that a slipping scanner lost, for datasets.labels.read_slip; with it
                    digitization.geometry.rectify.unrectify_points takes points of the rectified page to
                    the upright image
and outcomes.csv, which has a row for each image: ok, or the reason why not. A later run goes on where
this one stopped, even killed, and tries the failed images again. The masks go to DATA/mask_4352x1696/.

Workers read, straighten and write at the same time, each on one thread: as many as there are cores. On the
CPU they share the networks' memory; on CUDA this process alone holds the networks and answers the workers in
batches. With --dask the workers are those of a running Dask cluster, which see the same files under the same
paths, this folder's code among them; each holds its own networks.
"""

import argparse
import csv
import json
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields
from functools import cache
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import torch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_preparation.generate_masks import generate_masks
from datasets.competition import DATA, check_data, list_images
from datasets.prepared import FOLDER, LAST_FILE
from digitization.geometry.orientation import undo_orientation
from digitization.geometry.slip import slip_arrays
from digitization.geometry.straighten import RectifiedPage, Straightener
from models.checkpoint import add_stage_arguments, load_network
from utils.command import positive_int, progress, run_main
from utils.device import (
    AUTO,
    add_precision_argument,
    choose_devices,
    choose_precision,
    keep_memory,
    use_one_thread,
)
from utils.files import atomic_write, folder_lock, hash_file, is_newer, remove_partial_files
from utils.images import read_rgb, write_png
from utils.serving import NetServer
from utils.workers import WorkerDied, map_unordered

ROOT = Path(__file__).resolve().parents[1]
FILES = (".homo.npy", ".rotation.npy", ".gridpoint_xy.npy", ".slip.npz", LAST_FILE)
NETWORKS_FILE = "networks.json"  # which weights made the folder
DEBUG_WIDTH = 1600  # px of the pictures of --debug


@dataclass(frozen=True)
class Outcome:
    """A row of outcomes.csv; `outcome` is OK or the reason of the failure, the rest empty then."""

    image_id: str
    outcome: str
    orientation: int | None = None
    page_score: float | None = None
    seen: int | None = None  # grid points, of 44 * 57
    px_per_mm_x: float | None = None
    px_per_mm_y: float | None = None
    aspect: float | None = (
        None  # a square's height over its width, see digitization.geometry.calibration.Calibration
    )
    slip: str | None = None  # what a slipping scanner lost and where, empty for a steady page
    seconds: float | None = None


OK = "ok"
DASK_TIMEOUT = 20  # s, to find the scheduler
COLUMNS = [field.name for field in fields(Outcome)]
NEWER_COLUMNS = ("slip",)  # which version 0.2.0 did not write; its pages are straightened again


@dataclass(frozen=True)
class Job:
    """What a worker needs beside the image: where the networks are, where they run, where results go."""

    stage0: Path
    stage1: Path
    device: str
    folder: Path
    debug: bool
    precision: str = AUTO


def write_array(path: Path, array: np.ndarray) -> None:
    """Save as .npy, atomically."""
    with atomic_write(path) as partial:
        np.save(partial, array)


def load_networks(job: Job) -> tuple[torch.nn.Module, torch.nn.Module]:
    precision = choose_precision(job.precision, choose_devices(job.device)[0])
    return load_network(job.stage0, 0, precision=precision), load_network(job.stage1, 1, precision=precision)


def init_worker() -> None:
    """What a process does first that is to work through many images beside others."""
    use_one_thread()
    keep_memory()


@cache
def load_straightener(job: Job) -> Straightener:
    """Both networks on the job's device, once for each process, on one thread."""
    init_worker()
    return Straightener(*load_networks(job), device=choose_devices(job.device)[0])


def draw_grid(upright: np.ndarray, rectified: RectifiedPage) -> np.ndarray:
    """the upright image, DEBUG_WIDTH px wide, with its grid points: green as seen, red as filled in."""
    scale = DEBUG_WIDTH / upright.shape[1]
    picture = cv2.resize(upright, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    points = np.round((rectified.gridpoint_xy + 0.5) * scale - 0.5).astype(int)
    for x, y, seen in zip(*points.reshape(-1, 2).T, rectified.seen.ravel(), strict=True):
        cv2.circle(picture, (int(x), int(y)), 2, (0, 180, 0) if seen else (255, 0, 0), -1)
    return picture


def prepare_image(image_id: str, path: Path, job: Job, straightener: Straightener) -> Outcome:
    """Straighten one image and write its files. Whatever goes wrong with it becomes its outcome."""
    started = time.monotonic()
    try:
        image = read_rgb(path)
        rectified = straightener.straighten(image)
        if job.debug:
            upright = undo_orientation(image, rectified.orientation)
            write_png(job.folder / f"{image_id}.debug.png", draw_grid(upright, rectified))
        write_array(job.folder / f"{image_id}.homo.npy", rectified.homography)
        write_array(job.folder / f"{image_id}.rotation.npy", np.array(rectified.orientation))
        write_array(job.folder / f"{image_id}.gridpoint_xy.npy", rectified.gridpoint_xy)
        with atomic_write(job.folder / f"{image_id}.slip.npz") as partial:
            np.savez(partial, **slip_arrays(rectified.slip))
        write_png(job.folder / f"{image_id}{LAST_FILE}", rectified.rect)
    except Exception as error:  # one image never stops the others; its row says what happened
        kind = "" if isinstance(error, ValueError) else f"{type(error).__name__}: "
        return Outcome(image_id, " ".join(f"{kind}{error}".split()) or type(error).__name__)
    px_per_mm_x, px_per_mm_y = (round(float(scale), 4) for scale in rectified.calibration.px_per_mm)
    return Outcome(
        image_id,
        OK,
        rectified.orientation,
        round(rectified.page_score, 4),
        int(rectified.seen.sum()),
        px_per_mm_x,
        px_per_mm_y,
        round(rectified.calibration.aspect, 4),
        str(rectified.slip or ""),
        round(time.monotonic() - started, 2),
    )


def read_outcomes(path: Path) -> dict[str, dict]:
    """The last whole row of each image in outcomes.csv, by image_id; empty when there is no file.

    Raises ValueError when the columns are others.
    """
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        reader = csv.DictReader(file)
        if {*(reader.fieldnames or ()), *NEWER_COLUMNS} != set(COLUMNS):
            raise ValueError(f"{path}: columns {reader.fieldnames}, not {COLUMNS}; choose another --out")
        whole = [row for row in reader if None not in row and None not in row.values()]
        return {row["image_id"]: dict.fromkeys(NEWER_COLUMNS, "") | row for row in whole}


def write_outcomes(path: Path, outcomes: dict[str, dict]) -> None:
    """outcomes.csv, one row for each image, atomically."""
    with atomic_write(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(outcomes.values())


def find_undone(images: pd.DataFrame, outcomes: dict[str, dict], folder: Path) -> list[tuple[str, Path]]:
    """(image id, path) of the images without an `ok` row, without all their files or newer than these."""

    def done(image_id: str, path: Path) -> bool:
        if outcomes.get(image_id, {}).get("outcome") != OK:
            return False
        made = [folder / f"{image_id}{suffix}" for suffix in FILES]
        return all(file.exists() for file in made) and not is_newer(path, made[-1])

    tasks = (
        (image_id, Path(path)) for image_id, path in zip(images["image_id"], images["path"], strict=True)
    )
    return [task for task in tasks if not done(*task)]


def check_networks(job: Job) -> None:
    """Note which weights a folder is made with; ValueError when they are not those that it was begun with."""
    path = job.folder / NETWORKS_FILE
    weights = {f"stage{n}": hash_file(file) for n, file in enumerate((job.stage0, job.stage1))}
    if not path.exists():
        with atomic_write(path) as partial:
            partial.write_text(json.dumps(weights, indent=1))
    elif json.loads(path.read_text()) != weights:
        raise ValueError(f"{path}: pages there were made with other weights; choose another --out")


in_worker: dict = {}  # what start_worker leaves in its process for prepare_task


def start_worker(job: Job, stage0_net: torch.nn.Module, stage1_net: torch.nn.Module) -> None:
    init_worker()
    in_worker.update(job=job, straightener=Straightener(stage0_net, stage1_net))


def prepare_task(task: tuple[str, Path]) -> Outcome:
    return prepare_image(*task, in_worker["job"], in_worker["straightener"])


def prepare_here(tasks: list[tuple[str, Path]], job: Job, workers: int) -> Iterator[Outcome]:
    """Outcomes of (image id, path) as they come, from so many processes; one worker is this process."""
    if workers == 1:
        straightener = load_straightener(job)
        for task in tasks:
            yield prepare_image(*task, job, straightener)
        return
    with ExitStack() as stack:
        nets: Sequence[torch.nn.Module] = load_networks(job)
        if job.device == "cpu":
            nets = [net.share_memory() for net in nets]
        else:
            server = NetServer(nets, choose_devices(job.device), half=job.precision == AUTO)
            nets = stack.enter_context(server).remotes()
        for (image_id, _), outcome in map_unordered(prepare_task, tasks, workers, start_worker, (job, *nets)):
            yield Outcome(image_id, str(outcome)) if isinstance(outcome, WorkerDied) else outcome


def prepare_on_cluster(task: tuple[str, Path], job: Job) -> Outcome:
    return prepare_image(*task, job, load_straightener(job))


def prepare_with_dask(tasks: list[tuple[str, Path]], job: Job, address: str) -> Iterator[Outcome]:
    """Outcomes of (image id, path) as they come, from the Dask cluster whose scheduler is at the address.

    Raises ValueError when it cannot be reached or has no workers.
    """
    try:
        from dask.distributed import Client, WorkerPlugin
        from joblib import Parallel, delayed, parallel_config
    except ImportError:
        raise ValueError("--dask: `pip install distributed` first") from None

    class FindCode(WorkerPlugin):
        """Puts this repository on each worker's path, those that join later too."""

        def __init__(self, root: str):
            self.root = root

        def setup(self, worker) -> None:
            if self.root not in sys.path:
                sys.path.insert(0, self.root)

    try:
        client = Client(address, timeout=DASK_TIMEOUT)
    except (OSError, ValueError) as error:
        raise ValueError(f"--dask {address}: no scheduler there ({error})") from None
    with client:
        if not client.scheduler_info(n_workers=-1)["workers"]:
            raise ValueError(f"--dask {address}: the cluster has no workers")
        client.register_plugin(FindCode(str(ROOT)))
        # by its full name, for the workers to import, also where this file is run as a script
        from data_preparation.prepare_inputs import prepare_on_cluster as prepare

        with parallel_config("dask", client=client):
            parallel = Parallel(return_as="generator_unordered", batch_size=1)
            yield from parallel(delayed(prepare)((name, path.resolve()), job) for name, path in tasks)


def prepare_inputs(
    images: pd.DataFrame, job: Job, workers: int = 1, dask: str | None = None
) -> dict[str, str]:
    """Straighten the images not done yet, noting each outcome at once; failures, image_id -> reason.

    `dask` is the address of a cluster that does it in the place of this machine's workers. Raises ValueError
    when another run is writing to the same folder.
    """
    job.folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(job.folder, job.folder / ".lock"):
        remove_partial_files(job.folder)
        check_networks(job)
        return prepare_undone(images, job, workers, dask)


def prepare_undone(images: pd.DataFrame, job: Job, workers: int, dask: str | None) -> dict[str, str]:
    table = job.folder / "outcomes.csv"
    known = read_outcomes(table)
    write_outcomes(table, known)
    undone = find_undone(images, known, job.folder)
    failures = {}
    with table.open("a", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        outcomes = prepare_with_dask(undone, job, dask) if dask else prepare_here(undone, job, workers)
        for outcome in progress(outcomes, len(images), "image", done=len(images) - len(undone)):
            writer.writerow(asdict(outcome))
            file.flush()
            if outcome.outcome != OK:
                failures[outcome.image_id] = outcome.outcome
    write_outcomes(table, read_outcomes(table))
    return failures


def parse_arguments(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with train/ (default: data)")
    parser.add_argument(
        "--out", type=Path, default=Path("outputs"), help="folder to write to (default: outputs)"
    )
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=1,
        help="number of processes, at most one per core (default: %(default)s)",
    )
    parser.add_argument(
        "--dask",
        metavar="ADDRESS",
        help="use the workers of a running Dask cluster; ADDRESS is its scheduler's, tcp://HOST:8786",
    )
    parser.add_argument(
        "--device", help="cpu, cuda:0, cuda:0,cuda:1 ... (default: all CUDA devices, else the CPU)"
    )
    add_precision_argument(parser)
    add_stage_arguments(parser, (0, 1))
    parser.add_argument(
        "--debug", action="store_true", help="a few records only, with pictures of their grids"
    )
    parser.add_argument(
        "--debug-samples",
        type=positive_int,
        default=4,
        help="number of records with --debug (default: %(default)s)",
    )
    return parser.parse_args(arguments)


def main(arguments: list[str] | None = None) -> int:
    """Returns 0 when all images and masks are there, 1 when some failed; raises when nothing can be done."""
    args = parse_arguments(arguments)
    job = Job(
        args.stage0.resolve(),
        args.stage1.resolve(),
        ",".join(map(str, choose_devices(args.device))),
        args.out.resolve() / FOLDER,
        args.debug,
        args.precision,
    )
    check_data(args.data)
    load_networks(job)  # a bad checkpoint stops the run, not each image
    images = list_images(args.data)
    if args.debug:
        images = images[images["record"].isin(images["record"].unique()[: args.debug_samples])]
    failures = prepare_inputs(images, job, args.workers, args.dask)
    mask_failures = generate_masks(args.data, images["record"].unique(), args.workers)
    for name, reason in (mask_failures | failures).items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    print(f"{len(images) - len(failures)} of {len(images)} images straightened, in {job.folder}")
    return int(bool(mask_failures or failures))


if __name__ == "__main__":
    run_main(main, "interrupted; what is written is whole, run it again to go on")
