"""predict.py as users call it: good pages, bad pages, and the files that it leaves."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import predict
from configs.page import LEADS
from datasets.competition import read_record
from utils.images import read_rgb
from utils.kaggle_metric import image_snr, to_db

ROOT = Path(__file__).parent.parent
SAMPLES = sorted((ROOT / "samples" / "train").glob("*/*-0001.png"))


@pytest.fixture(scope="module")
def sample() -> Path:
    return SAMPLES[0]


def run(monkeypatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["predict.py", *map(str, arguments)])
    return predict.main()


def test_three_lines_of_python_digitize_a_page(sample):
    truth = read_record(sample.with_name(f"{sample.parent.name}.csv"))
    fs = truth.shape[1] // 10
    page = predict.Digitizer()(read_rgb(sample), fs=fs)
    assert page.leads.shape == truth.shape
    assert to_db(image_snr(truth, page.leads, fs)) > 15
    assert page.straightened.page_score > predict.DOUBTFUL


def test_a_folder_with_bad_pages_gives_a_file_for_each_and_names_the_bad(
    sample, tmp_path, monkeypatch, capsys
):
    pages = tmp_path / "pages"
    pages.mkdir()
    shutil.copy(sample, pages / "good.png")
    (pages / "empty.png").touch()
    (pages / "text.png").write_text("not an image")
    blank = np.full((600, 800, 3), 255, np.uint8)
    predict_write(pages / "blank.png", blank)
    out = tmp_path / "out"
    assert run(monkeypatch, pages, "--output", out, "--fs", 250) == 1
    assert sorted(path.name for path in out.iterdir()) == ["blank.csv", "empty.csv", "good.csv", "text.csv"]
    printed = capsys.readouterr()
    assert "3 failed" in printed.out
    for name in ("empty.png", "text.png", "blank.png"):
        assert sum(name in line for line in printed.err.splitlines()) == 1
    good = pd.read_csv(out / "good.csv")
    assert list(good.columns) == list(LEADS)
    assert len(good) == 2500
    assert good["II"].notna().all()
    assert good["V1"].notna().sum() == 625


def predict_write(path: Path, image: np.ndarray) -> None:
    from utils.images import write_png

    write_png(path, image)


def test_a_test_table_gets_exactly_its_rows(sample, tmp_path, monkeypatch):
    images = tmp_path / "test"
    images.mkdir()
    shutil.copy(sample, images / "7.png")
    asked = []
    for image_id, fs in (("7", 500), ("8", 1025)):  # there is no 8.png
        for lead in LEADS:
            asked.append((image_id, lead, fs, int((10 if lead == "II" else 2.5) * fs)))
    table = pd.DataFrame(asked, columns=["id", "lead", "fs", "number_of_rows"])
    table.to_csv(tmp_path / "test.csv", index=False)
    assert run(monkeypatch, tmp_path / "test.csv", "--output", tmp_path / "out") == 1
    submission = pd.read_csv(tmp_path / "out" / "submission.csv")
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
        (["nowhere.png", "--output", "out"], "nowhere.png: no such file"),
        ([".", "--output", "out", "--fs", "0"], "must be above 0"),
        ([".", "--output", "out", "--stage2", "gone.pt"], "gone.pt: no such checkpoint"),
    ],
)
def test_what_cannot_start_says_why_and_writes_nothing(arguments, reason, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match=reason):
        run(monkeypatch, *arguments)
    assert not (tmp_path / "out").exists()
