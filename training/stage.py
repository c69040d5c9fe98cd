"""What a stage brings to the training loop: its network, samples, loss and validation."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np
import pandas as pd
import torch

from configs.network import NetworkConfig
from configs.page import IMAGE_TYPES
from datasets.competition import record_path
from datasets.layouts import draw_layout
from datasets.pages import PageSource, Samples, readable_records
from datasets.prepared import LabelledPages, labelled_images, read_labelled
from models.unet import UNet
from synthesis import synthesize
from synthesis.signals import find_records, is_heldout

VALIDATION_SEED = 1_000_003  # seed of the validation pages, the same in all runs
Net = TypeVar("Net", bound=UNet)
Output = TypeVar("Output", torch.Tensor, dict[str, torch.Tensor])


@dataclass(frozen=True)
class ValidationPage:
    """A page with its true signals and a fixed sample of it."""

    image_type: str
    page: dict  # as Samples.prepare returns it
    leads: np.ndarray  # (12, T) mV
    fs: int  # Hz
    sample: tuple[np.ndarray, ...]


class Stage(ABC, Generic[Net, Output]):
    """One stage's part in training; subclasses define its samples, loss and validation."""

    number: ClassVar[int]
    network: type[Net]

    @abstractmethod
    def samples(self, net: Net) -> Samples:
        """How training and validation samples are made from pages."""

    @abstractmethod
    def loss(self, output: Output, target: list[torch.Tensor], net: Net) -> torch.Tensor:
        """The loss of the network's output for a batch; `target` holds the samples' parts after the image."""

    @abstractmethod
    def validate(
        self, net: Net, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        """A score (higher is better) and scalars for the log."""

    def preview(self, net: Net, page: ValidationPage, device: torch.device) -> np.ndarray | None:
        """The network's output for a page as an image (H, W, 3) uint8 RGB for the log, if there is one."""
        return None

    def build(self, config: NetworkConfig, pretrained: bool) -> Net:
        return self.network(config, pretrained)

    def pages_on_disk(
        self, data: Path, outputs: Path, fold: int, count: int, samples: Samples
    ) -> tuple[PageSource, list[ValidationPage]]:
        """A training source of a folder's pages outside a fold, and `count` validation pages of the fold.

        These are images with labels of synthesize.py; for stage 2 they are the pages that prepare_inputs.py
        rectified into `outputs`.
        """
        training, held = labelled_images(data, fold)
        pages = []
        for index, image in enumerate(spread_over_types(held, count).itertuples()):
            rng = np.random.default_rng([VALIDATION_SEED, index])
            capture, record = read_labelled(image.path, record_path(data, image.record))
            page = samples.prepare(capture, record, rng)
            sample = samples.sample(page, rng)
            pages.append(ValidationPage(image.type, page, record.leads, record.fs, sample))
        return LabelledPages(data, training, samples), pages

    def validation(self, records: Path, count: int, samples: Samples) -> list[ValidationPage]:
        """Synthetic pages of held-out records, cycling through the image types.

        Of these the share `layout_share` is of any layout, evenly among the others.
        """
        heldout = (path for path in find_records(records) if is_heldout(path.stem))
        unseen = list(islice(readable_records(heldout), count))
        if not unseen:
            raise ValueError(f"{records}: no held-out records to validate on that can be read")
        pages = []
        for index, (record, image_type) in enumerate(islice(zip(cycle(unseen), cycle(IMAGE_TYPES)), count)):
            rng = np.random.default_rng([VALIDATION_SEED, index])
            share = samples.config.layout_share
            if int((index + 1) * share) > int(index * share):
                page = samples.prepare_layout(draw_layout(record, image_type, rng), record, rng)
            else:
                capture = synthesize(record, image_type, rng, orientation=0)
                page = samples.prepare(capture, record, rng)
            pages.append(ValidationPage(image_type, page, record.leads, record.fs, samples.sample(page, rng)))
        return pages


def spread_over_types(images: pd.DataFrame, count: int) -> pd.DataFrame:
    """The first `count` images when cycling through the image types."""
    rank = images.groupby("type").cumcount()
    return images.assign(rank=rank).sort_values(["rank", "type"]).head(count)
