"""The Kaggle notebook, run on a mock of Kaggle's folders, and the dataset that it needs."""

import ast
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.layouts import lead_slice
from configs.page import LEADS, RHYTHM_LEAD
from datasets.competition import read_record, read_sample_submission, write_sample_submission
from notebooks.pack_dataset import CONTENTS, ROOT, find_contents, pack_dataset
from utils.kaggle_metric import image_snr, to_db
from utils.submission import row_ids

NOTEBOOK = ROOT / "notebooks" / "kaggle_submission.ipynb"
GOOD = sorted((ROOT / "samples" / "train").glob("*/*-0001.png"))[0]
ABSENT = (
    "wfdb",
    "albumentations",
    "deepfakeecg",
    "pypdfium2",
    "distributed",
)  # what prediction must not need
REFUSE = f"""
import sys
class Refuse:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.split(".")[0] in {ABSENT}:
            raise ImportError(f"{{name}} is refused")
sys.meta_path.insert(0, Refuse)
"""
TWO_GPUS = """
from types import SimpleNamespace
float16 = None
cuda = SimpleNamespace(device_count=lambda: 3)
nn = SimpleNamespace(functional=SimpleNamespace(conv2d=lambda image, kernel: SimpleNamespace(item=float)))
class autocast:
    def __init__(self, *_): pass
    def __enter__(self): pass
    def __exit__(self, *_): pass
def ones(*shape, device):
    if device == "cuda:1":
        raise RuntimeError("no kernel image is available for execution on the device")
"""

needs_nbconvert = pytest.mark.skipif(
    not (importlib.util.find_spec("nbconvert") and importlib.util.find_spec("ipykernel")),
    reason="nbconvert or ipykernel is missing",
)


def code_cells() -> dict[str, str]:
    cells = json.loads(NOTEBOOK.read_text())["cells"]
    return {cell["id"]: "".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"}


def functions(*cells: str) -> dict:
    """What the cells import and define, without what they do."""
    namespace: dict = {}
    for cell in cells:
        kept = [
            node
            for node in ast.parse(code_cells()[cell]).body
            if isinstance(node, (ast.Import, ast.ImportFrom, ast.FunctionDef))
            or (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in ("PROBE", "MOST_ROWS"))
        ]
        exec(compile(ast.Module(kept, []), cell, "exec"), namespace)
    return namespace


def ask_for(*images: tuple[str, int]) -> pd.DataFrame:
    """A test.csv of images (id, fs)."""
    rows = [
        (name, lead, fs, int((10 if lead == RHYTHM_LEAD else 2.5) * fs))
        for name, fs in images
        for lead in LEADS
    ]
    return pd.DataFrame(rows, columns=["id", "lead", "fs", "number_of_rows"])


@pytest.fixture(scope="module")
def dataset(tmp_path_factory) -> Path:
    """Our dataset: packing it, which also writes it as an archive, takes seconds."""
    folder = tmp_path_factory.mktemp("dataset") / "kaggle-dataset"
    pack_dataset(ROOT, folder)
    return folder


@pytest.fixture
def kaggle(tmp_path, dataset, monkeypatch) -> Path:
    """A folder like /kaggle: a good page 0007, a broken one, NA that is missing, and our dataset."""
    data = tmp_path / "input" / "physionet-ecg-image-digitization"
    (data / "test").mkdir(parents=True)
    (data / "train" / "1").mkdir(parents=True)
    shutil.copy(GOOD, data / "test" / "0007.png")
    (data / "test" / "broken.png").write_bytes(GOOD.read_bytes()[:20_000])
    table = ask_for(("broken", 250), ("0007", read_record(truth_path()).shape[1] // 10), ("NA", 1025))
    table.to_csv(data / "test.csv", index=False)
    write_sample_submission(data / "sample_submission.parquet", table)
    ours = tmp_path / "input" / "datasets" / "someone" / "ecg-digitization" / "kaggle-dataset"
    shutil.copytree(dataset, ours)
    (tmp_path / "working").mkdir()
    for name, value in (("INPUT", tmp_path / "input"), ("WORKING", tmp_path / "working"), ("WORKERS", 1)):
        monkeypatch.setenv(f"KAGGLE_{name}", str(value))
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    return tmp_path


def truth_path() -> Path:
    return GOOD.with_name(f"{GOOD.parent.name}.csv")


def run_notebook(kaggle: Path) -> str:
    """Run it as Kaggle does, every cell in a kernel; returns all that it printed."""
    command = [sys.executable, "-m", "nbconvert", "--execute", "--to", "notebook", str(NOTEBOOK)]
    command += ["--output-dir", str(kaggle), "--output", "executed.ipynb"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    cells = json.loads((kaggle / "executed.ipynb").read_text())["cells"]
    outputs = [output for cell in cells for output in cell.get("outputs", ())]
    return "".join("".join(output.get("text", ())) for output in outputs)


def run_cells() -> None:
    """Run every cell right here, without the start of a kernel."""
    namespace: dict = {}
    for name, source in code_cells().items():
        exec(compile(source, name, "exec"), namespace)


def read_submission(kaggle: Path) -> pd.Series:
    """The values by id, once the ids are known to be the template's."""
    table = pd.read_csv(kaggle / "working" / "submission.csv", dtype={"id": str})
    assert list(table.columns) == ["id", "value"]
    asked = read_sample_submission(next((kaggle / "input").glob("*/sample_submission.parquet")))
    assert table["id"].tolist() == asked["id"].tolist()
    assert np.isfinite(table["value"]).all()
    return table.set_index("id")["value"]


def leads_of(values: pd.Series, image: str, length: int) -> np.ndarray:
    """(12, L) mV of an image in a submission, NaN outside a lead's own time."""
    leads = np.full((len(LEADS), length), np.nan)
    for lead, signal in zip(LEADS, leads, strict=True):
        span = lead_slice(lead, length)
        signal[span] = [values[f"{image}_{row}_{lead}"] for row in range(span.stop - span.start)]
    return leads


@pytest.mark.slow
@needs_nbconvert
def test_the_notebook_digitizes_a_good_page_and_leaves_zeros_for_bad_ones(kaggle, monkeypatch):
    (kaggle / "sitecustomize.py").write_text(REFUSE)
    (kaggle / "datasets").mkdir()
    (kaggle / "datasets" / "__init__.py").write_text("raise ImportError('of Hugging Face, Kaggle has it')")
    monkeypatch.setenv("PYTHONPATH", str(kaggle))
    refused = subprocess.run([sys.executable, "-c", "import wfdb"], capture_output=True, text=True)
    assert "wfdb is refused" in refused.stderr
    printed = run_notebook(kaggle)
    values = read_submission(kaggle)
    truth = read_record(truth_path())
    assert to_db(image_snr(truth, leads_of(values, "0007", truth.shape[1]), truth.shape[1] // 10)) > 15
    assert (values[values.index.str.startswith(("broken", "NA"))] == 0).all()
    assert "3 of 3 images done, 1 of them read" in printed
    assert f"submission.csv fits {kaggle}" in printed
    assert "broken.png" in printed
    assert "NOTHING WAS DIGITIZED" not in printed


@pytest.mark.slow
def test_damaged_weights_still_give_a_whole_submission_and_the_reason(kaggle, capsys):
    weights = next((kaggle / "input").rglob("stage2.pt"))
    weights.write_bytes(weights.read_bytes()[:1000])
    run_cells()
    assert (read_submission(kaggle) == 0).all()
    printed = capsys.readouterr().out
    assert f"{weights}: not a checkpoint" in printed
    assert "NOTHING WAS DIGITIZED" in printed


def test_without_our_dataset_all_is_zeros(kaggle, capsys):
    shutil.rmtree(kaggle / "input" / "datasets")
    run_cells()
    assert (read_submission(kaggle) == 0).all()
    printed = capsys.readouterr().out
    assert "attach our dataset" in printed
    assert "NOTHING WAS DIGITIZED" in printed


@pytest.mark.slow
def test_images_left_over_when_the_time_is_up_are_zeros(kaggle, monkeypatch, capsys):
    monkeypatch.setenv("KAGGLE_HOURS", "0")
    run_cells()
    assert (read_submission(kaggle) == 0).all()
    printed = capsys.readouterr().out
    assert "The time is up: 3 images stay zeros" in printed
    assert "predict.py" not in printed.split("processes:")[1]


@pytest.mark.slow
def test_predict_is_stopped_at_the_deadline(kaggle):
    namespace = functions("settings", "digitize")
    (kaggle / "predict.py").write_text("import time; print('begun', flush=True); time.sleep(60)")
    started = namespace["time"].monotonic()
    namespace.update(OUTPUT=kaggle, CODE=kaggle, DATA=kaggle, WORKERS=1, DEADLINE=started + 3)
    assert namespace["run_predict"](ask_for(("7", 500)), "cpu") is None
    assert namespace["time"].monotonic() - started < 30


def test_a_part_that_crashes_on_the_gpu_is_read_on_the_cpu():
    namespace = functions("settings", "digitize")
    tried = []

    def run_predict(part: pd.DataFrame, device: str) -> Path | None:
        tried.append(device)
        if device != "cpu":
            raise OSError("the driver is gone")
        return Path("submission.csv")

    namespace.update(run_predict=run_predict, count_read=len, DEADLINE=np.inf)
    assert namespace["digitize_part"](ask_for(("7", 500)), ["cuda:0", "cpu"])[1] > 0
    assert tried == ["cuda:0", "cpu"]


def test_a_part_that_comes_to_nothing_is_zeros_between_the_others(tmp_path, capsys):
    namespace = functions("settings", "zeros", "digitize")
    table = ask_for(*((str(image), 8) for image in range(5)))

    def digitize_part(part: pd.DataFrame, devices: list[str]) -> tuple[Path | None, int]:
        if "2" in part["id"].to_numpy():
            return None, 0
        path = tmp_path / "part.csv"
        pd.DataFrame({"id": row_ids(part), "value": 1}).to_csv(path, index=False)
        return path, part["id"].nunique()

    namespace.update(TABLE=table, IMAGES=table["id"].unique(), PART=2, digitize_part=digitize_part)
    assert namespace["digitize"](tmp_path / "whole.csv", ["cpu"]) == 3
    whole = pd.read_csv(tmp_path / "whole.csv")
    assert whole["id"].tolist() == row_ids(table)
    assert (whole["value"] == ~whole["id"].str.startswith(("2", "3"))).all()
    assert "5 of 5 images done, 3 of them read" in capsys.readouterr().out


def test_a_gpu_that_torch_has_no_kernels_for_is_left_out(tmp_path, monkeypatch, capsys):
    (tmp_path / "torch.py").write_text(TWO_GPUS)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert functions("settings", "digitize")["choose_device"]() == "cuda:0,cuda:2"
    assert "cuda:1 is of no use: no kernel image" in capsys.readouterr().out
    (tmp_path / "torch.py").write_text("raise ImportError('no driver')")
    assert functions("settings", "digitize")["choose_device"]() == "cpu"


@pytest.fixture
def submission(tmp_path) -> tuple[Path, Path]:
    """A submission that fits its template, and the template."""
    table = ask_for(("0007", 8))
    write_sample_submission(tmp_path / "template.parquet", table)
    ids = row_ids(table)
    pd.DataFrame({"id": ids, "value": np.arange(1.0, len(ids) + 1)}).to_csv(tmp_path / "s.csv", index=False)
    return tmp_path / "s.csv", tmp_path / "template.parquet"


def test_a_submission_that_fits_is_left_alone(submission, capsys):
    path, template = submission
    before = path.read_bytes()
    functions("settings", "check")["check"](path, template)
    assert path.read_bytes() == before
    assert "!!!" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("damage", "fault", "zeros"),
    [
        (lambda lines: lines[:1] + lines[:0:-1], "row 1 is 0007_19_V6", 0),
        (lambda lines: lines[:-3], "it ends after", 3),
        (lambda lines: lines[:1], "it ends after 0 rows", 300),
        (lambda lines: [*lines, "0007_99_V6,1"], "it goes on after", 0),
        (lambda lines: [*lines, "0007_999999999999_V6,1", "0007_-1_V6,1"], "it goes on after", 0),
        (lambda lines: [*lines[:5], "0007_0_V9,1", *lines[5:]], "row 5 is 0007_0_V9", 0),
        (lambda lines: ["image,mV", *lines[1:]], "its header is 'image,mV'", 0),
        (lambda lines: lines[1:], "its header is '0007_0_I,1.0'", 0),
        (lambda lines: [*lines[:5], "0007_4_I,nan", *lines[6:]], "0007_4_I has no finite value", 1),
        (lambda lines: [*lines[:5], "0007_4_I,-inf", *lines[6:]], "0007_4_I has no finite value", 1),
        (lambda lines: [*lines[:5], "0007_4_I,much", *lines[6:]], "0007_4_I has no finite value", 1),
        (lambda lines: [*lines[:5], "0007_4_I,1,2,3", *lines[6:]], "cannot be read", 1),
        (lambda lines: [*lines[:5], '"0007_4_I,5', *lines[6:]], "cannot be read", 1),
    ],
)
def test_a_submission_that_does_not_fit_is_repaired_loudly(damage, fault, zeros, submission, capsys):
    path, template = submission
    good = pd.read_csv(path)
    path.write_text("\n".join(damage(path.read_text().splitlines())) + "\n")
    functions("settings", "check")["check"](path, template)
    repaired = pd.read_csv(path)
    assert repaired["id"].tolist() == good["id"].tolist()
    zeros = min(zeros, len(good))
    assert (repaired["value"] == 0).sum() == zeros
    assert (repaired["value"] == good["value"]).sum() == len(good) - zeros
    printed = capsys.readouterr().out
    assert fault in printed
    assert f"{zeros} rows had no finite value" in printed


def test_the_competition_is_found_wherever_kaggle_mounts_it(tmp_path):
    folder = tmp_path / "competitions" / "physionet-ecg-image-digitization"
    (folder / "test").mkdir(parents=True)
    (folder / "test.csv").touch()
    (tmp_path / "a" / "train" / "test").mkdir(parents=True)
    namespace = functions("settings")
    namespace["INPUT"] = tmp_path
    assert namespace["find_folder"]("test.csv", "test") == folder
    assert namespace["find_folder"]("predict.py", "checkpoints") is None


def test_the_committed_notebook_has_no_outputs():
    notebook = json.loads(NOTEBOOK.read_text())
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)


@pytest.fixture
def repository(tmp_path) -> Path:
    """What the dataset takes from a repository, empty but for the weights, and what it must not take."""
    root = tmp_path / "repository"
    wanted = [pattern.replace("*", "a").replace("?", "0") for pattern in CONTENTS]
    others = ["utils/__pycache__/a.pyc", "samples/1.png", "tests/a.py", "train.py", "checkpoints/last.pt"]
    for name in (*wanted, *others):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    (root / "checkpoints" / "stage0.pt").write_bytes(b"weights")
    return root


def test_the_dataset_holds_what_prediction_needs_and_nothing_else(repository, tmp_path):
    folder = tmp_path / "packed"
    (folder / "of an earlier version").mkdir(parents=True)
    with pytest.raises(ValueError, match="packed: there, and no dataset of this program"):
        pack_dataset(repository, folder, "me")
    (folder / "dataset-metadata.json").touch()
    archive = pack_dataset(repository, folder, "me")
    expected = {pattern.replace("*", "a").replace("?", "0") for pattern in CONTENTS} | {
        "dataset-metadata.json"
    }
    packed = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert packed == expected
    with zipfile.ZipFile(archive) as zipped:
        assert {name for name in zipped.namelist() if not name.endswith("/")} == expected
    assert (folder / "checkpoints" / "stage0.pt").read_bytes() == b"weights"
    assert all(path.stat().st_size for path in folder.rglob("*"))  # Kaggle may drop empty files
    assert json.loads((folder / "dataset-metadata.json").read_text())["id"] == "me/ecg-digitization"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["packed", "packed.zip", "repository"]


@pytest.mark.skipif(not shutil.which("git"), reason="no git")
def test_what_git_ignores_is_not_packed(repository):
    (repository / "utils" / "mine.py").touch()
    (repository / ".gitignore").write_text("mine.py\n")
    assert Path("utils/mine.py") in find_contents(repository)  # not yet a git repository
    subprocess.run(["git", "init", "--quiet", repository], check=True)
    assert Path("utils/mine.py") not in find_contents(repository)
    assert Path("utils/a.py") in find_contents(repository)


def test_a_dataset_without_weights_is_not_packed(repository, tmp_path):
    (repository / "checkpoints" / "stage0.pt").unlink()
    with pytest.raises(ValueError, match=r"stage\?\.pt: no such file"):
        pack_dataset(repository, tmp_path / "packed")
    assert os.listdir(tmp_path) == ["repository"]
