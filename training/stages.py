"""Stages 0 to 2 in the training loop, and the pages from which a stage learns."""

from pathlib import Path

import numpy as np
import torch

from configs.layouts import leads_from_rows
from configs.page import DURATION_S, FLAT_TYPES, LEADS
from configs.stage2 import CROP_TOP
from datasets.competition import read_record as read_signals
from datasets.pages import MixedPages, PageSource, Samples, SyntheticPages, training_records
from datasets.prepared import PreparedPages, prepared_images, read_prepared
from datasets.stage0 import Stage0Samples
from datasets.stage1 import Stage1Samples
from datasets.stage2 import Stage2Samples
from digitization.overlay import draw_rows
from digitization.signal.decode import decode_maps, decode_rows
from models.stage0 import Stage0Net
from models.stage1 import Stage1Net
from models.stage2 import Stage2Net
from models.tensors import to_tensor
from training.layout_stages import TrainCloseUps, TrainLandmarks
from training.losses import stage0_loss, stage1_loss, stage2_loss
from training.options import Options
from training.stage import Stage, ValidationPage, spread_over_types
from utils.kaggle_metric import CAP, image_snr, ratio_of, to_db


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
            page = read_prepared(image.rect, image.signals)
            # Pages of from_reviews.py are scored by their rows.
            leads = np.zeros((len(LEADS), 0)) if "group" in page else read_signals(image.signals)
            pages.append(ValidationPage(image.type, page, leads, leads.shape[1] // int(DURATION_S), ()))
        return PreparedPages(training), pages

    @torch.no_grad()
    def validate(
        self, net: Stage2Net, pages: list[ValidationPage], device: torch.device
    ) -> tuple[float, dict[str, float]]:
        """The competition's score in dB with the true grid: all pages, flat types, photos and each type.

        Pages of any layout are scored by their rows, as "layouts".
        """
        ratios: dict[str, list[float]] = {"score": [], "flat": [], "photo": []}
        for page in pages:
            logits = net(to_tensor(page.page["image"]).to(device))[0]
            if group := page.page.get("group"):
                y = decode_maps(logits, net.row_stride, net.config, group=group).y - CROP_TOP
                ratio = ratio_of(row_powers(page.page["y"], y), CAP)
                names: tuple[str, ...] = ("score", "layouts")
            else:
                rows, _ = decode_rows(logits, net.row_stride, page.leads.shape[1], net.config)
                ratio = image_snr(page.leads, leads_from_rows(rows), page.fs)
                names = ("score", "flat" if page.image_type in FLAT_TYPES else "photo", page.image_type)
            for name in names:
                ratios.setdefault(name, []).append(ratio)
        facts = {key: float(to_db(np.mean(values))) for key, values in ratios.items() if values}
        return facts["score"], facts

    @torch.no_grad()
    def preview(self, net: Stage2Net, page: ValidationPage, device: torch.device) -> np.ndarray:
        image = page.page["image"]
        y = decode_maps(net(to_tensor(image).to(device))[0], net.row_stride, net.config).y
        return draw_rows(image, y - CROP_TOP)[::2, ::4]


STAGES: dict[int, Stage] = {
    stage.number: stage
    for stage in (TrainStage0(), TrainStage1(), TrainStage2(), TrainLandmarks(), TrainCloseUps())
}


def row_powers(truth: np.ndarray, found: np.ndarray) -> list[tuple[float, float]]:
    """The power of each row's trace about its mean, and that of the error: y (4, W) px, NaN without a trace.

    `found` (R, W) has the rows that the page shows, R at most 4.
    """
    powers = []
    for true_y, y in zip(truth, found, strict=False):
        known = np.isfinite(true_y) & np.isfinite(y)
        signal = true_y[known] - true_y[known].mean()
        error = y[known] - true_y[known]
        powers.append((float((signal**2).sum()), float((error**2).sum())))
    return powers


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
