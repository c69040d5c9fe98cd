import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from filelock import FileLock

from configs.page import GRID_COLUMNS, GRID_ROWS, RECTIFIED
from configs.stage0 import Stage0Config
from configs.stage1 import Stage1Config
from data_preparation import prepare_inputs as script
from data_preparation.generate_masks import mask_path
from data_preparation.prepare_inputs import prepare_inputs
from data_preparation.straighten_image import DEBUG_WIDTH
from datasets.competition import image_path, record_path
from datasets.labels import read_slip
from digitization.geometry.calibration import Calibration
from digitization.geometry.locate import PageNotFound
from digitization.geometry.rectify import unrectify_points
from digitization.geometry.slip import Slip
from digitization.geometry.straighten import RectifiedPage
from digitization.options import StraightenerOptions
from digitization.record_files import write_record
from models.checkpoint import save_network
from models.stage0 import Stage0Net
from models.stage1 import Stage1Net
from utils.images import read_rgb, write_png
from utils.pool import Pool

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
IDS = ("1006427285-0001", "1006427285-0005", "2042290760-0006")


class StraightenerOfWhitePages:
    """Straightens any white image; a black one has no page."""

    def __init__(self):
        self.calls = 0
        self.slip: Slip | None = None

    def straighten(self, image: np.ndarray) -> RectifiedPage:
        self.calls += 1
        if not image.any():
            raise PageNotFound("only 0 of 13 lead labels found, 4 needed")
        return RectifiedPage(
            orientation=3,
            homography=np.eye(3),
            gridpoint_xy=np.indices((GRID_COLUMNS, GRID_ROWS), np.float32).T,
            seen=np.ones((GRID_ROWS, GRID_COLUMNS), bool),
            calibration=Calibration(np.full(2, 7.9), 1.0),
            page_score=0.9,
            score_parts={"points": 0.9},
            keypoints=np.zeros((13, 2), np.float32),
            rect=image,
            slip=self.slip,
        )


@pytest.fixture
def images(tmp_path) -> pd.DataFrame:
    """Three images, the second of them black."""
    paths = [tmp_path / f"{image_id}.png" for image_id in IDS]
    for path, brightness in zip(paths, (255, 0, 255), strict=True):
        write_png(path, np.full((20, 30, 3), brightness, np.uint8))
    records = [image_id.split("-")[0] for image_id in IDS]
    return pd.DataFrame({"image_id": IDS, "record": records, "path": paths})


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def options(tmp_path) -> StraightenerOptions:
    for stage in (0, 1):
        (tmp_path / f"stage{stage}.pt").write_text("weights, never loaded where the straightener is a stub")
    return StraightenerOptions(tmp_path / "stage0.pt", tmp_path / "stage1.pt", "cpu")


@pytest.fixture
def straightener(monkeypatch) -> StraightenerOfWhitePages:
    straightener = StraightenerOfWhitePages()
    monkeypatch.setattr(StraightenerOptions, "load", lambda *_: [])
    monkeypatch.setattr(StraightenerOptions, "build", lambda *_: straightener)
    return straightener


@pytest.fixture
def pool(options, straightener) -> Pool:
    return Pool(options, 1)


def outcomes_in(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "outcomes.csv", index_col="image_id", keep_default_na=False)


def test_each_image_gets_its_files_and_a_failure_is_named(images, pool, folder, straightener):
    failures = prepare_inputs(images, pool, folder)
    assert list(failures) == [IDS[1]]
    assert "0 of 13 lead labels" in failures[IDS[1]]
    for image_id in (IDS[0], IDS[2]):
        assert (read_rgb(folder / f"{image_id}.rect.png") == 255).all()
        assert int(np.load(folder / f"{image_id}.rotation.npy")) == 3
        assert np.load(folder / f"{image_id}.homo.npy").shape == (3, 3)
        assert np.load(folder / f"{image_id}.gridpoint_xy.npy").shape == (GRID_ROWS, GRID_COLUMNS, 2)
    assert not list(folder.glob(f"{IDS[1]}*"))
    assert not list(folder.glob("*.partial"))
    outcomes = outcomes_in(folder)["outcome"]
    assert list(outcomes[[IDS[0], IDS[2]]]) == ["ok", "ok"]
    assert "lead labels" in outcomes[IDS[1]]


def test_a_slip_is_kept_beside_the_grid(images, pool, folder, straightener):
    straightener.slip = Slip(np.array([20.25, 44.5]), np.array([0.05, 0.1]), slant=0.002)
    prepare_inputs(images, pool, folder)
    grid = np.load(folder / f"{IDS[0]}.gridpoint_xy.npy")
    columns = np.array([10.0, 20.3, 44.4, 44.55, 50.0])
    places = np.stack([columns * RECTIFIED.square_width, np.full(5, 500.0)], axis=1)
    kept = read_slip(folder / f"{IDS[0]}.slip.npz")
    np.testing.assert_array_equal(
        unrectify_points(places, grid, slip=kept), unrectify_points(places, grid, slip=straightener.slip)
    )
    assert outcomes_in(folder)["slip"][IDS[0]] == str(straightener.slip)


def test_a_steady_page_has_no_slip_beside_its_grid(images, pool, folder, straightener):
    prepare_inputs(images, pool, folder)
    assert read_slip(folder / f"{IDS[0]}.slip.npz") is None
    assert outcomes_in(folder)["slip"][IDS[0]] == ""


def test_a_second_run_does_only_what_is_missing(images, pool, folder, straightener):
    prepare_inputs(images, pool, folder)
    write_png(images["path"][1], np.full((20, 30, 3), 255, np.uint8))
    (folder / f"{IDS[2]}.rect.png").unlink()
    straightener.calls = 0
    assert prepare_inputs(images, pool, folder) == {}
    assert straightener.calls == 2
    assert set(outcomes_in(folder)["outcome"]) == {"ok"}
    assert prepare_inputs(images, pool, folder) == {}
    assert straightener.calls == 2


def test_an_image_replaced_since_or_without_one_of_its_files_is_done_again(
    images, pool, folder, straightener
):
    prepare_inputs(images, pool, folder)
    (folder / f"{IDS[0]}.homo.npy").unlink()
    later = time.time() + 10
    os.utime(images["path"][2], (later, later))
    straightener.calls = 0
    prepare_inputs(images, pool, folder)
    assert straightener.calls == 3  # both, and the failure
    assert (folder / f"{IDS[0]}.homo.npy").exists()


def test_pages_of_other_weights_are_not_mixed(images, pool, folder, straightener):
    prepare_inputs(images, pool, folder)
    pool.options.stage1.write_text("others")
    with pytest.raises(ValueError, match=r"networks\.json: .*other weights"):
        prepare_inputs(images, pool, folder)
    (folder / "networks.json").write_text("")
    with pytest.raises(ValueError, match=r"networks\.json: "):
        prepare_inputs(images, pool, folder)


def test_a_row_cut_short_by_a_crash_counts_as_not_done(images, pool, folder, straightener):
    prepare_inputs(images, pool, folder)
    table = folder / "outcomes.csv"
    table.write_text(table.read_text().rstrip().rsplit(",", 3)[0])
    straightener.calls = 0
    prepare_inputs(images, pool, folder)
    assert straightener.calls == 2  # the row cut short, and the failure


def test_a_foreign_table_is_refused(images, pool, folder, straightener):
    folder.mkdir()
    (folder / "outcomes.csv").write_text("id,fs\n1,2\n")
    with pytest.raises(ValueError, match=r"outcomes\.csv: columns of another program"):
        prepare_inputs(images, pool, folder)
    assert (folder / "outcomes.csv").read_text() == "id,fs\n1,2\n"


def test_an_unreadable_image_does_not_stop_the_others(images, pool, folder, straightener):
    images["path"][0].write_bytes(b"not an image")
    failures = prepare_inputs(images, pool, folder)
    assert set(failures) == {IDS[0], IDS[1]}
    assert str(images["path"][0]) in failures[IDS[0]]


def test_debug_draws_the_grid(images, pool, folder, straightener):
    prepare_inputs(images[:1], pool, folder, debug=True)
    assert read_rgb(folder / f"{IDS[0]}.debug.png").shape[1] == DEBUG_WIDTH


def save_untrained(folder: Path) -> None:
    compact = {"encoder_channels": (4, 4, 4), "decoder_channels": (4, 4)}
    save_network(folder / "stage0.pt", Stage0Net(Stage0Config(input_width=64, **compact)), 0)
    save_network(folder / "stage1.pt", Stage1Net(Stage1Config(**compact)), 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "where",
    [{"workers": 2}, {"workers": 2, "device": "cpu:0"}, {"dask": True}],
    ids=["CPU", "device", "Dask"],
)
def test_every_image_that_untrained_networks_cannot_read_is_named(where, images, options, folder, tmp_path):
    save_untrained(tmp_path)
    with ExitStack() as stack:
        if "dask" in where:
            distributed = pytest.importorskip("distributed")
            cluster = distributed.LocalCluster(
                n_workers=1, threads_per_worker=2, memory_limit=0, dashboard_address=":0"
            )
            where = {"dask": stack.enter_context(cluster).scheduler_address}
        options = replace(options, device=where.pop("device", "cpu"))
        failures = prepare_inputs(images, Pool(options, **where), folder)
    assert set(failures) == set(IDS)
    assert all("lead labels" in reason for reason in failures.values())
    assert set(outcomes_in(folder).index) == set(IDS)


def test_the_script_writes_pages_and_masks_and_its_exit_code_tells_of_failures(
    tmp_path, straightener, capsys
):
    record, fs = "1006427285", 500
    leads = np.zeros((12, 10 * fs), np.float32)
    write_record(record_path(tmp_path, record), leads, fs)
    write_png(image_path(tmp_path, record, "0001"), np.full((20, 30, 3), 255, np.uint8))
    arguments = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--workers", "1", "--device", "cpu"]
    assert script.main(arguments) == 0
    assert mask_path(tmp_path, record).exists()
    assert (tmp_path / "out" / script.FOLDER / f"{record}-0001.rect.png").exists()
    write_png(image_path(tmp_path, record, "0005"), np.zeros((20, 30, 3), np.uint8))
    assert script.main(arguments) == 1
    assert f"failed: {record}-0005" in capsys.readouterr().err


def test_what_a_killed_run_left_half_written_is_removed(images, pool, folder, straightener):
    folder.mkdir(parents=True)
    (folder / ".1006427285-0001.rect.4711.partial.png").write_bytes(b"half")
    prepare_inputs(images, pool, folder)
    assert not list(folder.glob(".*.partial*"))


def test_two_runs_do_not_write_to_one_folder(images, pool, folder, straightener):
    folder.mkdir(parents=True)
    with FileLock(folder / ".lock"), pytest.raises(ValueError, match="another run"):
        prepare_inputs(images, pool, folder)
    assert set(prepare_inputs(images, pool, folder)) == {IDS[1]}


def read_whole(path: Path) -> None:
    """Raise unless a result can be read."""
    if path.suffix == ".png":
        assert read_rgb(path).shape == (RECTIFIED.height, RECTIFIED.width, 3)
    elif path.suffix == ".npy":
        assert np.isfinite(np.load(path)).all()


@pytest.mark.slow
def test_a_run_killed_again_and_again_loses_nothing_that_was_done(tmp_path):
    data, out = tmp_path / "data", tmp_path / "out"
    shutil.copytree(SAMPLES, data)
    command = [sys.executable, "-m", "data_preparation.prepare_inputs", "--data", data, "--out", out]
    command += ["--workers", "2", "--device", "cpu"]
    folder = out / script.FOLDER
    rng, done = np.random.default_rng(0), set()
    for _ in range(2):
        run = subprocess.Popen(command, cwd=script.ROOT, stderr=subprocess.DEVNULL)
        before = len(list(folder.glob("*"))) if folder.exists() else 0
        while run.poll() is None and len(list(folder.glob("*"))) <= before + 1:
            time.sleep(0.02)
        time.sleep(rng.uniform(0, 0.3))
        run.kill()
        assert run.wait() != 0, "it was done before it was killed"
        for path in folder.glob("[!.]*"):
            read_whole(path)
        ready = {path.name for path in folder.glob("*.rect.png")}
        assert done <= ready
        done = ready
    subprocess.run(command, cwd=script.ROOT, check=True, capture_output=True)
    assert len(list(folder.glob("*.rect.png"))) == len(list(data.glob("train/*/*.png")))
    assert not list(folder.glob(".*.partial*"))
    assert set(outcomes_in(folder)["outcome"]) == {"ok"}
