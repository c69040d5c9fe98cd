"""Pages of any layout through the Digitizer: recognized, read, doubted or refused."""

import argparse
from dataclasses import replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

import predict
from configs.layouts import COMPETITION, Layout, find_layout
from configs.page import LEADS, MASK_WIDTH, RECTIFIED
from digitization import Digitized, Digitizer
from digitization.geometry.locate import PageNotFound
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.finder import is_inverted
from digitization.layout.page import Known, LayoutPage
from digitization.layout.reading import beyond_image, beyond_paper, relations_hold
from digitization.layout.scales import Scale
from digitization.layout.slant import find_slant
from digitization.signal.tracer import TraceResult
from prediction.arguments import add_digitizer_arguments
from synthesis.layouts.page import draw_layout_page
from synthesis.layouts.sheet import choose_print, draw_sheet
from synthesis.signals import Record
from tests.faults import call
from tests.test_predict import SAMPLES
from utils.images import read_rgb, write_png


def beating_leads(fs: int = 500) -> np.ndarray:
    """(12, 10 * fs) mV of a regular rhythm that obeys Einthoven and Goldberger."""
    t = np.arange(10 * fs) / fs
    phase = (t + 0.3) % 0.8

    def bump(at: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((phase - at) / width) ** 2)

    one = 0.1 * bump(0.2, 0.03) + 0.8 * bump(0.4, 0.012) - 0.15 * bump(0.43, 0.01) + 0.25 * bump(0.65, 0.05)
    two = 0.15 * bump(0.21, 0.03) + 1.1 * bump(0.4, 0.013) - 0.2 * bump(0.43, 0.01) + 0.3 * bump(0.65, 0.05)
    limb = {"I": one, "II": two, "III": two - one, "aVR": -(one + two) / 2}
    limb |= {"aVL": one - two / 2, "aVF": two - one / 2}
    chest = {f"V{n}": (n - 3) * 0.3 * bump(0.4, 0.014) + 0.2 * bump(0.65, 0.05) for n in range(1, 7)}
    return np.array([(limb | chest)[lead] for lead in LEADS], np.float32)


def drawn(layout: Layout, seed: int) -> np.ndarray:
    record = Record("beating", beating_leads(), 500)
    return draw_layout_page(record, layout, np.random.default_rng(seed)).image


def likeness(found: np.ndarray, truth: np.ndarray) -> float:
    """The correlation of two signals (n,) at 500 Hz at the best shift of up to 10 ms."""
    inner = slice(40, len(truth) - 40)
    shifted = (found[inner.start + shift : inner.stop + shift] for shift in range(-5, 6))
    return max(float(np.corrcoef(truth[inner], other)[0, 1]) for other in shifted)


@cache
def digitizer() -> Digitizer:
    return Digitizer(device="cpu")


@pytest.mark.slow
def test_light_ink_on_dark_paper_is_read_as_dark_ink_on_light_paper():
    image = drawn(find_layout("6x2"), seed=1)
    plain, inverted = digitizer()(image), digitizer()(255 - image)
    assert inverted.layout == plain.layout
    np.testing.assert_array_equal(inverted.leads, plain.leads)


def test_dark_photos_of_light_paper_are_not_inverted():
    image = drawn(find_layout("6x2"), seed=1)
    assert not is_inverted(image)
    assert not is_inverted(image // 4)
    assert is_inverted(255 - image)


@pytest.mark.slow
def test_the_competitions_page_is_read_as_ever():
    image = read_rgb(SAMPLES[0])
    recognized, told = digitizer()(image), digitizer()(image, known=Known(competition=True))
    assert isinstance(recognized.page, RectifiedPage)
    assert recognized.layout == COMPETITION
    np.testing.assert_array_equal(recognized.leads, told.leads)
    assert recognized.doubts == told.doubts == []


@pytest.mark.slow
@pytest.mark.parametrize(("name", "seed"), [("6x2", 1), ("12x1", 6)])
def test_pages_of_other_layouts_are_recognized_and_read(name, seed):
    layout = find_layout(name)
    found = digitizer()(drawn(layout, seed))
    assert isinstance(found.page, LayoutPage)
    assert found.layout.name == name
    assert found.leads.shape == (12, 5000)
    truth = beating_leads()
    for lead, segment in layout.longest.items():
        index, inside = LEADS.index(lead), segment.span(5000)
        assert np.isfinite(found.leads[index, inside]).all()
        assert likeness(found.leads[index, inside], truth[index, inside]) > 0.98
        others = np.ones(5000, bool)
        others[inside] = False
        assert np.isnan(found.leads[index, others]).all()
    assert abs(np.nanmedian(found.leads - truth)) < 0.1


@pytest.mark.slow
def test_what_the_user_knows_is_taken_for_granted():
    image = drawn(find_layout("6x2"), 1)
    told = digitizer()(image, known=Known(find_layout("6x2"), 50.0, 5.0))
    assert told.layout.mm_per_second == 50
    assert told.layout.mm_per_mv == 5
    assert told.leads.shape == (12, 2500)
    assert not [doubt for doubt in told.doubts if "assumed" in doubt or "layout" in doubt]
    assert not [doubt for doubt in told.doubts if "unusual" in doubt], "rows of five seconds at 50 mm/s"
    with pytest.raises(PageNotFound, match="6 rows are seen, 12x1 has 12"):
        digitizer()(image, known=Known(find_layout("12x1")))


@pytest.mark.slow
def test_blank_grid_paper_is_refused():
    rng = np.random.default_rng(0)
    blank = draw_sheet(choose_print(find_layout("3x4+II"), rng), rng)
    with pytest.raises(PageNotFound):
        digitizer()(blank)


@pytest.mark.slow
def test_predict_tells_the_layout_and_takes_it(tmp_path):
    write_png(tmp_path / "page.png", drawn(find_layout("6x2"), 1))

    def run(*options: str) -> tuple[int, str]:
        return call(predict.main, tmp_path / "page.png", "--output", tmp_path / "out", *options)

    code, _ = run("--layout", "6x2", "--speed", "25", "--overlay", "--report", "--wfdb")
    assert code == 0
    row = pd.read_csv(tmp_path / "out" / "pages.csv").iloc[0]
    assert (row.layout, row.layout_source, row.speed, row.speed_source) == ("6x2", "given", 25, "given")
    assert "6x2 (given" in (tmp_path / "out" / "report.html").read_text()
    signals = pd.read_csv(tmp_path / "out" / "page.csv")
    assert signals["I"].notna().sum() == signals["V1"].notna().sum() == 2500
    code, said = run("--layout", "7x9")
    assert code == 1
    assert "7x9" in said
    assert run("--speed", "0")[0] == 2


def test_the_pages_of_a_test_table_have_no_other_layout(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test.csv").write_text("id,lead,fs,number_of_rows\n1,I,500,1250\n")
    code, said = call(predict.main, tmp_path / "test.csv", "--output", tmp_path / "out", "--layout", "6x2")
    assert code == 1
    assert "the competition's" in said


def rows_of(leads: np.ndarray, layout: Layout, slant: float = 0.0) -> np.ndarray:
    """Rows (R, L) mV as they would be read without regard to a slant, 6 squares from row to row."""
    rows = np.empty((layout.row_count, leads.shape[1]))
    samples = np.arange(leads.shape[1])
    for segment in layout.segments:
        inside = segment.span(leads.shape[1])
        late = slant * 6 * (segment.row - (layout.row_count - 1) / 2) / 5 * 500
        own = np.interp(samples - late, samples, leads[LEADS.index(segment.lead)])
        rows[segment.row, inside] = segment.sign * own[inside]
    return rows


@pytest.mark.parametrize("name", ["3x4+II", "6x2", "12x1", "3x4+V1+II+V5", "cabrera-12x1"])
@pytest.mark.parametrize("slant", [0.0, 0.021, -0.033])
def test_the_slant_of_a_print_is_found_from_the_leads(name, slant):
    layout = find_layout(name)
    leads = beating_leads() + np.random.default_rng(0).normal(0, 0.002, (12, 5000))
    found = find_slant(rows_of(leads, layout, slant), layout, 6.0 * np.arange(layout.row_count), 5.0)
    assert found == pytest.approx(slant, abs=0.004)


def test_leads_with_scales_of_their_own_are_not_fitted_to_each_other():
    layout, leads = find_layout("3x4+II"), beating_leads()
    assert relations_hold(rows_of(leads, layout), layout)
    noisy = rows_of(leads, layout) + np.random.default_rng(1).normal(0, 0.1, (4, 5000))
    assert relations_hold(noisy, layout)
    scaled = leads / np.ptp(leads, axis=1, keepdims=True)
    assert not relations_hold(rows_of(scaled, layout), layout)


def test_what_lies_beyond_the_image_is_known():
    lattice = np.stack(np.meshgrid(20.0 * np.arange(50), 20.0 * np.arange(30)), axis=-1).astype(np.float32)
    known = Scale(25.0, "given"), Scale(10.0, "given")
    page = LayoutPage(
        0, lattice, np.ones((30, 50), bool), 1.0, find_layout("3x4"), np.array([5.0, 11.0, 17.0]),
        -2.0, 0.0, 50.0, 1.0, 1.0, (), *known, (),
    )  # fmt: skip
    outside = beyond_image(page, 1, (600, 950, 3), 1000)
    np.testing.assert_array_equal(np.flatnonzero(np.diff(outside.astype(int))), [39, 989])
    assert outside[0]
    assert not outside[500]
    at_edge = beyond_image(replace(page, start=-0.05, width=47.5), 1, (600, 950, 3), 1000)
    assert not at_edge.any(), "what is within 0.1 squares of the edge is not lost"


def test_what_runs_on_beyond_the_paper_is_known():
    lattice = np.stack(np.meshgrid(20.0 * np.arange(50), 20.0 * np.arange(30)), axis=-1).astype(np.float32)
    page = SimpleNamespace(gridpoint_xy=lattice, starts=np.array([-1.0]), width=52.0)
    confidence = np.full(1040, 0.9)
    assert not beyond_paper(page, 0, confidence).any(), "ink that is seen counts, wherever it is"
    confidence[[10, 500, 1020]] = 0.01  # beyond the left edge, on the paper, beyond the right edge
    hidden = beyond_paper(page, 0, confidence)
    assert np.flatnonzero(hidden).tolist() == [*range(11), *range(1020, 1040)]


def test_seconds_of_a_lead_that_are_not_seen_are_a_doubt_on_pages_of_other_layouts():
    layout = find_layout("3x4")
    known = (Scale(25.0, "given"), Scale(10.0, "given"))
    page = LayoutPage(
        0, np.zeros((30, 50, 2), np.float32), np.ones((30, 50), bool), 1.0, layout,
        np.array([5.0, 11.0, 17.0]), 0.0, 0.0, 50.0, 1.0, 1.0, (), *known, (),
    )  # fmt: skip
    confidence = np.ones((3, MASK_WIDTH))
    begins = round(RECTIFIED.signal_start + 6 * RECTIFIED.px_per_second)  # in V1, V2 and V3

    def doubts(seconds: float) -> list[str]:
        hidden = confidence.copy()
        hidden[1, begins : begins + round(seconds * RECTIFIED.px_per_second)] = 0
        unknown = np.full((3, 1), np.nan)
        traces = TraceResult(np.zeros((3, 5000)), hidden, hidden, hidden < 0, unknown)
        return Digitized(np.zeros((12, 5000), np.float32), 500, page, traces).doubts

    assert doubts(0.2) == []
    assert doubts(0.5) == ["traces not seen for V2 0.5 s"]


def test_known_pages_may_be_the_competitions_or_not():
    assert Known().is_open
    assert Known(COMPETITION, 25.0).is_open
    assert not Known(speed=50.0).is_open
    assert not Known(find_layout("6x2")).is_open


def test_the_networks_of_other_layouts_can_be_named_on_the_command_line():
    parser = argparse.ArgumentParser()
    add_digitizer_arguments(parser)
    args = parser.parse_args(["--landmarks", "a.pt", "--close-ups", "b.pt", "--stage2-layouts", "c.pt"])
    assert [args.landmarks.name, args.close_ups.name, args.stage2_layouts.name] == ["a.pt", "b.pt", "c.pt"]
