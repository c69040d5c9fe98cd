"""Pages that prepare_inputs.py has straightened, with their masks, for training stage 2."""

from pathlib import Path
from zipfile import BadZipFile
from zlib import error as ZlibError

import numpy as np
import pandas as pd

from configs.page import MASK_HEIGHT, MASK_WIDTH, RECTIFIED
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, ROW_CHANNELS
from data_preparation.generate_masks import mask_path
from data_preparation.prepare_inputs import FOLDER, LAST_FILE
from datasets.augmentation import vary_capture
from datasets.competition import list_images, read_folds
from utils.images import read_rgb
from utils.trace import columns_from_mask


def prepared_images(data: Path, outputs: Path, fold: int) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The images with a straightened page and a mask, as list_images lists them: outside a fold, and in it.

    Raises ValueError when either is empty: prepare_inputs.py or make_folds.py has not been run.
    """
    folds = read_folds(data).set_index("id")["fold"]
    if fold not in set(folds):
        raise ValueError(f"{data / 'train_folds.csv'}: no fold {fold}")
    images = list_images(data)
    images = images[images["record"].isin(folds.index)]
    rect = [outputs / FOLDER / f"{image_id}{LAST_FILE}" for image_id in images["image_id"]]
    images = images.assign(rect=rect, mask=[mask_path(data, record) for record in images["record"]])
    there = [row.rect.exists() and row.mask.exists() for row in images.itertuples()]
    images = images[np.array(there, bool)]
    held = (images["record"].map(folds) == fold).to_numpy(bool)
    for kind, part in (("outside", images[~held]), ("in", images[held])):
        if not len(part):
            raise ValueError(
                f"{outputs / FOLDER}: no prepared page {kind} fold {fold}; run prepare_inputs.py"
            )
    return images[~held], images[held]


def read_prepared(rect: Path, mask: Path) -> dict:
    """A straightened page as stage 2's samples keep it: image (H, W, 3) uint8, y (4, W) float32 px."""
    image = read_rgb(rect)
    if image.shape[:2] != (RECTIFIED.height, RECTIFIED.width):
        raise ValueError(f"{rect}: {image.shape[1]} x {image.shape[0]} px is no straightened page")
    try:
        with np.load(mask) as contents:
            drawn = contents["mask"]
    except (OSError, KeyError, ValueError, EOFError, BadZipFile, ZlibError) as error:
        raise ValueError(f"{mask}: not a mask ({error})") from error
    if drawn.shape != (MASK_HEIGHT, MASK_WIDTH, ROW_CHANNELS):
        raise ValueError(f"{mask}: a mask of shape {drawn.shape}")
    image = np.ascontiguousarray(image[CROP_TOP : CROP_TOP + INPUT_HEIGHT, :MASK_WIDTH])
    y = (columns_from_mask(drawn) - CROP_TOP).astype(np.float32)
    if not np.isfinite(y).any():
        raise ValueError(f"{mask}: a mask without a trace")
    return {"image": image, "y": y}


class PreparedPages:
    """A source of prepared pages, all image types alike often."""

    def __init__(self, images: pd.DataFrame):
        self.types = [group for _, group in images.groupby("type")]

    def __call__(self, rng: np.random.Generator) -> dict:
        images = self.types[rng.integers(len(self.types))]
        image = images.iloc[int(rng.integers(len(images)))]
        page = read_prepared(image["rect"], image["mask"])
        return page | {"image": vary_capture(page["image"], rng)}
