import numpy as np
import pandas as pd

from configs.page import PAGE_PX_PER_MM, SQUARE_MM
from evaluate import grid_errors, rank_failures, summarize
from utils.grid import CELLS
from utils.upright import turn_points


def test_grid_errors_are_in_px_of_a_200_dpi_page_and_only_of_what_is_visible():
    shape = (880, 1300)
    truth = (
        20.0 * CELLS[..., ::-1] + 5
    )  # squares of 20 px; the last row lies at y = 865, the last column at 1125
    found = truth + (3.0, 4.0)
    turned = turn_points(truth.reshape(-1, 2), 1, shape).reshape(truth.shape)
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
