"""Accepted pages of a review as training data of stage 2: a laboratory's own paper makes its own network.

OUT is a folder of predict.py whose pages were accepted in review.py. Each is read once more and corrected as
it was; its rows, four at a time, are laid out as stage 2 sees them. DIR gets
  train/<id>/<id>-<type>.png, <id>.csv   the image, and its leads in mV
  train.csv, train_folds.csv             all rows of a page are in the same fold
  stage1/rectified_kaggle_data_4400x1700/<id>-<type>.rect.png       up to four rows, 4400 x 1700
  … .traces.npz          y (4, 4352) float32, the traces' y in px of that picture, NaN where nothing is to be
                         learnt: beyond the signal, and where a person could not read it; and the layout
  … .gridpoint_xy.npy    (R, C, 2) float32, the grid in px of the upright image
  … .rotation.npy        int, the orientation 0..7
and then   python train.py --data DIR --outputs DIR --init checkpoints/stage2_layouts.pt
"""

import argparse
import sys
import zlib
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from configs.layouts import RowGroup
from configs.page import MASK_WIDTH, RECTIFIED, SQUARES_PER_SECOND
from data_preparation.make_folds import DEFAULT_FOLDS, make_folds
from datasets.competition import image_path, record_path, write_folds, write_train_table
from datasets.prepared import FOLDER, LAST_FILE, write_traces
from digitization.geometry.row_strips import lay_out_rows, row_groups
from digitization.geometry.straighten import RectifiedPage
from digitization.record_files import record_name, write_record
from models.checkpoint import add_stage_arguments, checkpoint_path
from prediction.arguments import add_digitizer_arguments, digitizer_options
from review.session import Desk, OpenPage
from review.store import Store
from utils.command import log, progress, run_main
from utils.files import atomic_write, folder_lock
from utils.images import write_png

IMAGE_TYPE = "0005"  # under which the pages are filed: a photo, which any kind of capture may be
MAX_NAME = 80  # letters of a page's name that are kept in its id


def record_id(name: str, group: int) -> str:
    """The id of some rows of a page: its name as far as files may have it, and their number."""
    short = record_name(name)
    if len(short) > MAX_NAME:
        short = f"{short[:MAX_NAME]}-{zlib.crc32(name.encode(errors='surrogateescape')):08x}"
    return f"{short}-rows{group + 1}"


def strips_of(page: OpenPage) -> list[tuple[np.ndarray, np.ndarray, RowGroup]]:
    """The rows of a page, four at a time: (H, W, 3) uint8, y (4, MASK_WIDTH) px of it, and which they are."""
    assert page.shown is not None
    found, y = page.shown.page, page.shown.trace_result.y
    layout = page.shown.layout
    parts = []
    for rows in row_groups(layout.row_count):
        if isinstance(found, RectifiedPage):
            strips = found.rect
        else:
            speed = found.squares_per_second / SQUARES_PER_SECOND
            upright = page.reader.upright(found.orientation)
            strips = lay_out_rows(
                upright, found.gridpoint_xy, found.zero_lines[rows], found.starts[rows], speed
            )
        targets = np.full((len(RECTIFIED.zero_lines), MASK_WIDTH), np.nan, np.float32)
        targets[: len(rows)] = y[rows, :MASK_WIDTH]
        parts.append((strips, targets, RowGroup(layout, tuple(rows))))
    return parts


def write_page(page: OpenPage, data: Path) -> list[tuple[str, int, int]]:
    """Write the files of a page; its rows of train.csv."""
    assert page.shown is not None
    shown, rows = page.shown, []
    for number, (strips, y, group) in enumerate(strips_of(page)):
        record = record_id(page.entry.name, number)
        prepared = data / FOLDER / f"{record}-{IMAGE_TYPE}"
        write_record(record_path(data, record), shown.leads, shown.fs, shown.layout.duration_s)
        write_png(image_path(data, record, IMAGE_TYPE), page.image)
        for suffix, array in (
            (".gridpoint_xy.npy", shown.page.gridpoint_xy),
            (".rotation.npy", np.array(shown.page.orientation)),
        ):
            with atomic_write(prepared.with_name(f"{prepared.name}{suffix}")) as partial:
                np.save(partial, array)
        rect = prepared.with_name(f"{prepared.name}{LAST_FILE}")
        write_traces(rect, y, group)
        write_png(rect, strips)
        rows.append((record, shown.fs, shown.leads.shape[1]))
    return rows


def write_reviews(desk: Desk, data: Path) -> int:
    """Write all accepted pages of a desk's run; returns how many could not be read.

    Raises ValueError where fewer than two can, as one fold is held back.
    """
    accepted = [entry for entry in desk.store.entries() if entry.is_reviewed]
    table, pages = [], []
    for number, entry in enumerate(progress(accepted, len(accepted), "page")):
        try:
            page = desk.load(entry, with_draft=False)
            if page.shown is None:
                raise ValueError(page.reason)
            written = write_page(page, data)
        except (ValueError, OSError) as error:
            log.warning(f"warning: {entry.name}: {error}")
            continue
        table += written
        pages += [number] * len(written)
    count = len(set(pages))
    if count < 2:
        raise ValueError(f"{desk.store.folder}: {count} accepted pages that can be read, at least 2 needed")
    write_train_table(data, table)
    records = pd.DataFrame(table, columns=["id", "fs", "sig_len"])
    by_page = records.assign(page=pages).drop_duplicates("page")
    folds = make_folds(by_page, min(DEFAULT_FOLDS, count), seed=0).set_index("page")["fold"]
    write_folds(data, records.assign(fold=folds.loc[pages].to_numpy()))
    print(f"{count} pages as {len(table)} pictures in {data}")
    return len(accepted) - count


def main() -> int:
    """Returns 0 when all accepted pages are written, 1 when some could not be read."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder of predict.py with accepted pages")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    add_stage_arguments(parser, (0, 1))
    add_digitizer_arguments(parser)
    args = parser.parse_args()
    options = digitizer_options(args, args.stage0, args.stage1, args.stage2 or [checkpoint_path(2)])
    desk = Desk.of_options(Store(args.folder), options, args.threads)
    args.output.mkdir(parents=True, exist_ok=True)
    with folder_lock(args.output):
        return int(write_reviews(desk, args.output) > 0)


if __name__ == "__main__":
    run_main(main, "interrupted; what is written is whole")
