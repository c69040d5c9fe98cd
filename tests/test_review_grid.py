"""Crossings of a page's grid, dragged to where they are."""

import numpy as np
import pytest

from configs.page import LEADS
from review.corrections import Corrections
from review.picture import describe_page
from review.reading import PageReader
from review.session import OpenPage
from tests.review_pages import BENT_NODE, draw, write_run
from tests.test_any_page import beating_leads, likeness

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def first(tmp_path_factory):
    """A page whose lattice has lost count of the squares in one region."""
    desk = write_run(tmp_path_factory.mktemp("grid") / "out", ("six",), bent=True)
    return desk.load(desk.store.entries()[0])


@pytest.fixture
def page(first):
    return OpenPage(first.entry, first.image, first.reader, Corrections(), first.reader.first)


def drag(page, node, to):
    column, row = node
    found = page.shown.page.gridpoint_xy[row, column].tolist()
    page.act({"do": "crossing", "found": found, "true": list(map(float, to))}, page.revision)


def off(page):
    """By how many px the crossings of the lattice are off, (R, C)."""
    return np.linalg.norm(page.shown.page.gridpoint_xy - draw().gridpoint_xy, axis=-1)


def likeness_of(page, lead):
    return likeness(page.shown.leads[LEADS.index(lead), :2400], beating_leads()[LEADS.index(lead), :2400])


def test_a_crossing_dragged_mends_the_region_about_it(page):
    column, row = BENT_NODE
    before, bent = likeness_of(page, "II"), page.shown.page.gridpoint_xy
    assert before < 0.5
    assert off(page).max() > 25
    drag(page, BENT_NODE, draw().gridpoint_xy[row, column] + (3, -3))  # not clicked to the pixel
    assert off(page)[2:-2, 2:-2].max() < 1
    assert likeness_of(page, "II") > 0.8, "as well as it is read on the true lattice"
    assert describe_page(page)["moved"] == [[column, row]]
    page.act({"do": "undo"}, page.revision)
    np.testing.assert_array_equal(page.shown.page.gridpoint_xy, bent)
    assert likeness_of(page, "II") == before
    assert describe_page(page)["moved"] == []


def test_a_second_crossing_is_the_one_that_was_shown_there(page):
    true = draw().gridpoint_xy
    drag(page, (BENT_NODE[0] - 3, BENT_NODE[1]), true[BENT_NODE[1], BENT_NODE[0] - 3])
    shown = page.shown.page.gridpoint_xy[BENT_NODE[1], BENT_NODE[0] + 1].copy()
    drag(page, (BENT_NODE[0] + 1, BENT_NODE[1]), shown + (12, 0))
    assert describe_page(page)["moved"] == [[5, 9], [9, 9]]


def test_a_crossing_that_stage_1_sees_elsewhere_stays_where_it_was_dragged_to(page):
    column, row = BENT_NODE
    true = draw().gridpoint_xy
    drag(page, BENT_NODE, true[row, column])
    elsewhere = true[row + 12, column] + (10, 0)  # a quarter of a square from where it is seen
    drag(page, (column, row + 12), elsewhere)
    assert np.linalg.norm(page.shown.page.gridpoint_xy[row + 12, column] - elsewhere) < 4
    assert off(page)[row + 12, column + 8] < 4


def test_a_page_is_read_as_if_nothing_had_been_kept(page):
    """Corrections made one after the other, and made all at once on the page opened anew."""
    layout = describe_page(page)["layout"]
    drag(page, BENT_NODE, draw().gridpoint_xy[BENT_NODE[1], BENT_NODE[0]])
    point = [layout["start"] + 20, layout["zeroLines"][2] + 0.2]
    page.act({"do": "zero_line", "row": 2, "point": point}, page.revision)
    page.act({"do": "speed", "value": 50}, page.revision)
    again = PageReader(page.reader.digitizer, page.image, 500).read(page.corrections)
    np.testing.assert_array_equal(again.leads, page.shown.leads)
    np.testing.assert_array_equal(again.page.gridpoint_xy, page.shown.page.gridpoint_xy)
