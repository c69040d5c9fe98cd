"""Every bad input ends in its documented outcome: no traceback, nothing lost, nothing written elsewhere."""

import re
import tempfile
from pathlib import Path

import pandas as pd
import pytest

from datasets.competition import read_record
from tests.faults import IMAGES, RUNS, run_fault, run_images

pytestmark = pytest.mark.slow  # the images of all faults are digitized once, in 25 s


@pytest.fixture(scope="module")
def images_run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faults")
    return folder, *run_images(folder)


@pytest.mark.parametrize("name", IMAGES)
def test_a_bad_image_has_its_outcome(name, images_run):
    folder, _, said, rows = images_run
    fault = IMAGES[name]
    row = rows.loc[name]
    assert row["outcome"] in fault.outcomes
    assert fault.says in row["warnings"]
    assert (row["outcome"] == "done") == (row["warnings"] == "")
    assert row["outcome"] == "done" or f"{name}{fault.suffix}: " in said
    leads = read_record(folder / "out" / f"{name}.csv")
    assert leads.any() == (row["outcome"] != "failed")


def test_bad_images_do_not_stop_the_others(images_run):
    folder, code, said, rows = images_run
    assert code == 1
    assert rows.loc["good", "outcome"] == "done"
    assert "Traceback" not in said
    files = [path for path in (folder / "out").rglob("*") if path.is_file()]
    assert sorted(path.name for path in files) == sorted(
        [*(f"{name}.csv" for name in rows.index), "pages.csv"]
    )
    assert sorted(path.name for path in folder.iterdir()) == ["out", "pages"]


def snapshot(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", RUNS)
def test_a_bad_run_says_why_and_writes_nothing_elsewhere(name, tmp_path):
    fault = RUNS[name]
    code, said = run_fault(fault, tmp_path)
    assert code == fault.code
    assert re.search(fault.says, said), said
    assert said.strip()
    assert "Traceback" not in said
    made = {Path(path) for path in snapshot(tmp_path)}
    inputs = tmp_path / "again"
    inputs.mkdir()
    fault.make(inputs)
    given = {tmp_path / Path(path).relative_to(inputs) for path in snapshot(inputs)}
    written = {path for path in made if tmp_path / "again" not in path.parents} - given
    assert all(path.is_relative_to(tmp_path / "out") for path in written)
    assert not any("partial" in path.name or path.name.startswith(".") for path in written)
    assert not (Path(tempfile.gettempdir()) / "exploited").exists()


def test_there_are_at_least_forty():
    assert len(IMAGES) + len(RUNS) >= 40


def test_a_submission_for_lengths_that_disagree_has_what_was_asked_for(tmp_path):
    run_fault(RUNS["test.csv: number_of_rows that disagrees"], tmp_path)
    ids = pd.read_csv(tmp_path / "out" / "submission.csv")["id"]
    assert ids.str.endswith("_I").sum() == 77
