"""What holds for any length, any rate and any signal: leads and rows, records, submissions."""

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("hypothesis")
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from configs.layouts import (
    COMPETITION,
    lead_slice,
    leads_from_rows,
    mask_unprinted,
    rows_from_leads,
)
from configs.page import LEADS, RHYTHM_LEAD, ROWS
from datasets.competition import ID_PATTERN, read_record, read_test_table, write_test_table
from digitization.record_files import write_record
from utils.submission import write_submission

FS = st.integers(1, 1100)
ODD_NAMES = ("NA", "nan", "None", "007", "1e5", "1.0", " x", "x ", "True", "#7")
MILLIVOLTS = st.floats(-30, 30, width=32)
quickly = settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@given(st.integers(0, 50_000))
def test_quarters_share_the_time_without_gap_or_overlap(length):
    bounds = tuple(segment.bounds(length) for segment in COMPETITION.row_segments(0))
    assert [start for start, _ in bounds] == [int(k * length / 4) for k in range(4)]
    assert bounds[-1][1] == length
    assert all(left[1] == right[0] for left, right in pairwise(bounds))
    sizes = [stop - start for start, stop in bounds]
    assert max(sizes) - min(sizes) <= 1


@quickly
@given(FS.flatmap(lambda fs: arrays(np.float32, (12, 10 * fs), elements=MILLIVOLTS, fill=MILLIVOLTS)))
def test_leads_come_back_from_their_rows(leads):
    rows = rows_from_leads(leads)
    again = leads_from_rows(rows)
    np.testing.assert_array_equal(again, mask_unprinted(leads))
    for row, names in enumerate(ROWS):
        for lead in names:
            inside = lead_slice(lead, leads.shape[1])
            known = np.isfinite(again[LEADS.index(lead)])
            assert known[inside].all()
            assert known.sum() == inside.stop - inside.start
            start, stop = COMPETITION.cell_of(lead).bounds(leads.shape[1])
            np.testing.assert_array_equal(rows[row, start:stop], leads[LEADS.index(lead), start:stop])


@quickly
@given(FS, st.integers(0, 2**32 - 1))
def test_a_record_is_read_as_it_was_written(tmp_path, fs, seed):
    leads = np.random.default_rng(seed).normal(scale=3, size=(12, 10 * fs)).astype(np.float32)
    leads = mask_unprinted(leads)
    write_record(tmp_path / "record.csv", leads, fs)
    np.testing.assert_allclose(read_record(tmp_path / "record.csv"), leads, atol=1e-4)


@st.composite
def requests(draw) -> list[tuple[str, str, int, int]]:
    """Rows of a test.csv: some images, some of their leads in any order, any number of rows."""
    name = st.sampled_from(ODD_NAMES) | st.from_regex(ID_PATTERN, fullmatch=True)
    names = draw(st.lists(name, min_size=1, max_size=3, unique=True))
    rows = []
    for name in names:
        fs = draw(FS)
        leads = draw(st.lists(st.sampled_from(LEADS), min_size=1, max_size=12, unique=True))
        rows += [(name, lead, fs, draw(st.integers(1, 40))) for lead in leads]
    return draw(st.permutations(rows))


@quickly
@given(requests(), st.data())
def test_a_submission_has_the_rows_asked_for_and_no_others(tmp_path, rows, data):
    """Ids may hold anything that a file's name may, even what reads as a number or as missing."""
    write_test_table(tmp_path / "test.csv", rows)
    table = pd.DataFrame(rows, columns=["id", "lead", "fs", "number_of_rows"])
    signals: dict[str, dict[str, np.ndarray]] = {}
    for name in data.draw(st.sets(st.sampled_from(sorted(set(table["id"]))))):
        signals[name] = {}
        for lead in table["lead"][table["id"] == name]:
            length = data.draw(st.integers(1, 60))
            signals[name][lead] = data.draw(arrays(np.float32, length, elements=MILLIVOLTS))
    write_submission(tmp_path / "submission.csv", table, signals)
    lines = (tmp_path / "submission.csv").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "id,value"
    assert lines[-1] == ""
    expected = [(name, row, lead) for name, lead, _, count in rows for row in range(count)]
    assert len(lines) == len(expected) + 2
    for line, (name, row, lead) in zip(lines[1:], expected, strict=False):
        written, value = line.rsplit(",", 1)
        assert written == f"{name}_{row}_{lead}"
        signal = signals.get(name, {}).get(lead, np.zeros(1))
        assert abs(float(value) - signal[min(row, len(signal) - 1)]) <= 1e-4


@quickly
@given(requests())
def test_a_test_table_is_read_as_it_was_written(tmp_path, rows):
    write_test_table(tmp_path / "test.csv", rows)
    table = read_test_table(tmp_path / "test.csv")
    assert list(table.itertuples(index=False, name=None)) == rows


def test_the_rhythm_lead_is_known_throughout():
    assert lead_slice(RHYTHM_LEAD, 10250) == slice(0, 10250)
