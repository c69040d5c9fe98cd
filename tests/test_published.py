"""The public stage-0 and stage-1 weights as a drop-in, with files of their form and random numbers."""

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn
from torch.nn import functional

import predict
from configs import stage0, stage1
from data_preparation.prepare_inputs import main as prepare
from digitization.digitizer import Digitizer
from digitization.geometry.grid import run_stage1
from digitization.geometry.locate import PageNotFound
from digitization.geometry.straighten import MIN_PAGE_SCORE
from models import checkpoint
from models.checkpoint import CHECKPOINTS, checkpoint_path, load_network
from models.stage0 import Stage0Net
from models.stage1 import Stage1Net
from utils.images import read_rgb

ROOT = Path(__file__).parent.parent
SAMPLE = next((ROOT / "samples" / "train").glob("*/*-0001.png"))


@pytest.fixture(scope="module")
def published(tmp_path_factory) -> Path:
    """A folder of checkpoints into which a user has put both files."""
    folder = tmp_path_factory.mktemp("checkpoints")
    for file in CHECKPOINTS.glob("*.pt"):
        shutil.copy(file, folder)
    torch.manual_seed(0)
    for stage, net in ((0, Stage0Net(stage0.published)), (1, Stage1Net(stage1.published))):
        state = {"state_dict": net.state_dict(), "iteration": 9, "epoch": 0.5}
        torch.save(state, folder / f"stage{stage}-last.checkpoint.pth")
    return folder


def test_published_files_in_the_folder_are_taken_for_stages_0_and_1(published):
    names = [checkpoint_path(stage, published).name for stage in range(3)]
    assert names == ["stage0-last.checkpoint.pth", "stage1-last.checkpoint.pth", "stage2.pt"]
    assert [checkpoint_path(stage).name for stage in range(3)] == ["stage0.pt", "stage1.pt", "stage2.pt"]


@pytest.mark.slow
def test_predict_and_prepare_inputs_run_on_them(published, tmp_path, monkeypatch, capsys):
    """Random numbers find no page; that they say so shows that stage 0's maps were decoded."""
    monkeypatch.setitem(checkpoint.PUBLISHED, 0, replace(stage0.published, input_width=128))  # quick
    files = [f"--stage{stage}={published / f'stage{stage}-last.checkpoint.pth'}" for stage in (0, 1)]
    folder = tmp_path / "data" / "train" / "7"
    folder.mkdir(parents=True)
    shutil.copy(SAMPLE, folder / "7-0001.png")
    shutil.copy(SAMPLE.with_name(f"{SAMPLE.parent.name}.csv"), folder / "7.csv")
    arguments = ["predict.py", str(folder), "--output", str(tmp_path / "out"), "--fs", "100", *files]
    monkeypatch.setattr("sys.argv", [*arguments, "--layout", "competition"])
    assert predict.main() == 1
    rows = pd.read_csv(tmp_path / "out" / "pages.csv")
    assert rows["outcome"].tolist() == ["failed"]
    assert "lead labels found" in rows["warnings"][0]
    assert prepare(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "prepared"), *files]) == 1
    assert "lead labels found" in capsys.readouterr().err


class Shortsighted(nn.Module):
    """A network that sees the image at about a quarter of its size, to be quick."""

    def __init__(self, net: nn.Module):
        super().__init__()
        self.net = net

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        maps = self.net(functional.interpolate(image, size=(288, 352)))
        return {name: functional.interpolate(values, size=image.shape[2:]) for name, values in maps.items()}


@pytest.mark.slow
def test_the_published_stage_1_looks_at_the_page_that_our_stage_0_found(published):
    """Random numbers are no grid: the page is refused, or doubted."""
    image = read_rgb(SAMPLE)
    page = next(Digitizer(device="cpu").straightener.find_pages(image))
    theirs = Shortsighted(load_network(published / "stage1-last.checkpoint.pth", 1))
    with suppress(PageNotFound), torch.inference_mode():
        assert run_stage1(image, page, theirs, "cpu").score < MIN_PAGE_SCORE
