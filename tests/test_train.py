"""The trainer end to end on records that the test writes itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb

from configs.page import LEADS
from configs.stage2 import INPUT_HEIGHT, Stage2Config
from synthesis.signals import is_heldout
from train import Average, learning_rate_at
from utils.checkpoint import load_network
from utils.losses import stage2_loss

ROOT = Path(__file__).parent.parent


def write_records(folder: Path) -> None:
    """Two WFDB records of decaying beats, one of them held out."""
    t = np.arange(5000) / 500
    beat = np.exp(-((((t % 0.8) - 0.3) / 0.02) ** 2))
    signal = np.stack([beat * (0.2 + 0.1 * k) for k in range(len(LEADS))], axis=1)
    folder.mkdir()
    names = [f"r{k}" for k in range(200)]
    for heldout in (False, True):
        name = next(name for name in names if is_heldout(name) == heldout)
        wfdb.wrsamp(
            name, fs=500, units=["mV"] * 12, sig_name=list(LEADS), p_signal=signal,
            fmt=["16"] * 12, adc_gain=[1000.0] * 12, baseline=[0] * 12, write_dir=str(folder),
        )  # fmt: skip


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_each_stage_trains_validates_saves_and_resumes(stage, tmp_path):
    write_records(tmp_path / "records")
    command = [sys.executable, "train.py", "--stage", str(stage), "--debug", "--device", "cpu"]
    command += ["--records", str(tmp_path / "records"), "--runs", str(tmp_path / "runs")]
    first = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert first.returncode == 0, first.stderr
    assert "validation" in first.stdout
    path = next((tmp_path / "runs").glob(f"*/stage{stage}.pt"))
    load_network(path, stage)
    again = subprocess.run([*command, "--resume"], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr
    assert "at step 3" in again.stdout


def test_a_folder_without_records_is_named(tmp_path):
    command = [sys.executable, "train.py", "--records", str(tmp_path), "--runs", str(tmp_path)]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode != 0
    assert str(tmp_path) in result.stderr
    assert "Traceback" not in result.stderr


def test_the_column_loss_is_least_at_the_truth():
    config = Stage2Config()
    y = torch.full((1, 4, 8), 501.3)
    bins = torch.arange(INPUT_HEIGHT // 4, dtype=torch.float32)[:, None]

    def loss_at(height: float) -> float:
        centre = (height + 0.5) / 4 - 0.5
        logits = -((bins - centre) ** 2) / (2 * config.target_sigma**2)
        return float(stage2_loss(logits.expand(1, 4, -1, 8), y, 4, config))

    losses = [loss_at(501.3 + shift) for shift in (-8, -1, 0, 1, 8)]
    assert min(losses) == losses[2]
    assert losses[0] > losses[1]
    assert losses[4] > losses[3]


def test_columns_without_a_trace_do_not_count():
    y = torch.full((1, 4, 8), 501.3)
    logits = torch.randn(1, 4, INPUT_HEIGHT // 4, 8)
    whole = stage2_loss(logits[..., :4], y[..., :4], 4, Stage2Config())
    y[..., 4:] = torch.nan
    torch.testing.assert_close(stage2_loss(logits, y, 4, Stage2Config()), whole)


def test_the_learning_rate_rises_then_falls():
    config = Stage2Config()
    rates = [learning_rate_at(p, config) for p in (0.0, config.warmup, 0.5, 1.0)]
    assert rates[0] < rates[1] == pytest.approx(config.learning_rate)
    assert rates[1] > rates[2] > rates[3] > 0


def test_the_average_starts_fast_and_follows():
    net = torch.nn.Linear(2, 2)
    average = Average(net, decay=0.99)
    with torch.no_grad():
        net.weight.fill_(1.0)
    for _ in range(50):
        average.update(net)
    torch.testing.assert_close(average.net.weight, net.weight, atol=0.05, rtol=0)
