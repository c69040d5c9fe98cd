"""What the training loop needs to know of each stage: its network, samples, loss and validation."""

from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd
import torch
from torch import nn

from configs.page import DURATION_S, FLAT_TYPES, IMAGE_TYPES
from configs.stage2 import CROP_TOP
from datasets.competition import read_record as read_signals
from datasets.competition import record_path
from datasets.prepared import read_prepared
from datasets.stage0 import Stage0Samples
from datasets.stage1 import Stage1Samples
from datasets.stage2 import Stage2Samples
from models.stage0 import Stage0Net
from models.stage1 import Stage1Net
from models.stage2 import Stage2Net
from synthesis import synthesize
from synthesis.signals import find_records, is_heldout, read_record
from utils.decode import decode_rows, read_heights
from utils.kaggle_metric import image_snr, to_db
from utils.leads import leads_from_rows
from utils.losses import stage0_loss, stage1_loss, stage2_loss
from utils.upright import to_tensor
from utils.visualization import draw_heights

VALIDATION_SEED = 1_000_003


@dataclass(frozen=True)
class ValidationPage:
    image_type: str
    page: dict  # as the stage's samples keep it
    leads: np.ndarray  # (12, T) mV
    fs: int
    sample: tuple[np.ndarray, ...]


class Stage:
    """One stage's part in training; subclasses say how it is sampled, judged and scored."""

    number: ClassVar[int]
    network: ClassVar[type[nn.Module]]

    def picture(self, net: nn.Module, page: ValidationPage, device) -> np.ndarray | None:
        """For the log, what the network makes of a page: (H, W, 3) uint8, if there is anything to see."""
        return None

    def build(self, config, pretrained: bool) -> nn.Module:
        return self.network(config, pretrained)

    def validation(self, records: Path, count: int) -> list[ValidationPage]:
        """Pages of records that are never trained on, the image types in turn."""
        unseen = [path for path in find_records(records) if is_heldout(path.stem)]
        if not unseen:
            raise ValueError(f"{records}: no held-out records to validate on")
        pages = []
        for index, (path, image_type) in enumerate(islice(zip(cycle(unseen), cycle(IMAGE_TYPES)), count)):
            rng = np.random.default_rng([VALIDATION_SEED, index])
            record = read_record(path)
            capture = synthesize(record, image_type, rng, turn=0)
            samples = self.samples_for_validation
            page = samples.prepare(capture, record, rng)
            pages.append(ValidationPage(image_type, page, record.leads, record.fs, samples.sample(page, rng)))
        return pages


def spread_over_types(images: pd.DataFrame, count: int) -> pd.DataFrame:
    """So many images, the types in turn."""
    turn = images.groupby("type").cumcount()
    return images.assign(turn=turn).sort_values(["turn", "type"]).head(count)


class TrainStage0(Stage):
    number, network = 0, Stage0Net

    def samples(self, net: Stage0Net) -> Stage0Samples:
        self.samples_for_validation = Stage0Samples(net.config, net.decoder.stride[0])
        return self.samples_for_validation

    def loss(self, output: dict, classes: torch.Tensor, turn: torch.Tensor, net: Stage0Net) -> torch.Tensor:
        return stage0_loss(output, classes, turn, net.config)

    @torch.no_grad()
    def validate(self, net: Stage0Net, pages: list[ValidationPage], device) -> tuple[float, dict]:
        right = hits = total = 0
        losses = []
        for page in pages:
            image, classes, turn = page.sample
            output = net(to_tensor(image).to(device))
            classes = torch.from_numpy(classes)[None].to(device)
            turn = torch.from_numpy(turn)[None].to(device)
            losses.append(float(self.loss(output, classes, turn, net)))
            right += int(output["orientation"].argmax() == turn)
            marked = classes > 0
            hits += int((output["marker"].argmax(1) == classes)[marked].sum())
            total += int(marked.sum())
        facts = {
            "loss": float(np.mean(losses)),
            "orientation": right / len(pages),
            "marker": hits / max(total, 1),
        }
        return -facts["loss"], facts


class TrainStage1(Stage):
    number, network = 1, Stage1Net

    def samples(self, net: Stage1Net) -> Stage1Samples:
        self.samples_for_validation = Stage1Samples(net.config, net.decoder.stride[0])
        return self.samples_for_validation

    def loss(self, output: dict, target: torch.Tensor, net: Stage1Net) -> torch.Tensor:
        return stage1_loss(output, target, net.config)

    @torch.no_grad()
    def validate(self, net: Stage1Net, pages: list[ValidationPage], device) -> tuple[float, dict]:
        losses = []
        for page in pages:
            image, target = page.sample
            output = net(to_tensor(image).to(device))
            losses.append(float(self.loss(output, torch.from_numpy(target)[None].to(device), net)))
        facts = {"loss": float(np.mean(losses))}
        return -facts["loss"], facts


class TrainStage2(Stage):
    number, network = 2, Stage2Net

    def samples(self, net: Stage2Net) -> Stage2Samples:
        self.samples_for_validation = Stage2Samples(net.config)
        return self.samples_for_validation

    def loss(self, output: torch.Tensor, y: torch.Tensor, net: Stage2Net) -> torch.Tensor:
        return stage2_loss(output, y, net.row_stride, net.config)

    def prepared_validation(self, data: Path, images: pd.DataFrame, count: int) -> list[ValidationPage]:
        """Prepared pages of a fold with their signals, the image types in turn."""
        pages = []
        for image in spread_over_types(images, count).itertuples():
            leads = read_signals(record_path(data, image.record))
            page = read_prepared(image.rect, image.mask)
            pages.append(ValidationPage(image.type, page, leads, leads.shape[1] // int(DURATION_S), ()))
        return pages

    @torch.no_grad()
    def validate(self, net: Stage2Net, pages: list[ValidationPage], device) -> tuple[float, dict]:
        """The competition's score of the decoded signals, with the true grid; by flat and photo types."""
        ratios: dict[str, list[float]] = {"score": [], "flat": [], "photo": []}
        for page in pages:
            logits = net(to_tensor(page.page["image"]).to(device))[0]
            rows, _ = decode_rows(logits, net.row_stride, page.leads.shape[1])
            ratio = image_snr(page.leads, leads_from_rows(rows), page.fs)
            ratios["score"].append(ratio)
            ratios["flat" if page.image_type in FLAT_TYPES else "photo"].append(ratio)
            ratios.setdefault(page.image_type, []).append(ratio)
        facts = {key: float(to_db(np.mean(values))) for key, values in ratios.items() if values}
        return facts["score"], facts

    @torch.no_grad()
    def picture(self, net: Stage2Net, page: ValidationPage, device) -> np.ndarray:
        image = page.page["image"]
        y, _ = read_heights(net(to_tensor(image).to(device))[0], net.row_stride)
        return draw_heights(image, y - CROP_TOP)[::2, ::4]


STAGES: dict[int, Stage] = {stage.number: stage for stage in (TrainStage0(), TrainStage1(), TrainStage2())}
