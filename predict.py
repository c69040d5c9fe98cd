"""Digitize ECG pages: python predict.py INPUT --output OUT.

INPUT is an image, a folder of images (one <name>.csv in mV per page), or a competition test.csv
(submission.csv with exactly the rows it asks for).
"""

import argparse
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from configs.page import DURATION_S, LEADS
from datasets.competition import LIMITS, read_test_table, write_record
from utils.checkpoint import CheckpointError, load_network
from utils.decode import find_gaps, rate_leads
from utils.device import choose_device, limit_threads
from utils.images import read_rgb
from utils.leads import leads_from_rows
from utils.straighten import Straightened, Straightener
from utils.submission import write_submission
from utils.tracing import Traced, Tracer

CHECKPOINTS = Path(__file__).parent / "checkpoints"
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp")
MAX_FS = LIMITS["fs"][1]  # Hz


@dataclass
class Digitized:
    """One page: `leads` (12, 10 * fs) mV in the order of LEADS, NaN outside a lead's own time."""

    leads: np.ndarray
    fs: int
    straightened: Straightened
    traced: Traced

    @property
    def confidence(self) -> np.ndarray:
        """(12,) in 0..1, of each lead."""
        return rate_leads(self.traced.confidence)

    @property
    def gaps(self) -> dict[str, list[tuple[float, float]]]:
        """lead -> [(start, stop)] s, where its trace could not be seen and was bridged."""
        return find_gaps(self.traced.confidence)


class Digitizer:
    """Pages to millivolts, with networks from three checkpoints; of stage 2 there may be several.

    `tta` also reads the mirrored page. Raises CheckpointError when a file is missing or does not fit.
    """

    def __init__(
        self,
        stage0: Path = CHECKPOINTS / "stage0.pt",
        stage1: Path = CHECKPOINTS / "stage1.pt",
        stage2: Path | Sequence[Path] = CHECKPOINTS / "stage2.pt",
        device: str | None = None,
        tta: bool = False,
    ):
        self.device = choose_device(device)
        nets = [load_network(path, stage, self.device) for stage, path in enumerate((stage0, stage1))]
        self.straightener = Straightener(*nets, self.device)
        paths = [stage2] if isinstance(stage2, (str, Path)) else stage2
        self.tracer = Tracer([load_network(path, 2, self.device) for path in paths], self.device, tta)

    def __call__(self, image: np.ndarray, fs: int = 500) -> Digitized:
        """Digitize a photo or scan (H, W, 3) uint8 RGB. Raises PageNotFound, a ValueError."""
        straightened = self.straightener.straighten(image)
        traced = self.tracer.trace(straightened.rect, int(DURATION_S * fs))
        return Digitized(leads_from_rows(traced.rows), fs, straightened, traced)


def warn(message: str) -> None:
    tqdm.write(f"warning: {message}", file=sys.stderr)


def digitize_each(
    digitizer: Digitizer, pages: dict[str, tuple[Path, int]]
) -> Iterator[tuple[str, Digitized | None]]:
    """Digitize name -> (image path, fs); a page that cannot be read is warned of and comes as None."""
    counts = {"done": 0, "doubtful": 0, "failed": 0}
    started = time.monotonic()
    for name, (path, fs) in tqdm(pages.items(), unit="page", disable=None):
        try:
            page = digitizer(read_rgb(path), fs)
        except (ValueError, OSError) as error:
            reason = str(error)
            warn(reason if str(path) in reason else f"{path}: {reason}")
            counts["failed"] += 1
            yield name, None
            continue
        doubts = page.straightened.doubts
        for doubt in doubts:
            warn(f"{path}: doubtful, {doubt}")
        counts["doubtful" if doubts else "done"] += 1
        yield name, page
    listed = ", ".join(f"{count} {outcome}" for outcome, count in counts.items())
    print(f"{len(pages)} pages: {listed}; {time.monotonic() - started:.1f} s")


def unknown_leads(fs: int) -> np.ndarray:
    return np.zeros((len(LEADS), int(DURATION_S * fs)), np.float32)


def predict_images(digitizer: Digitizer, paths: list[Path], output: Path, fs: int) -> int:
    """Write <name>.csv for each image, zeros for a page that cannot be read; returns how many failed."""
    pages = {name: (path, fs) for name, path in name_outputs(paths).items()}
    for name, (path, _) in pages.items():
        if output.resolve() == path.parent.resolve() and (output / f"{name}.csv").exists():
            raise ValueError(f"{output / name}.csv: exists beside its image; choose another --output")
    failed = 0
    for name, page in digitize_each(digitizer, pages):
        failed += page is None
        try:
            write_record(output / f"{name}.csv", unknown_leads(fs) if page is None else page.leads, fs)
        except OSError as error:
            warn(f"{output / name}.csv: {error.strerror}")
            failed += page is not None
    return failed


def name_outputs(paths: list[Path]) -> dict[str, Path]:
    """A name for the result of each image: its stem, or where two would share one, its whole name."""
    stems, whole = Counter(path.stem for path in paths), {path.name for path in paths}
    unique = [stems[path.stem] == 1 and path.stem not in whole for path in paths]
    return {path.stem if alone else path.name: path for path, alone in zip(paths, unique, strict=True)}


def find_image(folder: Path, image_id: str) -> Path:
    """The image of a test id; the .png that it should be when there is none."""
    suffixes = (*IMAGE_SUFFIXES, *(suffix.upper() for suffix in IMAGE_SUFFIXES))
    candidates = [folder / f"{image_id}{suffix}" for suffix in suffixes]
    return next((path for path in candidates if path.exists()), candidates[0])


def predict_test(digitizer: Digitizer, table_path: Path, images: Path, output: Path) -> int:
    """Write submission.csv with the rows that test.csv asks for; returns how many pages failed."""
    table = read_test_table(table_path)
    rates = table.groupby("id", sort=False)["fs"].first()
    pages = {str(image_id): (find_image(images, str(image_id)), int(fs)) for image_id, fs in rates.items()}
    signals, failed = {}, 0
    for image_id, page in digitize_each(digitizer, pages):
        if page is None:
            failed += 1
        else:
            signals[image_id] = {
                lead: signal[np.isfinite(signal)] for lead, signal in zip(LEADS, page.leads, strict=True)
            }
    write_submission(output / "submission.csv", table, signals)
    return failed


def find_images(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    paths = sorted(path for path in found if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise ValueError(f"{folder}: no images in it ({', '.join(IMAGE_SUFFIXES)})")
    return paths


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("input", type=Path, help="an image, a folder of images, or test.csv")
    parser.add_argument("--output", type=Path, required=True, help="folder to write to")
    parser.add_argument("--images", type=Path, help="folder of test.csv's images (default: test/ beside it)")
    parser.add_argument("--fs", type=int, default=500, help="Hz of the signals of images (default 500)")
    parser.add_argument("--stage0", type=Path, default=CHECKPOINTS / "stage0.pt")
    parser.add_argument("--stage1", type=Path, default=CHECKPOINTS / "stage1.pt")
    parser.add_argument(
        "--stage2",
        "--weights",
        type=Path,
        nargs="+",
        default=[CHECKPOINTS / "stage2.pt"],
        help="one checkpoint of stage 2, or several whose signals are averaged",
    )
    parser.add_argument("--tta", action="store_true", help="read the mirrored page too, and average")
    parser.add_argument("--device", help="cpu, cuda, ... (default: CUDA when there is one)")
    parser.add_argument("--threads", type=int, help="torch threads on the CPU")
    return parser.parse_args()


def main() -> int:
    """Returns 0 when every page was read, 1 when some failed; raises when nothing can be done."""
    args = parse_arguments()
    if not args.input.exists():
        raise ValueError(f"{args.input}: no such file or folder")
    if not 1 <= args.fs <= MAX_FS:
        raise ValueError(f"--fs {args.fs}: must be above 0 and at most {MAX_FS}")
    limit_threads(args.threads)
    digitizer = Digitizer(args.stage0, args.stage1, args.stage2, args.device, args.tta)
    args.output.mkdir(parents=True, exist_ok=True)
    if args.input.suffix.lower() == ".csv":
        images = args.images or args.input.parent / "test"
        if not images.is_dir():
            raise ValueError(f"{images}: no such folder of images")
        failed = predict_test(digitizer, args.input, images, args.output)
    else:
        paths = find_images(args.input) if args.input.is_dir() else [args.input]
        failed = predict_images(digitizer, paths, args.output, args.fs)
    return int(failed > 0)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (ValueError, OSError, CheckpointError) as error:
        sys.exit(f"predict.py: {error}")
    except KeyboardInterrupt:
        sys.exit("predict.py: interrupted; what is written is whole")
