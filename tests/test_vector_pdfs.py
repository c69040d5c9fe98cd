"""PDF pages that hold the curves of their leads: what each maker draws is read back."""

from pathlib import Path

import numpy as np
import pytest

from configs.page import LEADS
from digitization.layout.page import NOTHING_KNOWN, Known
from digitization.layout.scales import COLUMNS, PULSE, TEXT
from digitization.vector.arrangement import CurvesUnread
from digitization.vector.document import split_pdf
from digitization.vector.page import NoCurves, VectorPage, read_vector_page
from digitization.vector.record import VectorRecord
from digitization.vector.sampling import make_curve
from tests.shared import SHARED
from tests.vector_pages import (
    CHEST,
    LIMB,
    ROWS,
    Sheet,
    draw_cardiosoft,
    draw_ecgtizer,
    draw_matplotlib,
    draw_muse,
    draw_schiller,
    simulate,
)
from utils.pdf import read_pdf_pages

ROUNDED_MV = 0.002  # mV, of places that the file rounds to a thousandth of a point and more


def read_page(path: Path, known: Known = NOTHING_KNOWN) -> VectorPage:
    return read_vector_page(read_pdf_pages(path)[0], known)


def read_record(path: Path) -> VectorRecord:
    (part,) = split_pdf(path)
    assert part.record is not None, part.reason
    return part.record


def assert_reads(
    record: VectorRecord, lead: str, truth: np.ndarray, first: int = 0, tolerance=ROUNDED_MV
) -> None:
    """The samples of a lead from `first` on are those of the truth (n,), but for the zero line."""
    read = record.leads[LEADS.index(lead), first : first + len(truth)]
    assert np.isfinite(read).all()
    difference = read - truth
    np.testing.assert_allclose(difference - np.median(difference), 0, atol=tolerance)


def test_a_page_of_muse_is_read_at_its_own_points(tmp_path):
    leads = draw_muse(tmp_path / "muse.pdf")
    record = read_record(tmp_path / "muse.pdf")
    assert record.layout.name == "3x4+V1+II+V5"
    assert record.doubts == []
    assert record.native_hz == pytest.approx(500, rel=1e-4)
    (page,) = record.pages
    assert (page.scales.speed.source, page.scales.gain.source) == (TEXT, TEXT)
    for own in ROWS:
        for column, lead in enumerate(own):
            if lead in ("V1", "II", "V5"):
                assert_reads(record, lead, leads[lead])
            else:
                first = 1250 * column
                assert_reads(record, lead, leads[lead][first : first + 1238], first)
    unprinted = record.leads[LEADS.index("I"), 1240:]
    assert np.isnan(unprinted).all()
    assert np.nanmedian(record.leads[LEADS.index("I")] - leads["I"][:5000]) == pytest.approx(
        0, abs=ROUNDED_MV
    )


def test_pages_of_cardiosoft_carry_on_with_the_chest_leads(tmp_path):
    leads = draw_cardiosoft(tmp_path / "cardiosoft.pdf", further=("V3r", "V4r", "V7"))
    record = read_record(tmp_path / "cardiosoft.pdf")
    assert record.doubts == []
    assert record.layout.duration_s == 5.0
    assert record.layout.mm_per_second == 50
    assert record.leads.shape == (12, 2500)
    assert record.left_out == ["V3r", "V4r", "V7"]
    for lead in LEADS:  # a dot of the printer is 4 uV and 0.8 ms
        assert_reads(record, lead, leads[lead][:2495], tolerance=0.05)


def test_pages_of_schiller_carry_on_too(tmp_path):
    leads = draw_schiller(tmp_path / "schiller.pdf")
    record = read_record(tmp_path / "schiller.pdf")
    assert record.doubts == []
    assert list(record.layout.longest) == list(LEADS)
    assert record.native_hz == pytest.approx(25 / 0.35, rel=1e-3)
    for lead in LEADS:  # at every 14th ms, where the file has a point
        read = record.leads[LEADS.index(lead), :4900:7]
        np.testing.assert_allclose(np.diff(read - leads[lead][:9800:14]), 0, atol=ROUNDED_MV)


def test_pages_of_other_times_are_doubted(tmp_path):
    late = {lead: np.roll(signal, 400) for lead, signal in simulate(1000).items()}
    draw_schiller(tmp_path / "schiller.pdf", second=late)
    assert any("different times" in doubt for doubt in read_record(tmp_path / "schiller.pdf").doubts)


def test_a_strip_without_a_name_is_named_by_the_lead_that_it_repeats(tmp_path):
    leads = draw_ecgtizer(tmp_path / "ecgtizer.pdf")
    record = read_record(tmp_path / "ecgtizer.pdf")
    assert record.layout.name == "3x4+II"
    assert record.doubts == []
    assert record.native_hz == pytest.approx(125, rel=1e-3)
    (page,) = record.pages
    assert (page.scales.speed.source, page.scales.gain.source) == (COLUMNS, PULSE)
    for column, lead in enumerate(("III", "aVF", "V3", "V6")):
        first = 1250 * column
        read = record.leads[LEADS.index(lead), first : first + 1248 : 4]
        np.testing.assert_allclose(read, leads[lead][312 * column : 312 * (column + 1)], atol=ROUNDED_MV)


@pytest.mark.parametrize(("simplify", "tolerance"), [(False, ROUNDED_MV), (True, 0.12)])
def test_rows_of_several_leads_are_cut_where_the_next_begins(tmp_path, simplify, tolerance):
    leads = draw_matplotlib(tmp_path / "matplotlib.pdf", simplify)
    record = read_record(tmp_path / "matplotlib.pdf")
    assert record.layout.name == "3x4+II"
    assert record.doubts == []
    assert (record.native_hz is None) == simplify
    for own in ROWS:
        for column, lead in enumerate(own):
            if lead != "II":  # simplified, a line is moved across: 0.04 mm at a steep one are 0.1 mV
                inside = slice(1250 * column + 2, 1250 * column + 1245)
                assert_reads(record, lead, leads[lead][::2][inside], inside.start, tolerance)


@pytest.mark.parametrize("scale", [0.71, 0.94])
def test_a_print_of_another_size_is_measured_by_its_grid(tmp_path, scale):
    leads = draw_muse(tmp_path / "small.pdf", print_scale=scale)
    record = read_record(tmp_path / "small.pdf")
    assert record.doubts == []
    assert record.pages[0].scales.across == pytest.approx(scale, rel=1e-3)
    assert_reads(record, "II", leads["II"])


def test_without_a_grid_the_pulse_tells_the_size_of_the_print(tmp_path, monkeypatch):
    monkeypatch.setattr(Sheet, "grid", lambda *_: None)
    leads = draw_muse(tmp_path / "small.pdf", print_scale=0.8)
    record = read_record(tmp_path / "small.pdf")
    assert record.doubts == []
    assert record.pages[0].scales.up == pytest.approx(0.8, rel=1e-2)
    assert_reads(record, "II", leads["II"], tolerance=0.01)


def test_a_gain_that_text_and_pulse_tell_differently_is_doubted(tmp_path):
    draw_muse(tmp_path / "muse.pdf", gain_text="5mm/mV")
    assert read_page(tmp_path / "muse.pdf").doubts == ("gain 5 mm/mV by its text, but pulse 10 mm/mV",)
    assert read_page(tmp_path / "muse.pdf", Known(gain=10.0)).doubts == ()


def test_names_that_are_exchanged_are_doubted(tmp_path):
    draw_muse(tmp_path / "muse.pdf", names={"aVR": "aVL", "aVL": "aVR"})
    assert any("limb leads contradict" in doubt for doubt in read_record(tmp_path / "muse.pdf").doubts)


def test_a_strip_that_shows_another_lead_is_doubted(tmp_path):
    draw_muse(tmp_path / "muse.pdf", names={"V1": "V2", "V2": "V1"})
    assert any("strip 1 is named V1" in doubt for doubt in read_page(tmp_path / "muse.pdf").doubts)


def test_a_curve_without_a_name_is_not_guessed(tmp_path):
    draw_muse(tmp_path / "muse.pdf", names={"V3": "?"})
    with pytest.raises(CurvesUnread, match="1 of 12 curves have no name"):
        read_page(tmp_path / "muse.pdf")


def test_a_pulse_at_the_beginning_of_a_curve_is_no_part_of_the_lead(tmp_path):
    leads, sheet = simulate(500), Sheet(tmp_path / "joined.pdf")
    for row, lead in enumerate(CHEST):
        y = 40 + 25 * row
        curve = np.stack([26 + 0.05 * np.arange(5000), y - 10 * leads[lead]], axis=-1)
        curve[:, 1] += y - curve[0, 1]
        sheet.line([(18, y), (20, y), (20, y - 10), (25, y - 10), (25, y), *curve])
        sheet.text(28, y - 8, lead)
    sheet.text(10, 210, "25 mm/s 10 mm/mV")
    sheet.save()
    record = read_record(tmp_path / "joined.pdf")
    assert record.doubts == []
    assert record.pages[0].scales.gain.contradiction == ""
    for lead in CHEST:
        assert np.nanmax(record.leads[LEADS.index(lead)]) < leads[lead].max() + 0.15  # the pulse has 1 mV


def test_regular_lines_of_a_table_are_no_grid(tmp_path, monkeypatch):
    monkeypatch.setattr(Sheet, "grid", lambda *_: None)
    sheet = Sheet(tmp_path / "table.pdf")
    for row, lead in enumerate(CHEST):
        sheet.curve(20, 60 + 25 * row, simulate(500)[lead], 0.05)
        sheet.text(20, 53 + 25 * row, lead)
    for line in range(9):
        sheet.line([(20, 10 + 4 * line), (120, 10 + 4 * line)])
        sheet.line([(20 + 4 * line, 10), (20 + 4 * line, 42)])
    sheet.text(10, 210, "25 mm/s 10 mm/mV")
    sheet.save()
    scales = read_page(tmp_path / "table.pdf").scales
    assert (scales.across, scales.up, scales.source) == (1.0, 1.0, "")


def test_a_layout_that_is_given_and_another_on_the_page_are_doubted(tmp_path):
    draw_ecgtizer(tmp_path / "page.pdf")
    layout = read_page(tmp_path / "page.pdf").layout
    assert read_page(tmp_path / "page.pdf", Known(layout)).doubts == ()
    draw_muse(tmp_path / "muse.pdf")
    assert any("is given" in doubt for doubt in read_page(tmp_path / "muse.pdf", Known(layout)).doubts)


def test_curves_in_nested_forms_stand_where_their_matrices_put_them(tmp_path):
    leads, sheet = simulate(500, 10), Sheet(tmp_path / "forms.pdf")
    canvas = sheet.canvas
    canvas.beginForm("curves")
    sheet.scale = 0.5
    for row, lead in enumerate(LIMB):
        sheet.curve(20, 40 + 25 * row, leads[lead], 0.05)
        sheet.text(20, 33 + 25 * row, lead)
    canvas.endForm()
    canvas.beginForm("outer")
    canvas.scale(2, 2)
    canvas.translate(0, -sheet.size[1] * 72 / 25.4 / 2)
    canvas.doForm("curves")
    canvas.endForm()
    canvas.doForm("outer")
    sheet.scale = 1.0
    sheet.text(10, 210, "25 mm/s 10 mm/mV")
    sheet.save()
    record = read_record(tmp_path / "forms.pdf")
    assert record.layout.name == "6x1-limb"
    assert record.doubts == []
    assert_reads(record, "aVL", leads["aVL"])


def test_a_page_printed_sideways_is_turned_by_its_names(tmp_path):
    leads, sheet = simulate(500, 10), Sheet(tmp_path / "sideways.pdf", rotated=True)
    sheet.canvas.setPageRotation(0)
    for row, lead in enumerate(CHEST):
        sheet.curve(20, 40 + 25 * row, leads[lead], 0.05)
        sheet.text(20, 33 + 25 * row, lead)
    sheet.text(10, 210, "25 mm/s 10 mm/mV")
    sheet.save()
    record = read_record(tmp_path / "sideways.pdf")
    assert record.pages[0].turns == 3
    assert record.doubts == []
    assert_reads(record, "V4", leads["V4"])


def test_a_page_without_curves_has_none(tmp_path):
    sheet = Sheet(tmp_path / "letter.pdf")
    sheet.text(20, 40, "Dear colleague, leads I, II and III")
    sheet.save()
    with pytest.raises(NoCurves):
        read_page(tmp_path / "letter.pdf")
    (part,) = split_pdf(tmp_path / "letter.pdf")
    assert part.record is None
    assert part.dpi is None


def test_points_that_are_left_out_lie_on_straight_lines():
    times = np.arange(1001) / 500
    values = np.interp(times, [0, 0.5, 0.6, 0.7, 2], [0, 0, 1, 0, 0.2]) + 0.1 * (times > 1.5) * np.sin(
        40 * times
    )
    kept = np.concatenate([[True], np.abs(np.diff(values, 2)) > 1e-12, [True]])
    curve = make_curve(times[kept], values[kept])
    assert curve.native_hz == pytest.approx(500)
    np.testing.assert_allclose(curve.at(times), values, atol=1e-9)


def test_samples_beyond_the_ends_of_a_curve_are_unknown():
    curve = make_curve(np.arange(100) / 250, np.zeros(100))
    assert np.isfinite(curve.sample(500, 400)).sum() == 199


def test_a_low_rate_gets_no_aliases():
    times = np.arange(5000) / 500
    curve = make_curve(times, np.sin(2 * np.pi * 3 * times) + np.sin(2 * np.pi * 90 * times))
    read = curve.sample(100, 1000)
    np.testing.assert_allclose(read[100:900], np.sin(2 * np.pi * 3 * times[::5][100:900]), atol=0.02)


@pytest.mark.skipif(not (SHARED / "samples" / "pdf").is_dir(), reason="no shared PDF files")
@pytest.mark.parametrize(
    ("name", "layout", "native_hz"),
    [
        ("muse_fictitious", "3x4+V1+II+V5", 500),
        ("schiller_2pages", "6x1-limb and 6x1-chest", 71.4),
        ("cardiosoft_50mm_2pages", "6x1-limb and 6x1-chest", 499),
        ("dicomplot_3x4_1", "3x4+II", 999.9),
        ("ecgtizer_00009_hr_6x2", "6x2", 125),
    ],
)
def test_real_files_of_every_maker_are_read(name, layout, native_hz):
    record = read_record(SHARED / "samples" / "pdf" / f"{name}.pdf")
    assert (record.layout.name, record.doubts) == (layout, [])
    assert record.native_hz == pytest.approx(native_hz, rel=1e-2)
