import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import evaluate
from configs.page import LEADS, PAGE_PX_PER_MM, SQUARE_MM
from datasets.labels import grid_errors
from digitization.geometry.frame import CELLS
from digitization.geometry.orientation import orient_points
from evaluate import find_pages, rank_failures, summarize
from utils.images import read_rgb

ROOT = Path(__file__).parent.parent


def test_grid_errors_are_in_px_of_a_200_dpi_page_and_only_of_what_is_visible():
    shape = (880, 1300)
    truth = (
        20.0 * CELLS[..., ::-1] + 5
    )  # squares of 20 px; the last row lies at y = 865, the last column at 1125
    found = truth + (3.0, 4.0)
    turned = orient_points(truth.reshape(-1, 2), 1, shape).reshape(truth.shape)
    errors = grid_errors(found, turned, 1, shape[::-1])
    np.testing.assert_allclose(errors, 5 * SQUARE_MM * PAGE_PX_PER_MM / 20, rtol=1e-4)
    assert len(errors) == CELLS[..., 0].size
    assert len(grid_errors(found, turned, 1, (shape[1], 500))) < len(errors)


def results(scores: list[float], errors: list[float]) -> pd.DataFrame:
    found = np.isfinite(errors)
    return pd.DataFrame({"found": found, "page_score": scores, "grid_median": errors, "grid_p95": errors})


def test_the_ranking_counts_failures_among_the_lowest_scores():
    scores = [0.2, 0.3, np.nan, *np.linspace(0.8, 0.99, 37)]
    errors = [5.0, 0.2, np.nan, *[0.2] * 36, 9.0]
    line = rank_failures(results(scores, errors))
    assert line == "not found or more than 3 px off: 3, of these among the worst 5% by page score: 2"


def test_the_summary_has_a_line_for_each_type_and_one_for_all():
    table = results([0.9, 0.8, np.nan], [0.1, 0.3, np.nan])
    table = table.assign(type=["a", "a", "b"], ratio=[100.0, 1.0, 0.0], seconds=1.0)
    table["found"] = table["found"].astype(bool)
    summary = summarize(table)
    assert list(summary.index) == ["a", "b", "all"]
    assert summary.loc["b", "found %"] == 0
    assert np.isclose(summary.loc["all", "score dB"], 10 * np.log10(101 / 3))


@pytest.fixture(scope="module")
def scored(tmp_path_factory) -> tuple[Path, int]:
    """The folder that evaluate.py writes for one good page, one unreadable, and one without usable truth."""
    folder = tmp_path_factory.mktemp("evaluate")
    image = next((ROOT / "samples" / "train").glob("*/*-0001.png"))
    truth = image.with_name(f"{image.parent.name}.csv")
    for name in ("good", "broken", "lost"):
        shutil.copy(truth, folder / f"{name}.csv")
        shutil.copy(image, folder / f"{name}.png")
    (folder / "broken.png").write_text("not an image")
    (folder / "lost.csv").write_text("no,signals\n1,2\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sys.argv", ["evaluate.py", str(folder), "--output", str(folder / "out"), "--report"])
        return folder / "out", evaluate.main()


def test_a_page_that_cannot_be_read_scores_nothing_and_one_without_truth_is_not_scored(scored):
    out, code = scored
    assert code == 1
    rows = pd.read_csv(out / "pages.csv").set_index("name")
    assert rows.loc["good", "score_db"] > 15
    assert rows.loc["good", [f"snr_db_{lead}" for lead in LEADS]].notna().all()
    assert rows.loc["broken", "score_db"] == -np.inf
    assert np.isnan(rows.loc["lost", "score_db"])
    by_type = pd.read_csv(out / "by_type.csv", index_col="type")
    assert by_type.loc["all", "pages"] == 2
    assert by_type.loc["all", "found %"] == 50


def test_the_scores_come_as_tables_plots_and_in_the_report(scored):
    out, _ = scored
    by_lead = pd.read_csv(out / "by_lead.csv", index_col="lead")
    assert list(by_lead.index) == list(LEADS)
    for name in ("by_type.png", "by_lead.png"):
        assert np.ptp(read_rgb(out / name)) > 100
    report = (out / "report.html").read_text()
    assert report.count('class="truth"') == 12
    assert "column I missing" in report


def test_pages_of_one_fold_are_found_and_a_train_folder_is_enough():
    samples = ROOT / "samples"
    assert find_pages(samples / "train") == find_pages(samples)
    with pytest.raises(ValueError, match=r"train_folds\.csv"):
        find_pages(samples, fold=0)
