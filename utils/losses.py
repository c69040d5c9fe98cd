"""What the three networks minimise."""

import torch
import torch.nn.functional as F

from configs.stage0 import MARKER_CLASSES, Stage0Config
from configs.stage1 import Stage1Config
from configs.stage2 import Stage2Config

FEW_MARKED = 50  # marked pixels an image counts for at least, so that one without names stays bounded


def stage0_loss(
    output: dict, classes: torch.Tensor, turn: torch.Tensor, config: Stage0Config
) -> torch.Tensor:
    """Cross-entropy of the marker map (classes (B, h, w) uint8) and of the orientation (B, 1)."""
    weight = torch.full((MARKER_CLASSES,), config.marker_weight, device=classes.device)
    weight[0] = 1.0
    marker = F.cross_entropy(output["marker"].float(), classes.long(), weight=weight, reduction="none")
    marked = (classes > 0).sum().clamp(min=classes.shape[0] * FEW_MARKED)
    orientation = F.cross_entropy(output["orientation"].float(), turn[:, 0])
    return marker.sum() / (config.marker_weight * marked) + orientation


def stage1_loss(output: dict, target: torch.Tensor, config: Stage1Config) -> torch.Tensor:
    """Binary cross-entropy of the grid-point map against Gaussians (B, h, w) of peak 1."""
    target = target.float()
    logits = output["gridpoint"][:, 0].float()
    weight = torch.tensor(config.positive_weight, device=target.device)
    return F.binary_cross_entropy_with_logits(logits, target, pos_weight=weight)


def stage2_loss(logits: torch.Tensor, y: torch.Tensor, row_stride: int, config: Stage2Config) -> torch.Tensor:
    """Cross-entropy of each column's distribution over y, and the error of its mean.

    logits (B, 4, H / row_stride, W); y (B, 4, W) px, NaN where a row has no trace. With loss="bce" the
    pixels are judged one by one instead.
    """
    logits = logits.float()
    known = torch.isfinite(y) & (y >= 0) & (y < logits.shape[2] * row_stride)
    centre = (torch.nan_to_num(y) + 0.5) / row_stride - 0.5  # (B, 4, W) output bins
    bins = torch.arange(logits.shape[2], device=y.device, dtype=torch.float32)[:, None]
    target = torch.exp(-((bins - centre[:, :, None]) ** 2) / (2 * config.target_sigma**2))
    if config.loss == "bce":
        target = target * known[:, :, None]
        return F.binary_cross_entropy_with_logits(logits, target, pos_weight=torch.tensor(10.0))
    target = target / target.sum(dim=2, keepdim=True).clamp(min=1e-6)
    log_probability = F.log_softmax(logits, dim=2)
    entropy = -(target * log_probability).sum(dim=2)
    mean = (log_probability.exp() * bins).sum(dim=2)
    distance = F.smooth_l1_loss(mean, centre, reduction="none", beta=0.5).clamp(max=20.0)
    loss = entropy + config.argmax_weight * distance
    return loss[known].mean()
