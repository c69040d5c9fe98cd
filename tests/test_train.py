"""The trainer end to end on records that the test writes itself."""

import io
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stdout, suppress
from dataclasses import replace
from itertools import count, islice
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
import wfdb
from torch.utils.data import DataLoader

import train
from configs.changes import change_config, parse_change
from configs.layouts import rows_from_leads
from configs.page import LEADS, MASK_WIDTH, RECTIFIED
from configs.stage2 import INPUT_HEIGHT, LOSSES, Stage2Config
from data_preparation.generate_masks import generate_masks
from data_preparation.make_folds import make_folds
from data_preparation.synthesize import synthesize_folder
from datasets.competition import (
    image_path,
    read_record,
    read_train_table,
    record_path,
    write_folds,
    write_train_table,
)
from datasets.labels import labels_path, read_labels, write_labels
from datasets.pages import PagePool, SyntheticPages, training_records
from datasets.prepared import FOLDER, LAST_FILE, PreparedPages, prepared_images, read_labelled
from datasets.stage2 import Stage2Samples, target_columns
from digitization.record_files import write_record
from digitization.signal.traces import draw_traces
from models.checkpoint import RENAMED_FIELDS, CheckpointError, load_network
from models.stage2 import Stage2Net
from synthesis import synthesize
from synthesis.signals import deepfake_record, is_heldout
from training import loop
from training.losses import local_range, stage2_loss
from training.stages import STAGES
from training.weights import average_weights, copy_weights, learning_rate_at
from utils.files import folder_lock
from utils.images import write_png

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


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wfdb") / "records"
    write_records(folder)
    return folder


class Result(NamedTuple):
    """What a command says and how it ends."""

    returncode: int
    stdout: str
    stderr: str


def run_script(*arguments: object) -> Result:
    """train.py in a process of its own."""
    command = [sys.executable, str(ROOT / "train.py"), *map(str, arguments), "--threads", "1"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    return Result(result.returncode, result.stdout, result.stderr)


def run_train(*arguments: object) -> Result:
    """train.py in this process, whose modules are loaded: what `__main__` makes of its errors included."""
    threads, said = torch.get_num_threads(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(said):
        patch.setattr("sys.argv", ["train.py", *map(str, arguments), "--threads", "1"])
        try:
            return Result(train.main(), said.getvalue(), "")
        except (ValueError, OSError, CheckpointError) as error:
            return Result(1, said.getvalue(), str(error))
        finally:
            torch.set_num_threads(threads)


NARROW = ("--set", "encoder_channels=8,8,8,8,8", "--set", "decoder_channels=8,8,8,8")
NARROW_STAGE2 = (*NARROW, "--set", "crop_columns=128")
NARROW_STAGE0 = ("--set", "encoder_channels=8,8,8,8", "--set", "decoder_channels=8,8,8")
DEBUG = ("--debug", "--device", "cpu")


@pytest.mark.parametrize("stage", [0, 1, 2])
def test_each_stage_trains_validates_saves_and_resumes(stage, records, tmp_path):
    narrow = (NARROW_STAGE0, NARROW, NARROW_STAGE2)[stage]
    command = ["--stage", stage, *DEBUG, *narrow, "--records", records, "--runs", tmp_path / "runs"]
    first = run_train(*command)
    assert first.returncode == 0, first.stderr
    assert "validation" in first.stdout
    path = next((tmp_path / "runs").glob(f"*/stage{stage}.pt"))
    load_network(path, stage)
    again = run_train(*command, "--resume")
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


@pytest.mark.slow
def test_stage_2_trains_on_prepared_pages_and_is_scored_on_the_fold_held_back(tmp_path):
    data, outputs = tmp_path / "data", tmp_path / "outputs"
    write_prepared(data, outputs)
    where = ["--data", data, "--outputs", outputs, "--runs", tmp_path / "runs", *DEBUG, *NARROW]
    result = run_train(*where, "--fold", 1)
    assert result.returncode == 0, result.stderr
    assert "validation: score" in result.stdout
    load_network(tmp_path / "runs" / "compact" / "stage2.pt", 2)
    for wrong, message in ((["--fold", 2], "no fold 2"), (["--stage", 1], "has labels")):
        result = run_train(*where, "--runs", tmp_path / "other", *wrong)
        assert result.returncode != 0
        assert message in result.stderr
    next((outputs / FOLDER).glob("*.png")).unlink()
    assert "a run is there already" in run_train(*where).stderr
    assert "run prepare_inputs.py" in run_train(*where, "--runs", tmp_path / "other").stderr


def test_stages_0_and_1_learn_from_images_that_were_labelled_on_disk(tmp_path):
    data = tmp_path / "data"
    assert not synthesize_folder(data, None, count=2, seed=5, types=("0001",))
    write_folds(data, make_folds(read_train_table(data), 2, seed=0))
    where = ["--data", data, "--runs", tmp_path / "runs", *DEBUG]
    for stage, narrow in ((0, NARROW_STAGE0), (1, NARROW)):
        trained = run_train(*where, *narrow, "--stage", stage)
        assert trained.returncode == 0, trained.stderr
        load_network(next((tmp_path / "runs").glob(f"*/stage{stage}.pt")), stage)


def test_a_labelled_image_is_learnt_from_upright(tmp_path):
    record = deepfake_record(np.random.default_rng(0))
    drawn = synthesize(record, "0003", np.random.default_rng(1), orientation=3)
    write_record(tmp_path / "a.csv", record.leads, record.fs)
    write_png(tmp_path / "a-0003.png", drawn.image)
    write_labels(labels_path(tmp_path / "a-0003.png"), drawn, has_pulse=True)
    upright = synthesize(record, "0003", np.random.default_rng(1), orientation=0)
    capture, read = read_labelled(tmp_path / "a-0003.png", tmp_path / "a.csv")
    np.testing.assert_array_equal(capture.image, upright.image)
    np.testing.assert_allclose(capture.gridpoint_xy, upright.gridpoint_xy, atol=1e-3)
    np.testing.assert_allclose(capture.leadpoint_xy, upright.leadpoint_xy, atol=1e-3)
    np.testing.assert_allclose(read.leads, record.leads, atol=1e-5)


@pytest.mark.parametrize("fault", ["nan", "point", "text", "turned"])
def test_labels_that_cannot_be_are_named(fault, tmp_path):
    grid = np.stack(np.meshgrid(np.arange(57.0), np.arange(44.0)), axis=-1)
    grid = {"nan": grid * np.nan, "point": grid * 0, "text": grid.astype(str), "turned": grid}[fault]
    path = tmp_path / "a.labels.npz"
    np.savez(path, gridpoint_xy=grid, orientation=np.arange(2) if fault == "turned" else 0)
    with pytest.raises(ValueError, match=r"a\.labels\.npz"):
        read_labels(path)


def test_a_backbone_that_nobody_knows_is_named():
    with pytest.raises(ValueError, match="nonsense"):
        Stage2Net(Stage2Config(backbone="nonsense"))


@pytest.mark.slow
def test_a_bare_command_trains_on_the_folder_data(tmp_path, monkeypatch):
    """As after make_folds.py and prepare_inputs.py; with --set, which the checkpoint keeps."""
    monkeypatch.chdir(tmp_path)
    missing = run_train(*DEBUG)
    assert missing.returncode != 0
    assert "synthesize.py --out data" in missing.stderr
    write_prepared(tmp_path / "data", tmp_path / "outputs")
    trained = run_train(*DEBUG, "--set", "crop_columns=96", "--set", "decoder_channels=32,24,16,16")
    assert trained.returncode == 0, trained.stderr
    config = load_network(tmp_path / "runs" / "compact" / "stage2.pt", 2).config
    assert config.crop_columns == 96
    assert config.decoder_channels == (32, 24, 16, 16)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("batch_size=many", "whole number"),
        ("batch_size=0", "from 1 to"),
        ("learning_rate=nan", "from 1e-12"),
        ("colour_augmentation=maybe", "true or false"),
        ("no_such=1", "has no such value"),
        ("stem_stride=4", "2 values"),
        ("stem_stride=3,3", "powers of two"),
        ("ema_decay=nan", "from 0 to"),
        ("target_sigma=0", "from 0.05"),
        ("decoder_channels=-1,2,3,4", "from 1"),
        ("image_types=9999", "must be among"),
        ("loss=mean", "must be one of"),
    ],
)
def test_a_change_that_does_not_fit_is_named(change, message):
    with pytest.raises(ValueError, match=message) as caught:
        change_config(Stage2Config(), [parse_change(change)])
    assert change.partition("=")[0] in str(caught.value)


def test_changes_are_read_by_the_type_of_the_field():
    changes = [
        "colour_augmentation=false",
        "learning_rate=2e-4",
        "stem_stride=2,2",
        "context_blocks=",
        "backbone=resnet34",
    ]
    config = change_config(Stage2Config(), map(parse_change, changes))
    assert (config.colour_augmentation, config.learning_rate, config.stem_stride) == (False, 2e-4, (2, 2))
    assert (config.context_blocks, config.backbone) == ((), "resnet34")


def test_prepared_pages_give_the_heights_that_their_signals_have(tmp_path):
    write_prepared(tmp_path / "data", tmp_path / "outputs")
    shown, held = prepared_images(tmp_path / "data", tmp_path / "outputs", fold=0)
    assert len(shown) == len(held) == 1
    page = PreparedPages(shown)(np.random.default_rng(0))
    truth = target_columns(read_record(record_path(tmp_path / "data", shown["record"].iloc[0])))
    assert page["image"].shape == (INPUT_HEIGHT, MASK_WIDTH, 3)
    assert (np.isfinite(page["y"]) == np.isfinite(truth)).all()
    np.testing.assert_array_equal(page["y"], truth)


def test_weights_of_another_checkpoint_are_taken_where_they_fit(tmp_path, capsys):
    torch.save({"state_dict": {"weight": torch.ones(2, 2), "bias": torch.ones(3)}}, tmp_path / "some.pt")
    net = torch.nn.Linear(2, 2)
    copy_weights(net, tmp_path / "some.pt")
    assert (net.weight == 1).all()
    assert "1 of 2 tensors copied, newly initialized: bias" in capsys.readouterr().out
    with pytest.raises(CheckpointError, match=r"some\.pt: none"):
        copy_weights(torch.nn.Linear(5, 7), tmp_path / "some.pt")


@pytest.mark.slow
def test_a_folder_without_records_is_named_in_a_line(tmp_path):
    result = run_script("--records", tmp_path, "--runs", tmp_path)
    assert result.returncode == 1
    assert str(tmp_path) in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_the_loss_of_stage_2_is_least_at_the_truth(loss):
    config = Stage2Config(loss=loss)
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


def test_a_loss_that_there_is_none_of_is_refused_with_those_there_are():
    with pytest.raises(ValueError, match=r"^loss 'dice': must be one of column, bce$"):
        replace(Stage2Config(), loss="dice")


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
    average = average_weights(net, decay=0.99)
    with torch.no_grad():
        net.weight.fill_(1.0)
    for _ in range(50):
        average.update_parameters(net)
    torch.testing.assert_close(average.module.weight, net.weight, atol=0.05, rtol=0)


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


def test_weights_are_no_state_of_a_run(records, tmp_path):
    torch.save({"state_dict": {}}, tmp_path / "last.pt")
    (tmp_path / "compact").mkdir()
    (tmp_path / "last.pt").rename(tmp_path / "compact" / "last.pt")
    result = run_train("--records", records, "--runs", tmp_path, "--resume", *DEBUG)
    assert result.returncode == 1
    assert "not the state of a training run" in result.stderr


def read_log(run: Path, name: str = "loss") -> list[float]:
    table = pd.read_csv(run / "log.csv")
    return table.loc[table["name"] == name, "value"].tolist()


SMALL = Stage2Config(
    encoder_channels=(8, 8, 8, 8, 8),
    decoder_channels=(8, 8, 8, 8),
    batch_size=2,
    pool=3,
    samples_per_page=4,
    crop_columns=128,
)


def cheap_page(rng: np.random.Generator) -> dict:
    """What stage 2's samples keep of a page, of noise, without drawing one."""
    y = np.full((4, 400), np.nan, np.float32)
    y[:, 50:350] = rng.uniform(300, 1000, (4, 1))
    return {"image": rng.integers(0, 255, (INPUT_HEIGHT, 400, 3), np.uint8), "y": y}


def test_a_record_that_cannot_be_read_costs_training_nothing_else(records, caplog):
    paths = training_records(records)
    broken = records / "cut.hea"
    pages = SyntheticPages([broken, *paths], Stage2Samples(SMALL), ("0001",))
    for seed in (0, 1, 1):  # 1 takes the broken one first
        assert np.isfinite(pages(np.random.default_rng(seed))["y"]).any()
    assert caplog.text.count("left out: ") == 1
    broken.touch()
    assert training_records(records) == [broken, *paths]  # which is sorted first
    assert "cut.hea" in caplog.text
    broken.unlink()
    with pytest.raises(ValueError, match=r"cut.hea: 20 records in a row cannot be read"):
        SyntheticPages([broken], Stage2Samples(SMALL))(np.random.default_rng(0))


@pytest.fixture
def small_run(records, monkeypatch):
    """Runs of a few steps on cheap pages in this process, given their folder and options; their folder."""
    monkeypatch.setattr("training.stages.SyntheticPages", lambda *_: cheap_page)
    monkeypatch.setattr(STAGES[2], "validation", lambda *_: [None])
    monkeypatch.setattr(STAGES[2], "validate", lambda *_: (0.0, {"score": 0.0}))
    monkeypatch.setattr(STAGES[2], "preview", lambda *_: None)

    def run(runs: Path, **options) -> Path:
        given = {"records": records, "runs": runs, "workers": 0, "log_every": 1, "device": "cpu"}
        loop.train(STAGES[2], SMALL, "small", loop.Options(**given | {"steps": 20} | options))
        return runs / "small"

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield run
    torch.set_num_threads(threads)


def test_the_same_seed_gives_the_same_losses(small_run, tmp_path):
    first = read_log(small_run(tmp_path / "a", seed=3, steps=8))
    again = read_log(small_run(tmp_path / "b", seed=3, steps=8))
    other = read_log(small_run(tmp_path / "c", seed=4, steps=3))
    assert len(first) == 8, "of four pages, one more than the pool holds"
    assert first == again
    assert first[:3] != other


def test_a_run_in_bfloat16_learns_and_goes_on_in_float32_with_the_same_weights(
    small_run, tmp_path, monkeypatch
):
    page = cheap_page(np.random.default_rng(0))
    monkeypatch.setattr("training.stages.SyntheticPages", lambda *_: lambda rng: page)
    run = small_run(tmp_path, seed=3, steps=10, precision="bfloat16")
    losses = read_log(run)
    assert np.mean(losses[-3:]) < np.mean(losses[:3]) - 0.1
    single = read_log(small_run(tmp_path / "single", seed=3, steps=10, precision="float32"))
    assert losses != single
    assert losses[:4] == pytest.approx(single[:4], abs=0.1), "rounding has hardly added up yet"
    assert np.mean(losses) == pytest.approx(np.mean(single), abs=0.1)
    state = torch.load(run / "last.pt")["state_dict"]
    assert {value.dtype for value in state.values() if value.is_floating_point()} == {torch.float32}
    small_run(tmp_path, seed=3, steps=11, precision="float32", resume=True)
    assert len(read_log(run)) == 11


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
def test_a_run_that_was_stopped_and_resumed_ends_bit_for_bit_as_one_that_was_not(
    workers, small_run, tmp_path, monkeypatch
):
    whole = small_run(tmp_path / "whole", steps=7, workers=workers)
    calls = count(1)
    loss = STAGES[2].loss

    def loss_and_signal(*arguments, **named):
        if next(calls) == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        return loss(*arguments, **named)

    monkeypatch.setattr(STAGES[2], "loss", loss_and_signal)
    stopped = small_run(tmp_path / "parts", steps=7, workers=workers)
    assert torch.load(stopped / "last.pt")["step"] == 3
    small_run(tmp_path / "parts", steps=7, workers=workers, resume=True)
    one, two = (torch.load(run / "last.pt") for run in (whole, stopped))
    for part in ("state_dict", "average"):
        assert all(torch.equal(one[part][name], two[part][name]) for name in one[part])
    assert read_log(whole) == read_log(stopped)


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_what_was_saved(small_run, tmp_path, monkeypatch):
    whole = small_run(tmp_path / "runs", steps=2)
    saved = (whole / "last.pt").read_bytes()
    monkeypatch.setattr(STAGES[2], "loss", lambda output, *_: torch.nan * output.sum())
    with pytest.raises(ValueError, match=r"small: the loss is no longer finite at step 3"):
        small_run(tmp_path / "runs", steps=5, resume=True)
    assert (whole / "last.pt").read_bytes() == saved


class FakeWandb(ModuleType):
    """Weights & Biases as far as a run calls it: which runs were begun, and how they ended."""

    def __init__(self):
        super().__init__("wandb")
        self.begun, self.ended = [], []

    def init(self, id: str, resume: str, **_) -> "FakeWandb":
        self.begun.append((id, resume))
        return self

    def log(self, values: dict, step: int) -> None:
        pass

    def finish(self, exit_code: int) -> None:
        self.ended.append(exit_code)


def test_a_resumed_run_is_the_same_on_weights_and_biases_and_ends_there_even_when_it_fails(
    small_run, tmp_path, monkeypatch
):
    fake = FakeWandb()
    monkeypatch.setitem(sys.modules, "wandb", fake)
    for runs, options in (("a", {"steps": 1}), ("a", {"steps": 2, "resume": True}), ("b", {"steps": 1})):
        small_run(tmp_path / runs, wandb=True, **options)
    (first, how), again, other = fake.begun
    assert again == (first, "allow")
    assert how == "allow"
    assert other[0] != first
    monkeypatch.setattr(STAGES[2], "loss", lambda output, *_: torch.nan * output.sum())
    with pytest.raises(ValueError, match="no longer finite"):
        small_run(tmp_path / "a", wandb=True, steps=3, resume=True)
    assert fake.ended == [0, 0, 0, 1]


def test_a_run_goes_on_with_its_own_recipe_only(small_run, tmp_path):
    run = small_run(tmp_path, steps=1)
    with pytest.raises(CheckpointError, match=r"last.pt: begun with another fold, seed"):
        small_run(tmp_path, steps=2, resume=True, fold=1, seed=5)
    state = torch.load(run / "last.pt")
    del state["recipe"]["positive_weight"]  # as a run was begun before there was this field
    torch.save(state, run / "last.pt")
    for old, new in RENAMED_FIELDS.items():  # and as 0.2.0 called them
        if new in state["recipe"]:
            state["recipe"][old] = state["recipe"].pop(new)
    torch.save(state, run / "last.pt")
    small_run(tmp_path, steps=1, resume=True)
    torch.save(state | {"optimizer": {}}, run / "last.pt")
    with pytest.raises(CheckpointError, match=r"last.pt: damaged"):
        small_run(tmp_path, steps=2, resume=True)


def test_a_second_run_in_a_folder_is_refused_before_it_writes_there(small_run, tmp_path):
    with folder_lock(tmp_path / "small"), pytest.raises(ValueError, match=r"small: another run is writing"):
        small_run(tmp_path)
    assert not (tmp_path / "small").exists()
    run = small_run(tmp_path, steps=1)
    killed = run / ".last.7.partial.pt"
    killed.touch()
    small_run(tmp_path, steps=2, resume=True)
    assert not killed.exists()


def test_a_run_that_is_stopped_says_so_and_its_loss_is_a_mean_of_what_followed(
    small_run, tmp_path, monkeypatch
):
    monkeypatch.setattr(STAGES[2], "loss", lambda output, *_: 0 * output.sum() + 2)
    learn = loop.Training.train_step

    def learn_and_stop(training, *arguments):
        loss = learn(training, *arguments)
        training.stopped = training.step == 3
        return loss

    monkeypatch.setattr(loop.Training, "train_step", learn_and_stop)
    run = small_run(tmp_path, steps=6, log_every=2)
    assert torch.load(run / "last.pt")["step"] == 3
    small_run(tmp_path, steps=6, log_every=2, resume=True)
    assert read_log(run) == [2, 2, 2]


def test_a_loader_that_is_killed_is_told_in_a_line(small_run, tmp_path, monkeypatch):
    def learn(*_):  # torch's handler of SIGCHLD raises wherever the trainer is
        raise RuntimeError("DataLoader worker (pid 7) is killed by signal: Killed.")

    monkeypatch.setattr(loop.Training, "train_step", learn)
    with pytest.raises(ValueError, match=r"killed by signal.*--resume goes on from .*last.pt"):
        small_run(tmp_path)
    assert (tmp_path / "small" / "last.pt").exists()


@pytest.fixture
def no_child_stays():
    """Whatever strikes: the processes that a test starts end with it, and those from before live on."""
    before = set(multiprocessing.active_children())
    yield
    for child in set(multiprocessing.active_children()) - before:
        with suppress(RuntimeError):  # torch's handler of SIGCHLD: a loader is killed
            child.kill()
            child.join()


@pytest.mark.slow
@pytest.mark.usefixtures("no_child_stays")
def test_loaders_that_hang_end_with_the_run(small_run, tmp_path, monkeypatch):
    """One that lives on would keep the trainer's process from ending, for ever."""

    hangs, pages = tmp_path / "hangs", count()

    def page(rng: np.random.Generator) -> dict:
        if next(pages) == 1:  # drawn ahead: the first serves for both steps
            hangs.touch()
            time.sleep(3600)
        return cheap_page(rng)

    def validate(*_) -> tuple[float, dict]:
        while not hangs.exists():
            time.sleep(0.01)
        return 0.0, {"score": 0.0}

    monkeypatch.setattr("training.stages.SyntheticPages", lambda *_: page)
    monkeypatch.setattr(STAGES[2], "validate", validate)
    before = set(multiprocessing.active_children())
    small_run(tmp_path, steps=2, workers=1)
    assert set(multiprocessing.active_children()) <= before


@pytest.mark.slow
def test_a_signal_to_the_whole_group_stops_the_run_and_not_its_loaders(records, tmp_path):
    where = ["--records", records, "--runs", tmp_path / "runs", "--device", "cpu", *NARROW_STAGE2]
    few = ["--set", "pool=2", "--set", "batch_size=2", "--validation-pages", "1"]  # the first step comes soon
    command = [sys.executable, "train.py", *map(str, where), *few, "--threads", "1", "--log-every", "1"]
    with subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    ) as process:
        try:
            assert process.stdout is not None
            assert any("step 1 " in line for line in process.stdout)
            os.killpg(process.pid, signal.SIGTERM)
            rest = process.stdout.read()
            process.wait(timeout=60)
        finally:  # loaders are of other groups: they end once they see that the trainer is gone
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
    assert "stopped by a signal" in rest
    assert process.returncode == train.INTERRUPTED, rest
    assert (tmp_path / "runs" / "compact" / "last.pt").exists()


def test_what_is_wrong_with_a_page_is_told_in_a_line(small_run, tmp_path, monkeypatch):
    def page(rng: np.random.Generator) -> dict:
        raise ValueError("7.npz: not a mask")

    monkeypatch.setattr("training.stages.SyntheticPages", lambda *_: page)
    with pytest.raises(ValueError, match=r"^7.npz: not a mask$"):
        small_run(tmp_path, workers=1)


@pytest.mark.slow
def test_accumulated_batches_step_as_one_large_batch(small_run, tmp_path):
    halves = small_run(tmp_path / "a", steps=2, accumulate=2)
    assert read_log(halves, "images_per_s")
    state = torch.load(halves / "stage2.pt")
    assert state["training"]["images"] == 2 * 2 * SMALL.batch_size


@pytest.mark.parametrize("backbone", ["compact", "resnet10t"])
def test_checkpointing_changes_neither_loss_nor_gradients(backbone):
    widths = {"decoder_channels": (8, 8, 8, 8, 8)} if backbone != "compact" else {}
    torch.manual_seed(0)
    net = Stage2Net(replace(SMALL, backbone=backbone, **widths)).train()
    image = torch.rand(2, 3, 128, 128)
    gradients = []
    for checkpointing in (False, True):
        net.checkpointing = checkpointing
        net.zero_grad()
        net(image).square().mean().backward()
        gradients.append([p.grad.clone() for p in net.parameters()])
    for plain, again in zip(*gradients, strict=True):
        torch.testing.assert_close(plain, again)


@pytest.mark.slow
def test_two_processes_learn_as_one(records, tmp_path):
    """Weights other than those of the first process alone show that the second one's gradients joined."""
    both, alone = tmp_path / "both", tmp_path / "alone"
    options = ["--records", records, *DEBUG, *NARROW_STAGE2, "--steps", 3]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    command = [*torchrun, "train.py", *options, "--threads", "1", "--runs", both]
    result = subprocess.run(list(map(str, command)), cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("best score") == 1  # the first process speaks for both
    state = torch.load(both / "compact" / "stage2.pt")
    assert state["training"]["images"] == 3 * 2 * 2
    single = run_train(*options, "--runs", alone)
    assert single.returncode == 0, single.stderr
    one, two = (torch.load(runs / "compact" / "last.pt")["state_dict"] for runs in (alone, both))
    assert not any(torch.equal(one[name], two[name]) for name in ("encoder.stem.0.weight", "head.weight"))


@pytest.mark.slow
def test_all_folds_are_trained_and_prepared_pages_mix_with_drawn_ones(records, tmp_path):
    data, outputs = tmp_path / "data", tmp_path / "outputs"
    write_prepared(data, outputs)
    where = ["--data", data, "--outputs", outputs, "--runs", tmp_path / "runs", *DEBUG, *NARROW_STAGE2]
    result = run_train(*where, "--records", records, "--fold", "all")
    assert result.returncode == 0, result.stderr
    for fold in (0, 1):
        assert read_log(tmp_path / "runs" / f"compact_fold{fold}", "validation/score")


def test_batches_go_on_where_they_were_left():
    class Numbers:
        def sample(self, page, rng):
            return (np.array([page["number"], rng.random()]),)

    def source(rng):
        return {"number": rng.random()}

    def batches(start, workers):
        pool = PagePool(source, Numbers(), samples_per_page=3, pool=2, batch_size=2, seed=(1, 0), start=start)
        return [batch[0].tolist() for batch in islice(DataLoader(pool, 2, num_workers=workers), 12 - start)]

    for workers in (0, 2):
        whole = batches(0, workers)
        assert len({tuple(map(tuple, batch)) for batch in whole}) == 12
        for start in (1, 5, 8):
            assert batches(start, workers) == whole[start:]
