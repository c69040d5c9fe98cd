"""Networks on disk: a checkpoint holds its config beside its weights."""

import argparse
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import torch
from torch import nn

from configs import close_ups, landmarks, stage0, stage1, stage2
from configs.network import NetworkConfig
from models.close_ups import CloseUpsNet
from models.inference import prepare_for_inference
from models.landmarks import LandmarksNet
from models.stage0 import Stage0Net
from models.stage1 import Stage1Net
from models.stage2 import Stage2Net
from models.unet import UNet
from utils.files import atomic_write

CHECKPOINTS = Path(__file__).resolve().parents[1] / "checkpoints"  # folder of the shipped checkpoints
LANDMARKS = 3  # number of the network that finds the landmarks of pages of any layout
CLOSE_UPS = 4  # number of the network that sees closely where their rows begin, and printed scales
NETWORKS: dict[int, tuple[type[UNet], type[NetworkConfig]]] = {
    0: (Stage0Net, stage0.Stage0Config),
    1: (Stage1Net, stage1.Stage1Config),
    2: (Stage2Net, stage2.Stage2Config),
    LANDMARKS: (LandmarksNet, landmarks.LandmarksConfig),
    CLOSE_UPS: (CloseUpsNet, close_ups.CloseUpsConfig),
}
STAGE2_LAYOUTS = CHECKPOINTS / "stage2_layouts.pt"  # stage 2 of pages of any layout
PUBLISHED: dict[int, NetworkConfig] = {0: stage0.published, 1: stage1.published}


def network_name(stage: int) -> str:
    """The name of a stage's files: "stage0" to "stage2", "landmarks" and "close_ups"."""
    return {LANDMARKS: "landmarks", CLOSE_UPS: "close_ups"}.get(stage, f"stage{stage}")


def checkpoint_path(stage: int, folder: Path = CHECKPOINTS) -> Path:
    """The checkpoint of a stage in a folder: the public weights of stage 0 or 1 if present, else ours."""
    published = folder / f"stage{stage}-last.checkpoint.pth"
    return published if stage in PUBLISHED and published.exists() else folder / f"{network_name(stage)}.pt"


def add_stage_arguments(parser: argparse.ArgumentParser, stages: Iterable[int]) -> None:
    """Add the options --stage0, --stage1, ...: the checkpoints of the stages."""
    for stage in stages:
        path = checkpoint_path(stage)
        parser.add_argument(
            f"--stage{stage}",
            type=Path,
            default=path,
            help=f"checkpoint of stage {stage} (default: checkpoints/{path.name})",
        )


# Names of configuration fields in checkpoints up to version 0.2.0, and their present names.
RENAMED_FIELDS = {
    "crowded": "overlap_probability",
    "colours": "colour_augmentation",
    "echo": "samples_per_page",
    "places": "geometric_augmentation",
    "marker_radius": "keypoint_radius",
    "marker_weight": "keypoint_weight",
    "marker_error": "keypoint_error",
    "end_sigma": "boundary_sigma",
    "end_weight": "boundary_weight",
}


def rename_fields(values: dict) -> dict:
    """The fields of a configuration, or of a run's recipe, under their present names."""
    return {RENAMED_FIELDS.get(name, name): value for name, value in values.items()}


class CheckpointError(ValueError):
    """A checkpoint that cannot be used; the message names the file and the reason."""


def read_checkpoint(path: Path) -> dict:
    """The dict in a checkpoint file, read without executing any code in it. Raises CheckpointError."""
    path = Path(path)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: no such checkpoint") from None
    except (PermissionError, IsADirectoryError) as error:
        raise CheckpointError(f"{path}: {error.strerror}") from None
    except Exception as error:  # torch raises many kinds of errors for foreign files
        raise CheckpointError(f"{path}: not a checkpoint of plain weights ({type(error).__name__})") from None
    state = checkpoint.get("state_dict") if isinstance(checkpoint, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise CheckpointError(f"{path}: not a checkpoint, it has no state_dict of tensors")
    return checkpoint


def restore_config(stage: int, values: dict, path: Path) -> NetworkConfig:
    """The configuration of a stage from the dict in a checkpoint; CheckpointError if it does not fit."""
    kind = NETWORKS[stage][1]
    if not isinstance(values, dict):
        raise CheckpointError(f"{path}: its config is not a dict")
    values = rename_fields(values)
    known = {field.name for field in fields(kind)}
    if unknown := sorted(set(values) - known):
        raise CheckpointError(f"{path}: config fields unknown to stage {stage}: {', '.join(unknown)}")
    given: dict = {name: tuple(v) if isinstance(v, list) else v for name, v in values.items()}
    try:
        return kind(**given)
    except ValueError as error:
        raise CheckpointError(f"{path}: its config's {error}") from None


def load_weights(net: nn.Module, state: dict, path: Path) -> None:
    """Load weights by name; raises CheckpointError naming the keys that do not fit."""
    expected = net.state_dict()
    problems = [f"missing {key}" for key in expected.keys() - state.keys()]
    problems += [f"unexpected {key}" for key in state.keys() - expected.keys()]
    problems += [
        f"{key} is {tuple(state[key].shape)}, not {tuple(expected[key].shape)}"
        for key in expected.keys() & state.keys()
        if state[key].shape != expected[key].shape
    ]
    if problems:
        more = f" and {len(problems) - 8} more" if len(problems) > 8 else ""
        raise CheckpointError(f"{path}: keys that do not fit: {'; '.join(sorted(problems)[:8])}{more}")
    net.load_state_dict(state)


def load_network(
    path: Path, stage: int, device: torch.device | str = "cpu", precision: torch.dtype = torch.float32
) -> nn.Module:
    """The network of a stage, from our checkpoint or a public one, rewritten by models/inference.py.

    Its convolutions run in `precision`, which utils.device.choose_precision gives for the device. A file
    without a config is taken for the public weights of stage 0 or 1. Raises CheckpointError.
    """
    checkpoint = read_checkpoint(path)
    if checkpoint.get("stage", stage) != stage:
        raise CheckpointError(f"{path}: weights of stage {checkpoint['stage']}, not of stage {stage}")
    if "config" in checkpoint:
        config = restore_config(stage, checkpoint["config"], path)
    elif stage in PUBLISHED:
        config = PUBLISHED[stage]
    else:
        raise CheckpointError(f"{path}: no config inside")
    try:
        net = NETWORKS[stage][0](config)
    except Exception as error:  # a wrong config can cause any error
        raise CheckpointError(f"{path}: its config builds no network ({error})") from None
    load_weights(net, checkpoint["state_dict"], path)
    net.precision = precision
    return prepare_for_inference(net.float().eval()).to(memory_format=torch.channels_last).to(device)


def save_network(path: Path, net: UNet, stage: int, state: dict | None = None, **facts) -> None:
    """Write weights in half precision with their config and further facts (plain values), atomically.

    `state` replaces the weights of the network if given.
    """
    state = net.state_dict() if state is None else state
    state = {k: v.half() if v.is_floating_point() else v for k, v in state.items()}
    write_torch(path, {"stage": stage, "config": asdict(net.config), "state_dict": state, **facts})


def write_torch(path: Path, contents: dict) -> None:
    """torch.save, atomically."""
    with atomic_write(Path(path)) as partial:
        torch.save(contents, partial)
