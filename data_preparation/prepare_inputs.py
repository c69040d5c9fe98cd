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

Workers read, straighten and write at the same time, each on one thread; give --workers at most the number
of cores. On the CPU they share the networks' memory; each CUDA device has one process, whose networks see
images in batches. With --dask the workers are those of a running Dask cluster, which see the same files
under the same paths, this folder's code among them; each holds its own networks.
"""

import argparse
import json
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from data_preparation.generate_masks import generate_masks
from data_preparation.straighten_image import FILES, OK, Outcome, straighten_image
from datasets.competition import DATA, check_data, list_images
from datasets.prepared import FOLDER
from digitization.geometry.straighten import Straightener
from digitization.options import StraightenerOptions
from models.checkpoint import add_stage_arguments
from utils.command import positive_int, progress, run_main
from utils.device import add_precision_argument, use_one_thread
from utils.files import atomic_write, folder_lock, hash_file, is_newer, remove_partial_files
from utils.journal import Journal
from utils.pool import Pool
from utils.workers import WorkerDied

ROOT = Path(__file__).resolve().parents[1]
NETWORKS_FILE = "networks.json"  # which weights made the folder
COLUMNS = [field.name for field in fields(Outcome)]
NEWER_COLUMNS = ("slip",)  # which version 0.2.0 did not write; its pages are straightened again


def find_undone(
    images: pd.DataFrame, outcomes: Mapping[str, Mapping], folder: Path
) -> list[tuple[str, Path]]:
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


def check_networks(options, folder: Path) -> None:
    """Note which weights a folder is made with; ValueError when they are not those that it was begun with."""
    path = folder / NETWORKS_FILE
    weights = {f"stage{n}": hash_file(file) for n, file in enumerate((options.stage0, options.stage1))}
    if not path.exists():
        with atomic_write(path) as unfinished:
            unfinished.write_text(json.dumps(weights, indent=1))
        return
    try:
        made_with = json.loads(path.read_text())
    except ValueError as error:
        raise ValueError(f"{path}: {error}; choose another --out") from None
    if made_with != weights:
        raise ValueError(f"{path}: pages there were made with other weights; choose another --out")


def prepare_inputs(
    images: pd.DataFrame, pool: Pool[Straightener], folder: Path, debug: bool = False
) -> dict[str, str]:
    """Straighten the images not done yet, noting each outcome at once; failures, image_id -> reason.

    With `debug` their grids are drawn too. Raises ValueError when another run is writing to the same folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with folder_lock(folder, folder / ".lock"):
        remove_partial_files(folder)
        check_networks(pool.options, folder)
        journal = Journal(folder / "outcomes.csv", COLUMNS, NEWER_COLUMNS)
        undone = find_undone(images, journal.rows, folder)
        if pool.dask is not None:
            undone = [(image_id, path.absolute()) for image_id, path in undone]
        results = pool.map(partial(straighten_image, folder=folder, debug=debug), undone)
        failures = {}
        with journal.replace(image_id for image_id, _ in undone):
            for task, result in progress(results, len(images), "image", done=len(images) - len(undone)):
                outcome = Outcome(task[0], str(result)) if isinstance(result, WorkerDied) else result
                journal.add(asdict(outcome))
                if outcome.outcome != OK:
                    failures[outcome.image_id] = outcome.outcome
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
    options = StraightenerOptions(args.stage0.resolve(), args.stage1.resolve(), args.device, args.precision)
    folder = args.out.resolve() / FOLDER
    use_one_thread()
    check_data(args.data)
    pool = Pool(options, args.workers, dask=args.dask)
    images = list_images(args.data)
    if args.debug:
        images = images[images["record"].isin(images["record"].unique()[: args.debug_samples])]
    failures = prepare_inputs(images, pool, folder, args.debug)
    mask_failures = generate_masks(args.data, images["record"].unique(), args.workers)
    for name, reason in (mask_failures | failures).items():
        print(f"failed: {name}: {reason}", file=sys.stderr)
    print(f"{len(images) - len(failures)} of {len(images)} images straightened, in {folder}")
    return int(bool(mask_failures or failures))


if __name__ == "__main__":
    run_main(main, "interrupted; what is written is whole, run it again to go on")
