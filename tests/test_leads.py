import numpy as np
import pytest

from configs.layouts import (
    COMPETITION,
    lead_slice,
    leads_from_rows,
    mask_unprinted,
    rows_from_leads,
    split_rows,
)
from configs.page import LEADS, SAMPLING_RATES


def quarters(length: int) -> tuple[tuple[int, int], ...]:
    return tuple(segment.bounds(length) for segment in COMPETITION.row_segments(0))


def test_quarters_at_1025_hz_are_those_of_the_competition():
    assert quarters(10250) == ((0, 2562), (2562, 5125), (5125, 7687), (7687, 10250))


@pytest.mark.parametrize("fs", SAMPLING_RATES)
def test_quarters_are_cut_at_int_of_k_times_a_quarter(fs):
    length = 10 * fs
    expected = tuple((int(k * length / 4), int((k + 1) * length / 4)) for k in range(4))
    assert quarters(length) == expected


def test_leads_lie_in_the_columns_of_the_page():
    assert lead_slice("aVF", 5000) == slice(1250, 2500)
    assert lead_slice("V4", 5000) == slice(3750, 5000)
    assert lead_slice("II", 5000) == slice(0, 5000)
    with pytest.raises(ValueError, match="V7"):
        lead_slice("V7", 5000)


def test_rows_join_their_leads_and_split_again():
    leads = np.arange(12)[:, None] * np.ones(10250, np.float32)
    rows = rows_from_leads(leads)
    names = [[LEADS[int(value)] for value in np.unique(row)] for row in rows]
    assert [set(row) for row in names] == [
        {"I", "aVR", "V1", "V4"},
        {"II", "aVL", "V2", "V5"},
        {"III", "aVF", "V3", "V6"},
        {"II"},
    ]
    np.testing.assert_array_equal(leads_from_rows(rows), mask_unprinted(leads))
    assert {lead: len(signal) for lead, signal in split_rows(rows).items() if lead in ("I", "V1", "II")} == {
        "I": 2562,
        "V1": 2562,
        "II": 10250,
    }
    assert len(split_rows(rows)["V6"]) == 2563


def test_signals_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="expected"):
        rows_from_leads(np.zeros((5000, 12)))
