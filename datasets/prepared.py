"""Training pages on disk.

Stage 2 is trained on rectified pages and their records' signals, stages 0 and 1 on images with labels of
synthesize.py.
"""

import json
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from configs.layouts import Layout, RowGroup
from configs.page import DURATION_S, MASK_WIDTH, RECTIFIED
from configs.stage2 import CROP_TOP, INPUT_HEIGHT
from datasets.augmentation import augment_capture
from datasets.competition import list_images, read_folds, read_record, record_path
from datasets.labels import labels_path, read_labels
from datasets.pages import Samples
from datasets.stage2 import target_columns
from digitization.geometry.orientation import points_to_upright, undo_orientation
from synthesis.capture import Capture, label_keypoints
from synthesis.signals import Record
from utils.files import atomic_write
from utils.images import read_rgb

# Where prepare_inputs.py writes rectified pages, inside its --out.
FOLDER = Path("stage1") / f"rectified_kaggle_data_{RECTIFIED.width}x{RECTIFIED.height}"
LAST_FILE = ".rect.png"  # suffix of the file of a page that is written last


def split_by_fold(
    data: Path, fold: int, images: pd.DataFrame, missing: str, advice: str
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images of list_images outside a fold of train_folds.csv, and those in it.

    Raises ValueError when there is no such fold, or when either part is empty; `missing` and `advice` are the
    beginning and the end of that message.
    """
    folds = read_folds(data).set_index("id")["fold"]
    if fold not in set(folds):
        raise ValueError(f"{data / 'train_folds.csv'}: no fold {fold}")
    images = images[images["record"].isin(folds.index)]
    held = (images["record"].map(folds) == fold).to_numpy(bool)
    for kind, part in (("outside", images[~held]), ("in", images[held])):
        if not len(part):
            raise ValueError(f"{missing} {kind} fold {fold}{advice}")
    return images[~held], images[held]


def prepared_images(data: Path, outputs: Path, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images that have a rectified page, outside a fold and in it: tables as of list_images.

    Their columns `rect` and `signals` are the paths of the rectified page and of its record. Raises
    ValueError when either table is empty: prepare_inputs.py or make_folds.py has not been run.
    """
    images = list_images(data)
    rect = [outputs / FOLDER / f"{image_id}{LAST_FILE}" for image_id in images["image_id"]]
    signals = [record_path(data, record) for record in images["record"]]
    images = images.assign(rect=rect, signals=signals)
    there = np.array([row.rect.exists() and row.signals.exists() for row in images.itertuples()], bool)
    missing, advice = f"{outputs / FOLDER}: no prepared page", "; run prepare_inputs.py"
    return split_by_fold(data, fold, images[there], missing, advice)


def labelled_images(data: Path, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images with labels of synthesize.py, outside a fold and in it: tables as of list_images.

    Raises ValueError when either table is empty.
    """
    images = list_images(data)
    there = np.array([labels_path(path).exists() for path in images["path"]], bool)
    advice = (
        " has labels (<id>-<type>.labels.npz), on which stages 0 and 1 are trained; synthesize.py makes "
        "pages with labels"
    )
    return split_by_fold(data, fold, images[there], f"{data}: no image", advice)


def write_traces(rect: Path, y: np.ndarray, group: RowGroup) -> None:
    """Write the traces y (4, MASK_WIDTH) px of a rectified page that shows some rows of any layout."""
    with atomic_write(traces_path(rect)) as partial:
        np.savez_compressed(partial, y=y, layout=json.dumps(asdict(group.layout)), rows=np.array(group.rows))


def traces_path(rect: Path) -> Path:
    """Where the traces of a rectified page are kept that do not follow from its record."""
    return rect.with_name(f"{rect.name.removesuffix(LAST_FILE)}.traces.npz")


def read_traces(rect: Path) -> dict:
    """What `write_traces` wrote: y (4, W) float32 px in stage 2's input, and the group of rows."""
    with np.load(traces_path(rect)) as traces:
        values = json.loads(str(traces["layout"]))
        for name in ("rhythm", "boundaries"):
            values[name] = tuple(values[name])
        layout = Layout(**values | {"rows": tuple(map(tuple, values["rows"]))})
        group = RowGroup(layout, tuple(traces["rows"].tolist()))
        return {"y": traces["y"][:, :MASK_WIDTH] - np.float32(CROP_TOP), "group": group}


def read_prepared(rect: Path, signals: Path) -> dict:
    """A rectified page as Stage2Samples.prepare returns it: image (H, W, 3) uint8, y (4, W) float32 px.

    Of a page of from_reviews.py also `group`, the rows that it shows.
    """
    image = read_rgb(rect)
    if image.shape[:2] != (RECTIFIED.height, RECTIFIED.width):
        raise ValueError(
            f"{rect}: {image.shape[1]} x {image.shape[0]} px is not the size of a rectified page"
        )
    image = np.ascontiguousarray(image[CROP_TOP : CROP_TOP + INPUT_HEIGHT, :MASK_WIDTH])
    if traces_path(rect).exists():
        return {"image": image, **read_traces(rect)}
    return {"image": image, "y": target_columns(read_record(signals))}


def read_labelled(path: Path, signals: Path) -> tuple[Capture, Record]:
    """A labelled image, rotated upright, and its record."""
    image = read_rgb(path)
    gridpoint_xy, orientation = read_labels(labels_path(path))
    upright_xy = points_to_upright(gridpoint_xy, orientation, image.shape)
    leads = read_record(signals)
    record = Record(signals.stem, leads, leads.shape[1] // int(DURATION_S))
    return Capture(undo_orientation(image, orientation), upright_xy, label_keypoints(upright_xy), 0), record


class PreparedPages:
    """A source of rectified pages, with all image types equally frequent."""

    def __init__(self, images: pd.DataFrame):
        self.types = [group for _, group in images.groupby("type")]

    def __call__(self, rng: np.random.Generator) -> dict:
        image = choose_image(self.types, rng)
        page = read_prepared(image["rect"], image["signals"])
        return page | {"image": augment_capture(page["image"], rng)}


class LabelledPages:
    """A source of labelled images prepared for one stage, with all image types equally frequent."""

    def __init__(self, data: Path, images: pd.DataFrame, samples: Samples):
        self.data, self.samples = data, samples
        self.types = [group for _, group in images.groupby("type")]

    def __call__(self, rng: np.random.Generator) -> dict:
        image = choose_image(self.types, rng)
        capture, record = read_labelled(image["path"], record_path(self.data, image["record"]))
        return self.samples.prepare(capture, record, rng)


def choose_image(types: list[pd.DataFrame], rng: np.random.Generator) -> pd.Series:
    images = types[rng.integers(len(types))]
    return images.iloc[int(rng.integers(len(images)))]
