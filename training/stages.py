"""Each stage's part in the training loop: its network, samples, loss and validation."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import ClassVar, Generic, TypeVar

import numpy as np
import pandas as pd
import torch

from configs.layouts import leads_from_rows
from configs.network import NetworkConfig
from configs.page import DURATION_S, FLAT_TYPES, IMAGE_TYPES
from configs.stage2 import CROP_TOP
from datasets.competition import read_record as read_signals
from datasets.competition import record_path
from datasets.landmarks import LandmarkSamples
from datasets.layouts import draw_layout
from datasets.pages import (
    MixedPages,
    PageSource,
    Samples,
    SyntheticPages,
    readable_records,
    training_records,
)
from datasets.prepared import (
    LabelledPages,
    PreparedPages,
    labelled_images,
    prepared_images,
    read_labelled,
    read_prepared,
)
from datasets.stage0 import Stage0Samples
from datasets.stage1 import Stage1Samples
from datasets.stage2 import Stage2Samples
from digitization.overlay import draw_rows
from digitization.signal.decode import decode_maps, decode_rows
from models.checkpoint import LANDMARKS
from models.landmarks import LandmarksNet
from models.stage0 import Stage0Net
from models.stage1 import Stage1Net
from models.stage2 import Stage2Net
from models.tensors import to_tensor
from models.unet import UNet
from synthesis import synthesize
from synthesis.signals import find_records, is_heldout
from training.losses import landmarks_loss, stage0_loss, stage1_loss, stage2_loss
from training.options import Options
from utils.kaggle_metric import image_snr, to_db

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
        """Synthetic pages of held-out records, cycling through the image types."""
        heldout = (path for path in find_records(records) if is_heldout(path.stem))
        unseen = list(islice(readable_records(heldout), count))
        if not unseen:
            raise ValueError(f"{records}: no held-out records to validate on that can be read")
        pages = []
        for index, (record, image_type) in enumerate(islice(zip(cycle(unseen), cycle(IMAGE_TYPES)), count)):
            rng = np.random.default_rng([VALIDATION_SEED, index])
            if samples.config.layout_share == 1:
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


class TrainStage0(Stage[Stage0Net, dict[str, torch.Tensor]]):
    number, network = 0, Stage0Net

    def samples(self, net: Stage0Net) -> Stage0Samples:
        return Stage0Samples(net.config, net.decoder.stride[0])

    def loss(
        self, output: dict[str, torch.Tensor], target: list[torch.Tensor], net: Stage0Net
    ) -> torch.Tensor:
        classes, orientation = target
        return stage0_loss(output, classes, orientation, net.config)

    @torch.no_grad()
    def validate(
        self, net: Stage0Net, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        correct = hits = total = 0
        losses = []
        for page in pages:
            image, *target = page.sample
            output = net(to_tensor(image).to(device))
            classes, orientation = (torch.from_numpy(part)[None].to(device) for part in target)
            losses.append(float(self.loss(output, [classes, orientation], net)))
            correct += int(output["orientation"].argmax() == orientation)
            keypoint_pixels = classes > 0
            hits += int((output["marker"].argmax(1) == classes)[keypoint_pixels].sum())
            total += int(keypoint_pixels.sum())
        facts = {
            "loss": float(np.mean(losses)),
            "orientation": correct / len(pages),
            "marker": hits / max(total, 1),
        }
        return -facts["loss"], facts


class TrainStage1(Stage[Stage1Net, dict[str, torch.Tensor]]):
    number, network = 1, Stage1Net

    def samples(self, net: Stage1Net) -> Stage1Samples:
        return Stage1Samples(net.config, net.decoder.stride[0])

    def loss(
        self, output: dict[str, torch.Tensor], target: list[torch.Tensor], net: Stage1Net
    ) -> torch.Tensor:
        return stage1_loss(output, target[0], net.config)

    @torch.no_grad()
    def validate(
        self, net: Stage1Net, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        losses = []
        for page in pages:
            image, maps = page.sample
            output = net(to_tensor(image).to(device))
            losses.append(float(self.loss(output, [torch.from_numpy(maps)[None].to(device)], net)))
        facts = {"loss": float(np.mean(losses))}
        return -facts["loss"], facts


class TrainStage2(Stage[Stage2Net, torch.Tensor]):
    number, network = 2, Stage2Net

    def samples(self, net: Stage2Net) -> Stage2Samples:
        return Stage2Samples(net.config)

    def loss(self, output: torch.Tensor, target: list[torch.Tensor], net: Stage2Net) -> torch.Tensor:
        return stage2_loss(output, target[0], net.row_stride, net.config)

    def pages_on_disk(
        self, data: Path, outputs: Path, fold: int, count: int, samples: Samples
    ) -> tuple[PageSource, list[ValidationPage]]:
        training, held = prepared_images(data, outputs, fold)
        pages = []
        for image in spread_over_types(held, count).itertuples():
            leads = read_signals(image.signals)
            page = read_prepared(image.rect, image.signals)
            pages.append(ValidationPage(image.type, page, leads, leads.shape[1] // int(DURATION_S), ()))
        return PreparedPages(training), pages

    @torch.no_grad()
    def validate(
        self, net: Stage2Net, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        """The competition's score in dB with the true grid: all pages, flat types, photos and each type."""
        ratios: dict[str, list[float]] = {"score": [], "flat": [], "photo": []}
        for page in pages:
            logits = net(to_tensor(page.page["image"]).to(device))[0]
            rows, _ = decode_rows(logits, net.row_stride, page.leads.shape[1], net.config)
            ratio = image_snr(page.leads, leads_from_rows(rows), page.fs)
            ratios["score"].append(ratio)
            ratios["flat" if page.image_type in FLAT_TYPES else "photo"].append(ratio)
            ratios.setdefault(page.image_type, []).append(ratio)
        facts = {key: float(to_db(np.mean(values))) for key, values in ratios.items() if values}
        return facts["score"], facts

    @torch.no_grad()
    def preview(self, net: Stage2Net, page: ValidationPage, device: torch.device) -> np.ndarray:
        image = page.page["image"]
        y = decode_maps(net(to_tensor(image).to(device))[0], net.row_stride, net.config).y
        return draw_rows(image, y - CROP_TOP)[::2, ::4]


class TrainLandmarks(Stage[LandmarksNet, dict[str, torch.Tensor]]):
    number, network = LANDMARKS, LandmarksNet

    def samples(self, net: LandmarksNet) -> LandmarkSamples:
        return LandmarkSamples(net.config, net.decoder.stride[0])

    def loss(
        self, output: dict[str, torch.Tensor], target: list[torch.Tensor], net: LandmarksNet
    ) -> torch.Tensor:
        classes, maps = target
        return landmarks_loss(output, classes, maps, net.config)

    @torch.no_grad()
    def validate(
        self, net: LandmarksNet, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        """The negative loss; shares of the keypoints' and of the zero lines' pixels that are recognized."""
        losses, keypoints, lines = [], [], []
        for page in pages:
            image, *target = page.sample
            output = net(to_tensor(image).to(device))
            classes, maps = (torch.from_numpy(part)[None].to(device) for part in target)
            losses.append(float(self.loss(output, [classes, maps], net)))
            keypoints.append((output["keypoint"].argmax(1) == classes)[classes > 0])
            lines.append((output["maps"][:, 0] > 0)[maps[:, 0] > 200])
        facts = {"loss": float(np.mean(losses))}
        facts |= {"keypoint": float(torch.cat(keypoints).float().mean())}
        facts |= {"zero line": float(torch.cat(lines).float().mean())}
        return -facts["loss"], facts


STAGES: dict[int, Stage] = {
    stage.number: stage for stage in (TrainStage0(), TrainStage1(), TrainStage2(), TrainLandmarks())
}


def find_pages(stage: Stage, samples: Samples, options: Options) -> tuple[PageSource, list[ValidationPage]]:
    """The source of training pages, and the validation pages. Raises ValueError when there are none."""
    synthetic = None
    if options.records:
        synthetic = SyntheticPages(training_records(options.records), samples, samples.config.image_types)
    if options.data:
        source, pages = stage.pages_on_disk(
            options.data, options.outputs, options.fold, options.validation_pages, samples
        )
        return MixedPages(synthetic, source, options.synthetic_share) if synthetic else source, pages
    if options.records and synthetic:
        return synthetic, stage.validation(options.records, options.validation_pages, samples)
    raise ValueError("no training pages: neither records nor data are given")
