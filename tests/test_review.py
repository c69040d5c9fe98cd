"""Corrections of a page, and what is read of it after them."""

import json
import shutil

import numpy as np
import pytest

from configs.layouts import Layout, find_layout
from configs.page import LEADS
from digitization.geometry.locate import PageNotFound
from digitization.geometry.orientation import undo_orientation
from digitization.signal.limb_leads import reconcile_limbs
from review.actions import orientation_after
from review.corrections import INK, STRAIGHT, UNREADABLE, Corrections, Crossing, Rectangle, Stretch
from review.grid import lattice_of_rectangle, move_crossings
from review.ink import follow_ink
from review.picture import describe_page
from review.places import Places
from review.session import OpenPage
from review.store import Stale
from tests.review_pages import draw, place, write_run

EVERYTHING = Corrections(
    orientation=3,
    rectangle=Rectangle(((0.0, 0.0), (9.0, 0.0), (9.0, 5.0), (0.0, 5.0)), 9, 5),
    crossings=(Crossing((1.0, 2.0), (1.5, 2.0)),),
    layout="6x2",
    speed=50.0,
    gain=5.0,
    zero_lines=((0, (3.0, 4.0)), (2, (3.0, 9.0))),
    start=(1.0, 1.0),
    end=(90.0, 1.0),
    boundaries=((1, (45.0, 1.0)),),
    names=((0, 0, "II"), (1, 0, "-aVR")),
    stretches=(Stretch(0, INK, ((1.0, 2.0), (3.0, 4.0))), Stretch(1, UNREADABLE, ((1.0, 2.0), (3.0, 2.0)))),
)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two pages of 6x2 and a white one; the desk at which they are reviewed."""
    return write_run(tmp_path_factory.mktemp("review") / "out", blank=True)


@pytest.fixture(scope="module")
def first(run):
    return run.load(next(entry for entry in run.store.entries() if entry.name == "six"))


@pytest.fixture
def page(first):
    """The page as it was read first, without corrections."""
    return OpenPage(first.entry, first.image, first.reader, Corrections(), first.reader.first)


def lead_of(page, lead):
    return page.shown.leads[LEADS.index(lead)]


def layout_of(page):
    return describe_page(page)["layout"]


def test_corrections_come_back_from_json():
    assert Corrections.of_json(json.loads(json.dumps(EVERYTHING.to_json()))) == EVERYTHING
    assert Corrections().to_json() == {}
    assert len(EVERYTHING.describe()) == 13


@pytest.mark.parametrize(
    "values",
    [
        [],
        {"newer": 1},
        {"orientation": 8},
        {"gain": float("nan")},
        {"gain": "10"},
        {"speed": True},
        {"layout": "7x3"},
        {"layout": "../../etc/passwd"},
        {"start": [1]},
        {"start": [1e9, 0]},
        {"names": [[0, 0, "<b>"]]},
        {"stretches": [{"row": 0, "kind": "ink", "points": [[0, 0]]}]},
        {"stretches": [{"row": -1, "kind": "ink", "points": [[0, 0], [1, 1]]}]},
        {"stretches": [{"row": 0, "kind": "other", "points": [[0, 0], [1, 1]]}]},
        {"rectangle": {"corners": [[0, 0]] * 4, "across": 0, "down": 1}},
    ],
)
def test_what_no_page_can_have_is_refused(values):
    with pytest.raises(ValueError):  # noqa: PT011
        Corrections.of_json(values)


def test_places_go_from_the_image_to_the_paper_and_back():
    page = place(draw(), find_layout("6x2"))
    places = Places.of(page, (1700, 2200))
    squares = np.random.default_rng(0).uniform((-3, -3), (55, 38), (50, 2))
    np.testing.assert_allclose(places.to_squares(places.to_image(squares)), squares, atol=1e-3)


@pytest.mark.parametrize("orientation", range(8))
def test_turning_changes_the_view_and_nothing_else(orientation):
    image = np.arange(12).reshape(3, 4)
    shown = undo_orientation(image, orientation)
    right = orientation_after(orientation, lambda view: np.rot90(view, -1))
    np.testing.assert_array_equal(undo_orientation(image, right), np.rot90(shown, -1))
    mirrored = orientation_after(orientation, lambda view: view[:, ::-1])
    np.testing.assert_array_equal(undo_orientation(image, mirrored), shown[:, ::-1])


def test_a_path_follows_the_ink_past_a_blot():
    strip = np.full((400, 300, 3), 240, np.uint8)
    columns = np.arange(300)
    truth = 200 + 60 * np.sin(columns / 30)
    for column, y in zip(columns, truth, strict=True):
        strip[round(y) - 2 : round(y) + 3, column] = 20
    strip[60:120, 140:160] = 20  # a blot that the trace does not touch
    points = np.array([(10, truth[10]), (150, truth[150]), (290, truth[290])])
    y = follow_ink(strip, points)
    assert len(y) == 281
    assert np.abs(y - truth[10:291]).max() < 1.5


def test_without_ink_a_path_goes_straight():
    strip = np.full((400, 300, 3), 240, np.uint8)
    y = follow_ink(strip, np.array([(10.0, 100.0), (110.0, 200.0)]))
    np.testing.assert_allclose(y, np.linspace(100, 200, 101), atol=12)


def test_a_lattice_bends_to_a_crossing_and_stays_elsewhere():
    lattice = np.stack(np.meshgrid(np.arange(40) * 20.0, np.arange(30) * 20.0), axis=-1).astype(np.float32)
    moved = move_crossings(lattice, np.array([[10, 8]]), np.array([[206.0, 160.0]]))
    assert np.linalg.norm(moved[8, 10] - (206, 160)) < 1.5
    assert np.linalg.norm(moved[8, 11] - lattice[8, 11]) > 2
    assert np.linalg.norm(moved[28, 38] - lattice[28, 38]) < 1


def test_a_rectangle_of_squares_makes_the_whole_lattice():
    corners = np.array([(100, 100), (300, 120), (290, 220), (95, 205)], float)
    lattice = lattice_of_rectangle(corners, 10, 5, (400, 500))
    distance = np.linalg.norm(lattice[:, :, None] - corners, axis=-1).min(axis=(0, 1))
    assert distance.max() < 0.1
    assert lattice.min() < 30
    assert lattice[..., 0].max() > 470
    with pytest.raises(PageNotFound):
        lattice_of_rectangle(corners[[0, 2, 1, 3]], 10, 5, (400, 500))


def test_leads_may_meet_elsewhere_than_in_the_middle():
    layout = Layout("uneven", find_layout("6x2").rows, boundaries=(0.4,))
    assert layout.segment_of("I").bounds(5000) == (0, 2000)
    assert layout.segment_of("V1").bounds(5000) == (2000, 5000)
    residuals = reconcile_limbs(np.zeros((6, 5000)), layout=layout)[1]
    assert residuals.shape == (6, 1)
    with pytest.raises(ValueError, match="meet"):
        Layout("uneven", find_layout("6x2").rows, boundaries=(1.4,))


def test_gain_and_speed_scale_the_leads(page):
    before = lead_of(page, "II")
    page.act({"do": "gain", "value": 20}, page.revision)
    np.testing.assert_allclose(lead_of(page, "II")[500:2000], before[500:2000] / 2, atol=0.05)
    assert not [doubt for doubt in page.shown.doubts if "gain" in doubt]
    page.act({"do": "speed", "value": 50}, page.revision)
    assert page.shown.leads.shape == (12, 2500)
    page.act({"do": "undo"}, page.revision)
    page.act({"do": "undo"}, page.revision)
    np.testing.assert_array_equal(lead_of(page, "II"), before)
    with pytest.raises(ValueError, match="rows of 40"):
        page.act({"do": "speed", "value": 6.25}, page.revision)


def test_a_zero_line_moved_down_a_millimetre_raises_its_row_by_a_tenth_of_a_millivolt(page):
    before = lead_of(page, "III")
    layout = layout_of(page)
    point = [layout["start"] + 20, layout["zeroLines"][2] + 0.2]
    page.act({"do": "zero_line", "row": 2, "point": point}, page.revision)
    assert np.nanmedian(lead_of(page, "III") - before) == pytest.approx(0.1, abs=0.02)
    np.testing.assert_allclose(lead_of(page, "V6"), before_of(page, "V6"), atol=0.05)


def before_of(page, lead):
    return page.reader.first.leads[LEADS.index(lead)]


def test_a_boundary_moves_for_all_rows(page):
    layout = layout_of(page)
    page.act({"do": "boundary", "number": 1, "point": [layout["start"] + 20, 5]}, page.revision)
    assert np.isfinite(lead_of(page, "I")).sum() == pytest.approx(2000, abs=2)
    assert np.isfinite(lead_of(page, "V6")).sum() == pytest.approx(3000, abs=2)


def test_names_change_places(page):
    before = lead_of(page, "V2")
    page.act({"do": "name", "row": 0, "column": 0, "lead": "V2"}, page.revision)
    assert page.shown.layout.rows[:2] == (("V2", "V1"), ("II", "I"))
    inner = slice(2600, 4900)
    np.testing.assert_allclose(lead_of(page, "I")[inner], before[inner], atol=0.02)


def test_an_unreadable_stretch_is_unknown_until_it_is_redrawn(page):
    layout = layout_of(page)
    y = layout["zeroLines"][5]
    ends = [[layout["start"] + 10, y], [layout["start"] + 20, y]]
    page.act({"do": "redraw", "row": 5, "kind": UNREADABLE, "points": ends}, page.revision)
    unknown = np.isnan(lead_of(page, "aVF")[:2500])
    assert unknown.sum() == pytest.approx(1000, abs=6)
    assert unknown[1010:1990].all()
    state = describe_page(page)
    assert "unreadable" in [kind for kind, *_ in state["rows"][5]["spans"]]
    assert None in state["rows"][5]["y"]
    page.act({"do": "redraw", "row": 5, "kind": STRAIGHT, "points": ends}, page.revision)
    assert np.abs(lead_of(page, "aVF")[1100:1900]).max() < 0.02


def test_corrections_hold_for_a_page_that_is_found_a_little_elsewhere(page):
    """Other weights may number the grid differently: here its first row and column are missing."""
    layout = layout_of(page)
    y = layout["zeroLines"][1]
    points = [[layout["start"] + 30, y - 0.4], [layout["start"] + 35, y - 0.4]]
    page.act({"do": "redraw", "row": 1, "kind": STRAIGHT, "points": points}, page.revision)
    moved = place(draw(), find_layout("6x2"))
    object.__setattr__(moved, "gridpoint_xy", moved.gridpoint_xy[1:, 1:])
    object.__setattr__(moved, "zero_lines", moved.zero_lines - 1)
    object.__setattr__(moved, "start", moved.start - 1)
    squares = Places.of(moved, page.image.shape).to_squares(page.corrections.stretches[0].points)
    np.testing.assert_allclose(squares, np.array(points) - 1, atol=0.01)


def test_another_window_is_told_that_the_page_changed(page):
    stale = page.revision
    page.act({"do": "gain", "value": 5}, page.revision)
    with pytest.raises(Stale):
        page.act({"do": "gain", "value": 20}, stale)
    assert page.shown.layout.mm_per_mv == 5


@pytest.mark.parametrize(
    "action",
    [
        None,
        {},
        {"do": "exec"},
        {"do": "gain"},
        {"do": "zero_line", "row": 99, "point": [0, 0]},
        {"do": "zero_line", "row": 0, "point": [0, 30]},
        {"do": "boundary", "number": 2, "point": [0, 0]},
        {"do": "boundary", "number": 1, "point": [-5, 0]},
        {"do": "name", "row": 0, "column": 0, "lead": "V9"},
        {"do": "end", "side": "top", "point": [0, 0]},
        {"do": "end", "side": "end", "point": [2.5, 5]},
        {"do": "redraw", "row": 0, "kind": "ink", "points": [[1, 1], [1, 2]]},
        {"do": "turn", "how": "inside out"},
        {"do": "undo"},
    ],
)
def test_what_cannot_be_done_changes_nothing(page, action):
    before = page.revision
    with pytest.raises(ValueError):  # noqa: PT011
        page.act(action, before)
    assert page.corrections == Corrections()
    assert page.revision == before


def test_a_page_that_is_not_found_can_be_turned_and_asks_for_its_grid(run):
    blank = run.load(next(entry for entry in run.store.entries() if entry.name == "blank"))
    assert blank.shown is None
    blank.act({"do": "turn", "how": "right"}, blank.revision)
    assert blank.reason == "no grid is seen"
    assert blank.corrections.orientation is not None
    with pytest.raises(ValueError, match="mark its grid first"):
        blank.act({"do": "zero_line", "row": 0, "point": [0, 0]}, blank.revision)
    assert describe_page(blank)["readable"] is False


def test_an_image_that_is_gone_is_named(run, tmp_path):
    entry = next(entry for entry in run.store.entries() if entry.name == "other")
    moved = tmp_path / "moved.png"
    shutil.move(entry.page.path, moved)
    with pytest.raises(ValueError, match="no such image"):
        run.load(entry)
    shutil.move(moved, entry.page.path)
