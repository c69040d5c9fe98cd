"""predict.py as users call it: good pages, bad pages, and the files that it leaves."""

import os
import re
import shutil
import signal
import threading
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

import predict
from configs.page import LEADS
from datasets.competition import read_record
from digitization import Digitized, Digitizer
from digitization.record_files import write_wfdb
from models.checkpoint import CHECKPOINTS, read_checkpoint
from prediction.inputs import find_image, find_images, find_inputs, name_outputs
from tests.test_workers import wait_until
from utils.command import log, show_log
from utils.files import folder_lock
from utils.images import read_rgb, write_png
from utils.kaggle_metric import image_snr, to_db

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "samples" / "train").glob("*/*-0001.png"))


@pytest.fixture(scope="module")
def sample() -> Path:
    return SAMPLES[0]


@pytest.fixture(scope="module")
def digitizer() -> Digitizer:
    return Digitizer()


@pytest.fixture(scope="module")
def page(digitizer, sample) -> Digitized:
    """The sample as read by the shipped networks."""
    return digitizer(read_rgb(sample))


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["predict.py", *map(str, arguments)])
    show_log()
    return predict.main()


@pytest.mark.slow
def test_a_digitizer_reads_a_page_at_the_rate_asked_for(digitizer, sample):
    truth = read_record(sample.with_name(f"{sample.parent.name}.csv"))
    fs = truth.shape[1] // 10
    page = digitizer(read_rgb(sample), fs)
    assert page.leads.shape == truth.shape
    assert to_db(image_snr(truth, page.leads, fs)) > 15
    assert page.rectified.doubts == []


@pytest.mark.slow
def test_a_folder_with_bad_pages_gives_a_file_for_each_and_names_the_bad(
    sample, tmp_path, monkeypatch, capsys
):
    pages = tmp_path / "pages"
    pages.mkdir()
    shutil.copy(sample, pages / "good.png")
    (pages / "empty.png").touch()
    (pages / "text.png").write_text("not an image")
    blank = np.full((600, 800, 3), 255, np.uint8)
    write_png(pages / "blank.png", blank)
    out = tmp_path / "out"
    assert run(monkeypatch, pages, "--output", out, "--fs", 250, "--workers", 1) == 1
    assert sorted(path.stem for path in out.iterdir()) == ["blank", "empty", "good", "pages", "text"]
    rows = pd.read_csv(out / "pages.csv").set_index("name")
    assert rows["outcome"].to_dict() == {
        "good": "done",
        "blank": "failed",
        "empty": "failed",
        "text": "failed",
    }
    assert rows.loc["good", "confidence"] > 0.9
    printed = capsys.readouterr()
    assert "3 failed" in printed.out
    for name in ("empty.png", "text.png", "blank.png"):
        assert sum(name in line for line in printed.err.splitlines()) == 1
    good = pd.read_csv(out / "good.csv")
    assert list(good.columns) == list(LEADS)
    assert len(good) == 2500
    assert good["II"].notna().all()
    assert good["V1"].notna().sum() == 625


@pytest.mark.parametrize(
    ("output", "submission", "pages"),
    [("out", "out/submission.csv", "out/pages.csv"), ("my.csv", "my.csv", "my.pages.csv")],
)
def test_a_test_table_gets_exactly_its_rows(output, submission, pages, sample, tmp_path, monkeypatch):
    images = tmp_path / "test"
    images.mkdir()
    shutil.copy(sample, images / "7.png")
    asked = []
    for image_id, fs in (("7", 500), ("8", 1025)):  # there is no 8.png
        for lead in LEADS:
            asked.append((image_id, lead, fs, int((10 if lead == "II" else 2.5) * fs)))
    table = pd.DataFrame(asked, columns=["id", "lead", "fs", "number_of_rows"])
    table.to_csv(tmp_path / "test.csv", index=False)
    assert run(monkeypatch, tmp_path / "test.csv", "--output", tmp_path / output) == 1
    assert pd.read_csv(tmp_path / pages)["name"].astype(str).tolist() == ["7", "8"]
    submission = pd.read_csv(tmp_path / submission)
    assert list(submission.columns) == ["id", "value"]
    expected = [f"{i}_{row}_{lead}" for i, lead, _, rows in asked for row in range(rows)]
    assert submission["id"].tolist() == expected
    assert np.isfinite(submission["value"]).all()
    missing = submission["id"].str.startswith("8_")
    assert (submission.loc[missing, "value"] == 0).all()
    assert (submission.loc[~missing, "value"] != 0).any()


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([".", "--output", "out", "--fs", "1000000000"], "at most"),
        ([".", "--output", "out", "--threads", "-1"], "must be above 0"),
        (["nowhere.png", "--output", "out"], "nowhere.png: no such file"),
        ([".", "--output", "out", "--fs", "0"], "must be above 0"),
        ([".", "--output", "out.csv"], "out.csv: --output is a folder"),
        ([".", "--output", "out", "--stage2", "gone.pt"], "gone.pt: no such checkpoint"),
    ],
)
def test_what_cannot_start_says_why_and_writes_nothing(arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.png").touch()
    with pytest.raises(ValueError, match=reason):
        run(monkeypatch, *arguments)
    assert not (tmp_path / "out").exists()


def test_every_image_has_a_result_of_its_own(tmp_path):
    paths = [tmp_path / name for name in ("a.png", "a.bmp", "a.png.png", "b.jpg", "c/b.jpg", "c/d/b.tif")]
    names = name_outputs(paths)
    assert sorted(names.values()) == sorted(paths)
    assert names["b"] == tmp_path / "b.jpg"
    assert names["c/d/b"] == tmp_path / "c/d/b.tif"


def test_signals_beside_their_image_are_not_overwritten(sample, tmp_path, monkeypatch):
    shutil.copy(sample, tmp_path / "b.png")
    (tmp_path / "b.csv").write_text("the truth")
    with pytest.raises(ValueError, match="holds images to be digitized"):
        run(monkeypatch, tmp_path, "--output", tmp_path)
    assert (tmp_path / "b.csv").read_text() == "the truth"


@pytest.mark.slow
def test_a_page_whose_file_cannot_be_written_does_not_stop_the_others(sample, tmp_path, monkeypatch, capsys):
    pages, out = tmp_path / "pages", tmp_path / "out"
    pages.mkdir()
    for name in ("a.png", "b.png"):
        shutil.copy(sample, pages / name)
    (out / "a.csv").mkdir(parents=True)
    assert run(monkeypatch, pages, "--output", out, "--fs", 100) == 1
    assert "a.csv" in capsys.readouterr().err
    assert len(pd.read_csv(out / "b.csv")) == 1000


def test_damaged_weights_make_no_signals(sample):
    digitizer = Digitizer()
    with torch.no_grad():
        next(digitizer.tracer.nets[0].parameters()).fill_(torch.nan)
    with pytest.raises(ValueError, match="not finite"):
        digitizer(read_rgb(sample))


def test_hidden_files_are_no_pages_and_suffixes_may_be_capital(tmp_path):
    for name in (".a.1.partial.png", "7.PNG"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images(tmp_path)] == ["7.PNG"]
    assert find_image(tmp_path, "7").name == "7.PNG"


@pytest.mark.slow
@pytest.mark.parametrize("view", ["moved", "mirrored"])
def test_several_networks_and_another_view_read_alike(sample, page, view):
    path = CHECKPOINTS / "stage2.pt"
    several = Digitizer(stage2=[path, path], tta=[view])(read_rgb(sample))
    assert several.confidence.shape == (12,)
    difference = np.nan_to_num(several.leads - page.leads)
    assert 0 < np.sqrt(np.mean(difference**2)) < 0.02  # mV
    assert several.trace_result.limb_residuals.max() < 0.1


def test_unknown_views_and_ways_to_merge_are_refused():
    with pytest.raises(ValueError, match="upside_down"):
        Digitizer(tta=["upside_down"])
    with pytest.raises(ValueError, match="'mode': not among mean, median"):
        Digitizer(merge="mode")


@pytest.mark.slow
def test_the_median_of_several_networks_is_asked_for_by_name(sample, tmp_path, monkeypatch):
    """Of three networks, one of them astray, it is read as by one of the two that agree."""
    sound = read_checkpoint(CHECKPOINTS / "stage2.pt")
    head = next(name for name in reversed(sound["state_dict"]) if name.endswith("weight"))
    astray = tmp_path / "astray.pt"
    weights = sound["state_dict"] | {head: -sound["state_dict"][head]}
    torch.save(sound | {"state_dict": weights}, astray)
    tables = []
    shutil.copy(sample, tmp_path / "a.png")
    sound_path = CHECKPOINTS / "stage2.pt"
    three = [sound_path, astray, sound_path]
    for given, merge in (([sound_path], "mean"), (three, "median"), (three, "mean")):
        out = tmp_path / f"{len(given)}{merge}"
        options = ("--weights", *given, "--merge", merge, "--layout", "competition")
        assert run(monkeypatch, tmp_path / "a.png", "--output", out, *options) == 0
        tables.append(pd.read_csv(out / "a.csv"))
    alone, median, mean = tables
    off_median, off_mean = (np.sqrt(np.nanmean((alone - merged) ** 2)) for merged in (median, mean))
    assert off_median < 0.01  # mV: the limb leads are reconciled with other confidences
    assert off_mean > 10 * off_median


def test_files_folders_and_patterns_are_inputs_each_image_once(tmp_path, monkeypatch):
    for name in ("a.png", "sub/b.JPG", "sub/deep/c.tif", "sub/notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    found = find_inputs(["a.png", "sub", "**/*"])
    assert [path.as_posix() for path in found] == ["a.png", "sub/b.JPG", "sub/deep/c.tif"]
    with pytest.raises(ValueError, match=r"x\*: matches no images"):
        find_inputs(["x*"])


def test_a_wfdb_record_reads_back(sample, tmp_path, monkeypatch):
    wfdb = pytest.importorskip("wfdb")
    shutil.copy(sample, tmp_path / "my page (1).png")
    out = tmp_path / "out"
    assert run(monkeypatch, tmp_path / "my page (1).png", "--output", out, "--fs", 1025, "--wfdb") == 0
    (header,) = (out / "wfdb").glob("*.hea")
    record = wfdb.rdrecord(str(header.with_suffix("")))
    leads = pd.read_csv(out / "my page (1).csv")
    assert record.sig_name == list(LEADS)
    assert record.fs == 1025
    assert record.units == ["mV"] * 12
    assert "image: my page (1).png" in record.comments
    np.testing.assert_allclose(record.p_signal, leads.to_numpy(), atol=6e-4)
    assert np.isfinite(record.p_signal[2562:5125, LEADS.index("aVR")]).all()
    assert np.isnan(record.p_signal[:2562, LEADS.index("aVR")]).all()


@pytest.mark.slow
def test_a_page_whose_name_is_no_text_is_read_and_reported(sample, tmp_path, monkeypatch):
    wfdb = pytest.importorskip("wfdb")
    out = tmp_path / "out"
    image = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xe9 {{ 7 * 7 }} <i>.png"))
    shutil.copy(sample, image)
    assert run(monkeypatch, image, "--output", out, "--fs", 100, "--wfdb", "--report") == 0
    (header,) = (out / "wfdb").glob("*.hea")
    assert "image: \\udce9 {{ 7 * 7 }} <i>.png" in wfdb.rdrecord(str(header.with_suffix(""))).comments
    assert "<h2>\\udce9 {{ 7 * 7 }} &lt;i&gt;</h2>" in (out / "report.html").read_text()


def test_a_submission_leaves_what_lies_beside_it(sample, tmp_path, monkeypatch):
    images = tmp_path / "test"
    images.mkdir()
    (images / "8.png").touch()
    pd.DataFrame([("8", "II", 250, 5)], columns=["id", "lead", "fs", "number_of_rows"]).to_csv(
        tmp_path / "test.csv", index=False
    )
    beside = [tmp_path / ".thesis.partial.docx", tmp_path / ".other.123.partial.csv"]
    for path in beside:
        path.write_text("mine")
    assert run(monkeypatch, tmp_path / "test.csv", "--output", tmp_path / "my.csv") == 1
    assert all(path.read_text() == "mine" for path in beside)
    assert run(monkeypatch, tmp_path / "test.csv", "--output", tmp_path / "my.csv") == 1, "once more"
    (tmp_path / "train.csv").write_text("id,fs,sig_len\n")
    with pytest.raises(ValueError, match=r"train\.csv: holds something else than a submission"):
        run(monkeypatch, tmp_path / "test.csv", "--output", tmp_path / "train.csv")
    assert (tmp_path / "train.csv").read_text() == "id,fs,sig_len\n"


def test_imputed_samples_are_annotations_of_a_wfdb_record(tmp_path):
    wfdb = pytest.importorskip("wfdb")
    imputed = np.zeros((12, 5000), bool)
    imputed[1, 100:150] = imputed[1, 4990:] = imputed[7, 3000] = imputed[2, :4] = imputed[0, 0] = True
    header = write_wfdb(tmp_path / "page", np.zeros((12, 5000)), 500, imputed=imputed)
    read = wfdb.rdann(str(header.with_suffix("")), "imp")
    found = np.zeros_like(imputed)
    begun: dict[int, int] = {}
    for sample, lead, note in zip(read.sample, read.chan, read.aux_note, strict=True):
        if note.startswith("("):
            begun[lead] = sample
        else:
            found[lead, begun.pop(lead) : sample + 1] = True
    np.testing.assert_array_equal(found, imputed)
    write_wfdb(tmp_path / "page", np.zeros((12, 5000)), 500, imputed=np.zeros_like(imputed))
    assert not (tmp_path / "page.imp").exists(), "of the record before"


def test_the_examples_of_the_documentation_run(tmp_path, monkeypatch):
    """docs/api.md, block by block, in a folder that looks like the repository."""
    root = Path(predict.__file__).parent
    (tmp_path / "samples").symlink_to(root / "samples")
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", (root / "docs" / "api.md").read_text(), re.S)
    assert len(blocks) == 6
    names: dict = {}
    for block in blocks:
        exec(block, names)
    page = names["page"]
    assert page.imputed.shape == page.leads.shape
    assert not (page.imputed & np.isnan(page.leads)).any()
    for name in ("page.csv", "page.hea", "page.dat", "overlay.png"):
        assert (tmp_path / "outputs" / "api" / name).is_file()


def test_what_cannot_be_a_wfdb_record_is_refused(tmp_path):
    with pytest.raises(ValueError, match=r"40\.0 mV do not fit"):
        write_wfdb(tmp_path / "a", np.full((12, 100), 40.0), 10)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_overlay_and_report_show_the_page(sample, tmp_path, monkeypatch):
    pages = tmp_path / "pages"
    pages.mkdir()
    shutil.copy(sample, pages / "<b>good.png")
    (pages / "text.png").write_text("not an image")
    out = tmp_path / "out"
    assert run(monkeypatch, pages, "--output", out, "--overlay", "--report") == 1
    photo, drawn = read_rgb(sample), read_rgb(out / "<b>good.overlay.jpg")
    assert drawn.shape == photo.shape
    assert (np.abs(drawn.astype(int) - photo).max(axis=2) > 100).mean() > 0.001
    report = (out / "report.html").read_text()
    assert "<b>" not in report.replace('<b class="', "")
    assert "&lt;b&gt;good" in report
    assert report.count("<article") == 2
    assert report.count('class="trace"') == 12
    assert 'src="http' not in report
    assert "text.png: not an image" not in report  # its name stands beside it
    assert "not an image" in report


@pytest.mark.slow
def test_a_second_run_leaves_out_what_is_there(sample, tmp_path, monkeypatch, capsys):
    pages, out = tmp_path / "pages", tmp_path / "out"
    pages.mkdir()
    shutil.copy(sample, pages / "a.png")
    (pages / "b.png").write_text("not an image")
    assert run(monkeypatch, pages, "--output", out, "--fs", 100) == 1
    written = (out / "a.csv").stat().st_mtime_ns
    shutil.copy(sample, pages / "b.png")
    assert run(monkeypatch, pages, "--output", out, "--fs", 100, "--resume") == 0
    assert (out / "a.csv").stat().st_mtime_ns == written
    assert "1 of 2 pages are there already" in capsys.readouterr().err
    assert pd.read_csv(out / "pages.csv")["outcome"].tolist() == ["done", "done"]


@pytest.fixture(scope="module")
def plain_run(tmp_path_factory) -> Path:
    """Three good pages and a bad one below pages/, and in out/ what one worker makes of them."""
    folder = tmp_path_factory.mktemp("plain")
    (folder / "pages").mkdir()
    for name, path in zip("abc", SAMPLES, strict=True):
        shutil.copy(path, folder / "pages" / f"{name}.png")
    (folder / "pages" / "e.png").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        one_thread = ["--workers", 1, "--threads", 1, "--device", "cpu"]
        assert run(patch, "pages", "--output", "out", "--fs", 100, *one_thread) == 1
    return folder


def check_alike(out: Path, plain: Path, atol: float = 0.0) -> None:
    """Tables of pages are the same but for the time taken, signals within some mV."""
    tables = [
        pd.read_csv(folder / "pages.csv").sort_values("name", ignore_index=True) for folder in (out, plain)
    ]
    tables = [table.drop(columns="seconds") for table in tables]
    pd.testing.assert_frame_equal(*tables, atol=atol, rtol=0)
    assert tables[1]["outcome"].tolist() == ["done"] * 3 + ["failed"]
    for name in tables[0]["name"]:
        signals = [pd.read_csv(folder / f"{name}.csv") for folder in (out, plain)]
        pd.testing.assert_frame_equal(*signals, atol=atol, rtol=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("options", "atol"),
    [(["--workers", 2, "--device", "cpu"], 0.0), (["--workers", 2, "--device", "cpu:0"], 0.02)],
    ids=["processes", "a device's process"],
)
def test_several_workers_read_as_one_does(options, atol, plain_run, monkeypatch, tmp_path):
    """On a device images are multiplied in batches, whose sums may have another order."""
    monkeypatch.chdir(plain_run)
    assert run(monkeypatch, "pages", "--output", tmp_path / "out", "--fs", 100, *options) == 1
    check_alike(tmp_path / "out", plain_run / "out", atol)


@pytest.fixture(scope="module")
def cluster():
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": ":0"}
    with distributed.LocalCluster(**options) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_cluster_of_which_a_worker_is_killed_reads_as_one_worker_does(
    cluster, plain_run, monkeypatch, tmp_path, capsys
):
    with cluster.get_client() as client:
        victim = min(client.run(os.getpid).values())
    table = tmp_path / "out" / "pages.csv"
    done_before: list[int] = []

    def kill_in_the_middle() -> None:
        wait_until(lambda: table.exists() and ",done," in table.read_text())
        os.kill(victim, signal.SIGKILL)
        done_before.append(len(table.read_text().splitlines()) - 1)

    shutil.copytree(plain_run / "pages", tmp_path / "pages")
    monkeypatch.chdir(tmp_path)
    arguments = ["pages", "--output", "out", "--fs", 100, "--device", "cpu"]
    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    assert run(monkeypatch, *arguments, "--dask", cluster.scheduler_address) == 1
    killer.join()
    assert done_before[0] < 3
    check_alike(tmp_path / "out", plain_run / "out")
    assert run(monkeypatch, *arguments, "--resume") == 1
    assert "3 of 4 pages are there already" in capsys.readouterr().err, "the cluster's, and without it"


@pytest.mark.slow
def test_a_cluster_sends_the_signals_of_a_test_table_back(cluster, sample, monkeypatch, tmp_path):
    (tmp_path / "test").mkdir()
    shutil.copy(sample, tmp_path / "test" / "7.png")
    rows = [("7", lead, 500, 5000 if lead == "II" else 1250) for lead in LEADS]
    table = pd.DataFrame(rows, columns=["id", "lead", "fs", "number_of_rows"])
    table.to_csv(tmp_path / "test.csv", index=False)
    monkeypatch.chdir(tmp_path)
    assert run(monkeypatch, "test.csv", "--output", "my.csv", "--dask", cluster.scheduler_address) == 0
    values = pd.read_csv("my.csv")["value"]
    assert len(values) == 5000 + 11 * 1250
    assert values.std() > 0.05  # mV


@pytest.mark.slow
def test_lengths_that_disagree_with_fs_are_said_and_written_as_asked(sample, tmp_path, monkeypatch, capsys):
    (tmp_path / "test").mkdir()
    shutil.copy(sample, tmp_path / "test" / "7.png")
    rows = [("7", lead, 500, 700 if lead == "V1" else 5000 if lead == "II" else 1250) for lead in LEADS]
    pd.DataFrame(rows, columns=["id", "lead", "fs", "number_of_rows"]).to_csv(
        tmp_path / "test.csv", index=False
    )
    assert run(monkeypatch, tmp_path / "test.csv", "--output", tmp_path / "out") == 0
    assert "7 V1: 700 rows at 500 Hz" in capsys.readouterr().err
    submission = pd.read_csv(tmp_path / "out" / "submission.csv")
    assert submission["id"].str.endswith("_V1").sum() == 700


@pytest.mark.slow
def test_doubtful_pages_fail_a_strict_run(sample, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("digitization.geometry.straighten.MIN_PAGE_SCORE", 1.1)
    assert run(monkeypatch, sample, "--output", tmp_path / "a", "--fs", 100) == 0
    assert run(monkeypatch, sample, "--output", tmp_path / "a", "--fs", 100, "--strict") == 1
    assert "doubtful, page score" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_with_other_wishes_does_not_take_the_old_files_for_its_own(
    sample, tmp_path, monkeypatch, capsys
):
    out = tmp_path / "out"
    assert run(monkeypatch, sample, "--output", out, "--fs", 100) == 0
    assert run(monkeypatch, sample, "--output", out, "--fs", 200, "--resume") == 0
    assert len(pd.read_csv(out / f"{sample.stem}.csv")) == 2000
    assert run(monkeypatch, sample, "--output", out, "--fs", 200, "--resume", "--overlay", "--wfdb") == 0
    assert (out / f"{sample.stem}.overlay.jpg").exists()
    assert (out / "wfdb" / f"{sample.stem}.hea").exists()
    before = pd.read_csv(out / f"{sample.stem}.csv")
    again = [sample, "--output", out, "--fs", 200, "--resume", "--tta"]
    assert run(monkeypatch, *again) == 0
    assert not before.equals(pd.read_csv(out / f"{sample.stem}.csv"))
    capsys.readouterr()
    assert run(monkeypatch, *again) == 0
    assert "1 of 1 pages are there already" in capsys.readouterr().err


@pytest.mark.slow
def test_a_table_of_0_2_0_is_read_and_its_pages_are_done_again(sample, tmp_path, monkeypatch, capsys):
    out = tmp_path / "out"
    assert run(monkeypatch, sample, "--output", out, "--fs", 100) == 0
    table = pd.read_csv(out / "pages.csv", dtype=str).drop(columns="networks")
    table.to_csv(out / "pages.csv", index=False)
    assert run(monkeypatch, sample, "--output", out, "--fs", 100, "--resume") == 0
    assert "0 of 1 pages are there already" in capsys.readouterr().err
    assert len(pd.read_csv(out / "pages.csv", dtype=str)["networks"].item()) == 8


@pytest.mark.slow
def test_its_own_results_are_no_pages_and_a_page_may_be_called_pages(sample, tmp_path, monkeypatch):
    shutil.copy(sample, tmp_path / "pages.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(2):
        assert run(monkeypatch, "**/*", "--output", "out", "--fs", 100, "--overlay") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "pages.csv",
        "pages.png.csv",
        "pages.png.overlay.jpg",
    ]


def test_two_runs_do_not_write_to_one_folder(sample, tmp_path, monkeypatch):
    with folder_lock(tmp_path / "out"), pytest.raises(ValueError, match="another run is writing there"):
        run(monkeypatch, sample, "--output", tmp_path / "out")


def test_odd_files_end_neither_the_run_nor_the_report(tmp_path, monkeypatch):
    pages, out = tmp_path / "pages", tmp_path / "out"
    write_png(pages / "thin.png", np.full((3000, 1, 3), 255, np.uint8))
    (pages / "self.png").symlink_to("self.png")
    Path(os.fsdecode(os.fsencode(pages) + b"/\xff\xfe.png")).touch()
    assert run(monkeypatch, pages, "--output", out, "--fs", 100, "--report") == 1
    assert (out / "report.html").read_text().count("<article") == 3
    (out / "pages.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"pages\.csv: "):
        run(monkeypatch, pages, "--output", out, "--resume")


@pytest.mark.parametrize(
    "image",
    [np.zeros((9, 9), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((0, 9, 3), np.uint8), "a.png"],
)
def test_what_is_no_image_is_told_to_python_too(digitizer, image):
    with pytest.raises(ValueError, match="the image"):
        digitizer(image)


def test_messages_can_be_silenced_from_python(tmp_path, monkeypatch, capsys, caplog):
    """A program that imports ours reads the warnings from the log, or turns them off."""
    (tmp_path / "text.png").write_text("no picture")
    monkeypatch.setattr(log, "handlers", [])
    monkeypatch.setattr(
        "sys.argv", ["predict.py", str(tmp_path / "text.png"), "--output", str(tmp_path / "a")]
    )
    assert predict.main() == 1
    assert "not an image" in caplog.text
    assert "not an image" not in capsys.readouterr().err
