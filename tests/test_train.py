"""The trainer end to end on records that the test writes itself."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import wfdb

import train
from configs.page import LEADS, MASK_WIDTH, RECTIFIED
from configs.stage2 import INPUT_HEIGHT, Stage2Config
from data_preparation.generate_masks import generate_masks
from data_preparation.make_folds import make_folds
from data_preparation.prepare_inputs import FOLDER, LAST_FILE
from datasets.competition import (
    image_path,
    read_record,
    read_train_table,
    record_path,
    write_folds,
    write_record,
    write_train_table,
)
from datasets.prepared import PreparedPages, prepared_images
from datasets.stage2 import target_columns
from synthesis.signals import is_heldout
from training.loop import Average, copy_weights, learning_rate_at
from utils.checkpoint import CheckpointError, load_network
from utils.images import write_png
from utils.leads import rows_from_leads
from utils.losses import local_range, stage2_loss
from utils.trace import draw_traces

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


def write_prepared(data: Path, outputs: Path) -> None:
    """Two records of one image each as prepare_inputs.py leaves them, in two folds."""
    rng = np.random.default_rng(0)
    rows = []
    for record in ("1", "2"):
        leads = 0.1 * rng.normal(size=(12, 2500)).cumsum(axis=1).clip(-20, 20).astype(np.float32)
        write_record(record_path(data, record), leads, 250)
        write_png(image_path(data, record, "0001"), np.full((8, 8, 3), 255, np.uint8))
        rect = np.full((RECTIFIED.height, RECTIFIED.width, 3), 255, np.uint8)
        mask = draw_traces(rows_from_leads(leads))
        rect[: mask.shape[0], : mask.shape[1]] -= mask.max(axis=2, keepdims=True)
        write_png(outputs / FOLDER / f"{record}-0001{LAST_FILE}", rect)
        rows.append((record, 250, 2500))
    write_train_table(data, rows)
    write_folds(data, make_folds(read_train_table(data), 2, seed=0))
    assert not generate_masks(data, ["1", "2"])


def run_train(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "train.py", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_stage_2_trains_on_prepared_pages_and_is_scored_on_the_fold_held_back(tmp_path):
    data, outputs = tmp_path / "data", tmp_path / "outputs"
    write_prepared(data, outputs)
    where = ["--data", data, "--outputs", outputs, "--runs", tmp_path / "runs", "--debug", "--device", "cpu"]
    result = run_train(*where, "--fold", 1)
    assert result.returncode == 0, result.stderr
    assert "validation: score" in result.stdout
    load_network(tmp_path / "runs" / "compact" / "stage2.pt", 2)
    for wrong, message in ((["--fold", 2], "no fold 2"), (["--stage", 1], "no labels for stages 0 and 1")):
        result = run_train(*where, "--runs", tmp_path / "other", *wrong)
        assert result.returncode != 0
        assert message in result.stderr
        assert "Traceback" not in result.stderr
    next((outputs / FOLDER).glob("*.png")).unlink()
    assert "a run is there already" in run_train(*where).stderr
    assert "run prepare_inputs.py" in run_train(*where, "--runs", tmp_path / "other").stderr


def test_prepared_pages_give_the_heights_that_their_signals_have(tmp_path):
    write_prepared(tmp_path / "data", tmp_path / "outputs")
    shown, held = prepared_images(tmp_path / "data", tmp_path / "outputs", fold=0)
    assert len(shown) == len(held) == 1
    page = PreparedPages(shown)(np.random.default_rng(0))
    truth = target_columns(read_record(record_path(tmp_path / "data", shown["record"].iloc[0])))
    assert page["image"].shape == (INPUT_HEIGHT, MASK_WIDTH, 3)
    assert (np.isfinite(page["y"]) == np.isfinite(truth)).all()
    inside = np.isfinite(truth) & (truth > 0) & (truth < INPUT_HEIGHT - 5)
    np.testing.assert_allclose(page["y"][inside], truth[inside], atol=0.05)


def test_weights_of_another_checkpoint_are_taken_where_they_fit(tmp_path, capsys):
    torch.save({"state_dict": {"weight": torch.ones(2, 2), "bias": torch.ones(3)}}, tmp_path / "some.pt")
    net = torch.nn.Linear(2, 2)
    copy_weights(net, tmp_path / "some.pt")
    assert (net.weight == 1).all()
    assert "1 of 2 tensors taken, fresh: bias" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"some\.pt: none"):
        copy_weights(torch.nn.Linear(5, 7), tmp_path / "some.pt")


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


def test_the_rise_of_a_trace_is_its_range_nearby():
    y = torch.tensor([[[0.0, 0, 0, 5, 5, 5, torch.nan, 9]]])
    expected = torch.tensor([[[0.0, 0, 5, 5, 0, 0]]])
    torch.testing.assert_close(local_range(y, 1)[..., :6], expected)
    assert torch.isfinite(local_range(y, 1)).all()


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


@pytest.mark.parametrize(
    "wrong",
    [
        ["--max-minutes", "0"],
        ["--validation-pages", "0"],
        ["--log-every", "0"],
        ["--threads", "-1"],
        ["--workers", "-1"],
        ["--config", "stage0_compact"],
        ["--config", "page"],
        ["--config", "no_such"],
        ["--config", "compact", "--stage", "all"],
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(wrong, monkeypatch, tmp_path, capsys):
    monkeypatch.setattr("sys.argv", ["train.py", "--records", str(tmp_path), "--runs", str(tmp_path), *wrong])
    with pytest.raises((SystemExit, ValueError, ModuleNotFoundError)) as refused:
        train.main()
    said = capsys.readouterr().err + str(refused.value)
    assert wrong[0].strip("-") in said or wrong[1] in said


def test_weights_are_no_state_of_a_run(tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "last.pt")
    (tmp_path / "compact").mkdir()
    (tmp_path / "last.pt").rename(tmp_path / "compact" / "last.pt")
    result = run_train("--records", tmp_path, "--runs", tmp_path, "--resume", "--debug")
    assert result.returncode == 1
    assert "not the state of a training run" in result.stderr
