"""Layouts of pages: what is printed where, what cannot be printed, and signals that come back from it."""

import numpy as np
import pytest

from configs.layouts import (
    COMPETITION,
    LIMB_LEADS,
    Layout,
    find_layout,
    leads_from_rows,
    mask_unprinted,
    parse_layout,
    rows_from_leads,
)
from configs.page import LEADS
from digitization.signal.limb_leads import reconcile_limbs

NAMES = ("3x4", "3x4+II", "3x4+V1", "3x4+V1+II+V5", "6x2", "6x2+II", "12x1", "6x1-limb", "6x1-chest")
CABRERA_NAMES = ("cabrera-3x4+II", "cabrera-6x2", "cabrera-12x1", "cabrera-6x1-limb")


def related_leads(length: int = 5000) -> np.ndarray:
    """(12, L) mV of noise that keeps Einthoven's and Goldberger's relations."""
    rng = np.random.default_rng(0)
    one, two = rng.normal(0, 0.3, (2, length))
    leads = rng.normal(0, 0.3, (12, length))
    for lead, (of_one, of_two) in LIMB_LEADS.items():
        leads[LEADS.index(lead)] = of_one * one + of_two * two
    return leads


def test_the_competitions_page_is_known_by_its_name():
    assert find_layout("3x4+II") == COMPETITION
    assert COMPETITION.row_count == 4
    assert COMPETITION.segment_of("II").bounds(5000) == (0, 5000)
    assert COMPETITION.cell_of("II").bounds(5000) == (0, 1250)


@pytest.mark.parametrize("name", NAMES + CABRERA_NAMES)
def test_what_is_printed_comes_back(name):
    layout = find_layout(name)
    leads = related_leads().astype(np.float32)
    rows = rows_from_leads(leads, layout)
    assert rows.shape == (layout.row_count, 5000)
    np.testing.assert_array_equal(leads_from_rows(rows, layout), mask_unprinted(leads, layout))


@pytest.mark.parametrize(
    "name", ["3x4", "6x2", "12x1", *(name for name in CABRERA_NAMES if "limb" not in name)]
)
def test_every_lead_is_in_its_place_once_and_all_are_there(name):
    layout = find_layout(name)
    cells = {(s.row, s.column) for s in layout.segments if s.row < len(layout.rows)}
    assert len(cells) == 12
    assert set(layout.longest) == set(LEADS)


def test_minus_avr_is_printed_upside_down_and_read_upright():
    layout = find_layout("cabrera-12x1")
    leads = related_leads()
    rows = rows_from_leads(leads, layout)
    np.testing.assert_array_equal(rows[2], -leads[LEADS.index("aVR")])
    np.testing.assert_allclose(leads_from_rows(rows, layout)[LEADS.index("aVR")], leads[3], atol=1e-6)


def test_a_page_of_limb_leads_shows_no_chest_lead():
    leads = leads_from_rows(
        rows_from_leads(related_leads(), find_layout("6x1-limb")), find_layout("6x1-limb")
    )
    assert np.isfinite(leads[:6]).all()
    assert np.isnan(leads[6:]).all()


@pytest.mark.parametrize(
    ("rows", "rhythm", "message"),
    [
        ((("I", "II"), ("III",)), (), "as many in each"),
        ((("I",), ("I",)), (), "I twice in its rows"),
        ((("I",), ("-I",)), (), "I twice in its rows"),
        ((("I",), ("V7",)), (), "'V7' is not one of the leads"),
        ((("I",),), ("II", "II"), "II twice among its rhythm strips"),
        ((), (), "as many in each"),
    ],
)
def test_what_cannot_be_printed_is_no_layout(rows, rhythm, message):
    with pytest.raises(ValueError, match=message):
        Layout("wrong", rows, rhythm)


@pytest.mark.parametrize("changes", [{"mm_per_second": 0}, {"mm_per_mv": float("nan")}, {"duration_s": 1e6}])
def test_a_layout_has_a_speed_a_gain_and_a_duration_that_can_be(changes):
    with pytest.raises(ValueError, match=f"{next(iter(changes))} .*: must be from"):
        find_layout("12x1", **changes)


@pytest.mark.parametrize("name", ["4x4", "5x2", "12x2", "3x4+X", "3x4+II+II", "nobody_made_it", "", "3x4+"])
def test_a_name_that_says_no_layout_is_refused_with_what_there_is(name):
    with pytest.raises(ValueError, match="layout"):
        find_layout(name)


def test_a_laboratory_adds_a_layout_as_a_module(tmp_path, monkeypatch):
    (tmp_path / "layout_ours.py").write_text(
        "from configs.layouts import Layout\nlayout = Layout('ours', (('V1',), ('II',)), mm_per_second=50)\n"
    )
    monkeypatch.setattr("configs.__path__", [*__import__("configs").__path__, str(tmp_path)])
    assert find_layout("ours").rows == (("V1",), ("II",))
    assert find_layout("ours", mm_per_mv=5).mm_per_mv == 5
    (tmp_path / "layout_theirs.py").write_text("import nobody_has_it\n")
    with pytest.raises(ModuleNotFoundError, match="nobody_has_it"):
        find_layout("theirs")


@pytest.mark.parametrize("name", NAMES + CABRERA_NAMES)
def test_leads_that_keep_the_relations_are_left_as_they_are_in_every_layout(name):
    layout = find_layout(name)
    rows = rows_from_leads(related_leads(), layout)
    reconciled, residuals = reconcile_limbs(rows, layout=layout)
    np.testing.assert_allclose(reconciled, rows, atol=1e-9)
    assert residuals.shape == (layout.row_count, len(layout.limb_groups()))
    assert np.nanmax(residuals, initial=0) < 1e-9


@pytest.mark.parametrize("name", ["6x2", "12x1", "cabrera-12x1", "6x2+II"])
def test_a_stretch_misread_in_one_of_six_limb_leads_is_mended(name):
    layout = find_layout(name)
    rows = rows_from_leads(related_leads(), layout)
    read = rows.copy()
    read[1, 400:600] += 0.8
    reconciled, residuals = reconcile_limbs(read, layout=layout)
    assert np.abs(reconciled - rows).max() < 0.1
    assert np.nanargmax(residuals[:, 0]) == 1


def test_a_layout_is_named_with_its_speed_and_gain():
    plain, fast, tall = (parse_layout(text) for text in ("6x2", "12x1:50", "3x4+II:25:20"))
    assert (plain.mm_per_second, plain.mm_per_mv, plain.duration_s) == (25, 10, 10)
    assert (fast.mm_per_second, fast.mm_per_mv, fast.duration_s) == (50, 10, 5)
    assert (tall.name, tall.mm_per_mv) == ("3x4+II", 20)
    for wrong in ("6x2:fast", "6x2:25:10:1", "7x7"):
        with pytest.raises(ValueError, match=wrong):
            parse_layout(wrong)


def test_strips_of_single_leads_are_layouts():
    assert find_layout("V1+II").rows == (("V1",), ("II",))
    with pytest.raises(ValueError, match="twice"):
        find_layout("II+II")
