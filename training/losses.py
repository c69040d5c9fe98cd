"""The losses of the networks."""

import torch
import torch.nn.functional as F

from configs.close_ups import CloseUpsConfig
from configs.landmarks import LandmarksConfig
from configs.stage0 import Stage0Config
from configs.stage1 import Stage1Config
from configs.stage2 import STEEP_REACH, Stage2Config
from utils.rescaling import rescale

MIN_KEYPOINT_PIXELS = 50  # least normalizer per image, which bounds the loss of images without lead labels
MAX_RISE = 10.0  # rise of a trace in bins beyond which a column's weight is constant
NOISE_FLOOR = 0.02  # added to the noise (bins^2), so that a perfect sample does not dominate the others


def stage0_loss(
    output: dict, classes: torch.Tensor, orientation: torch.Tensor, config: Stage0Config
) -> torch.Tensor:
    """Sum of the cross-entropies of the keypoint map and the orientation.

    output: "marker" (B, KEYPOINT_CLASSES, h, w) and "orientation" (B, ORIENTATIONS) logits.
    classes: (B, h, w) uint8, 0 for the background. orientation: (B, 1) int64.
    """
    orientation_loss = F.cross_entropy(output["orientation"].float(), orientation[:, 0])
    return keypoint_loss(output["marker"], classes, config.keypoint_weight) + orientation_loss


def keypoint_loss(logits: torch.Tensor, classes: torch.Tensor, keypoint_weight: float) -> torch.Tensor:
    """The cross-entropy of logits (B, K, h, w) against classes (B, h, w) uint8, per pixel of a keypoint."""
    weight = torch.full((logits.shape[1],), keypoint_weight, device=classes.device)
    weight[0] = 1.0
    loss = F.cross_entropy(logits.float(), classes.long(), weight=weight, reduction="none")
    keypoint_pixels = (classes > 0).sum().clamp(min=classes.shape[0] * MIN_KEYPOINT_PIXELS)
    return loss.sum() / (keypoint_weight * keypoint_pixels)


def landmarks_loss(
    output: dict, classes: torch.Tensor, maps: torch.Tensor, config: LandmarksConfig
) -> torch.Tensor:
    """The cross-entropy of the keypoints and, per pixel of a target, the binary one of the maps.

    output: "keypoint" (B, K, h, w) and "maps" (B, M, h, w) logits. classes: (B, h, w) uint8, 0 for the
    background. maps: (B, M, h, w) uint8, 0..255 for 0..1.
    """
    target = maps.float() / 255
    weight = torch.tensor(config.map_weight, device=maps.device)
    loss = F.binary_cross_entropy_with_logits(
        output["maps"].float(), target, pos_weight=weight, reduction="none"
    )
    covered = target.sum(dim=(0, 2, 3)).clamp(min=maps.shape[0] * MIN_KEYPOINT_PIXELS)
    per_map = loss.sum(dim=(0, 2, 3)) / (config.map_weight * covered)
    return keypoint_loss(output["keypoint"], classes, config.keypoint_weight) + per_map.mean()


def close_ups_loss(
    logits: torch.Tensor, place: torch.Tensor, column: torch.Tensor, config: CloseUpsConfig
) -> torch.Tensor:
    """The mean cross-entropy of the columns against a Gaussian about the true one.

    logits: (B, len(PLACES), W). place: (B, 1) int64, the one asked. column: (B, 1) px, NaN without one.
    """
    asked = logits.float().gather(1, place[:, :, None].expand(-1, -1, logits.shape[2]))[:, 0]
    columns = torch.arange(logits.shape[2], device=logits.device)
    off = (columns - torch.nan_to_num(column)) / config.target_sigma
    target = torch.softmax(-0.5 * off**2, dim=1)
    entropy = -(target * F.log_softmax(asked, dim=1)).sum(dim=1)
    known = torch.isfinite(column[:, 0])
    return (entropy * known).sum() / known.sum().clamp(min=1)


def stage1_loss(output: dict, target: torch.Tensor, config: Stage1Config) -> torch.Tensor:
    """Binary cross-entropy of the maps against Gaussians of peak 1.

    output: "gridpoint" and, for a network with that head, "leadend" (B, 1, h, w) logits.
    target: (B, 2, h, w), the grid points and the lead boundaries.
    """
    target = target.float()
    weight = torch.tensor(config.positive_weight, device=target.device)
    loss = torch.zeros((), device=target.device)
    for index, (head, factor) in enumerate((("gridpoint", 1.0), ("leadend", config.boundary_weight))):
        if head in output:
            logits = output[head][:, 0].float()
            loss += factor * F.binary_cross_entropy_with_logits(logits, target[:, index], pos_weight=weight)
    return loss


def stage2_loss(logits: torch.Tensor, y: torch.Tensor, row_stride: int, config: Stage2Config) -> torch.Tensor:
    """Cross-entropy of each column's distribution over y, plus the error of that distribution's mean.

    logits: (B, 4, H / row_stride, W). y: (B, 4, W) px, NaN where a row has no trace.
    The few steep columns of a QRS cause most of the metric's noise: they have a greater weight, and a target
    widened by `slope_sigma` times the slope. The noise term follows the competition's metric: the logarithm
    of the mean squared error over all rows of a sample. With loss="bce" it is the binary cross-entropy of
    each pixel instead.
    """
    logits = logits.float()
    known = torch.isfinite(y) & (y >= 0) & (y < logits.shape[2] * row_stride)
    centre = rescale(torch.nan_to_num(y), 1 / row_stride)  # (B, 4, W) output bins
    rise = local_range(torch.where(known, centre, torch.nan), STEEP_REACH)
    slope = rise / (2 * STEEP_REACH)
    sigma = (config.target_sigma**2 + (config.slope_sigma * slope) ** 2).sqrt()
    bins = torch.arange(logits.shape[2], device=y.device, dtype=torch.float32)[:, None]
    target = torch.exp(-((bins - centre[:, :, None]) ** 2) / (2 * sigma[:, :, None] ** 2))
    if config.loss == "bce":
        target = target * known[:, :, None]
        positive = torch.tensor(config.positive_weight, device=y.device)
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=positive)
    target = target / target.sum(dim=2, keepdim=True).clamp(min=1e-6)
    log_probability = F.log_softmax(logits, dim=2)
    entropy = -(target * log_probability).sum(dim=2)
    mean = (log_probability.exp() * bins).sum(dim=2)
    distance = F.smooth_l1_loss(mean, centre, reduction="none", beta=0.5).clamp(max=20.0)
    weight = known * (1 + config.steep_weight * rise.clamp(max=MAX_RISE))
    columns = (weight * (entropy + config.argmax_weight * distance)).sum() / weight.sum().clamp(min=1)
    noise = ((mean - centre) ** 2 * known).sum(dim=(1, 2)) / known.sum(dim=(1, 2)).clamp(min=1)
    return columns + config.noise_weight * torch.log(noise + NOISE_FLOOR).mean()


def local_range(y: torch.Tensor, reach: int) -> torch.Tensor:
    """Maximum minus minimum of (B, R, W) within `reach` columns on either side, ignoring NaN."""
    window = 2 * reach + 1
    high = F.max_pool1d(torch.nan_to_num(y, nan=-torch.inf), window, stride=1, padding=reach)
    low = -F.max_pool1d(-torch.nan_to_num(y, nan=torch.inf), window, stride=1, padding=reach)
    return torch.nan_to_num(high - low, neginf=0.0)
