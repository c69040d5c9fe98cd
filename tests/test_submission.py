import numpy as np
import pandas as pd
import pytest

from configs.page import LEADS
from utils.submission import row_ids, write_submission


@pytest.fixture
def table() -> pd.DataFrame:
    rows = [
        (image, lead, 1025, 10250 if lead == "II" else 2562) for image in ("5", "12") for lead in LEADS[::-1]
    ]
    return pd.DataFrame(rows, columns=["id", "lead", "fs", "number_of_rows"])


def test_a_submission_has_exactly_the_rows_asked_for(table, tmp_path):
    signals = {"12": {lead: np.full(10250 if lead == "II" else 2563, -0.5) for lead in LEADS}}
    write_submission(tmp_path / "submission.csv", table, signals)
    written = pd.read_csv(tmp_path / "submission.csv")
    assert list(written.columns) == ["id", "value"]
    assert written["id"].tolist() == row_ids(table)
    assert written["id"].iloc[[0, 2561, 2562]].tolist() == ["5_0_V6", "5_2561_V6", "5_0_V5"]
    of_12 = written["id"].str.startswith("12_")
    assert set(written["value"][of_12]) == {-0.5}
    assert set(written["value"][~of_12]) == {0}


def test_a_short_signal_goes_on_at_its_last_value(tmp_path):
    table = pd.DataFrame({"id": ["5"], "lead": ["I"], "fs": [250], "number_of_rows": [4]})
    write_submission(tmp_path / "s.csv", table, {"5": {"I": np.array([0.1, 0.25])}})
    assert pd.read_csv(tmp_path / "s.csv")["value"].tolist() == [0.1, 0.25, 0.25, 0.25]


def test_signals_that_do_not_fit_are_refused_and_leave_no_file(table, tmp_path):
    path = tmp_path / "s.csv"
    good = {lead: np.zeros(10250) for lead in LEADS}
    for signals, reason in (
        ({"7": good}, "7"),
        ({"5": good | {"V1": np.array([0, np.nan])}}, "5, lead V1"),
        ({"5": {"II": np.zeros(10)}}, "5, lead V6"),
    ):
        with pytest.raises(ValueError, match=reason):
            write_submission(path, table, signals)
    assert not list(tmp_path.iterdir())
