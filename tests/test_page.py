"""The page's geometry against what is known of the competition's own pages."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.page import LEAD_LABEL_POINTS, LEAD_LABELS, PAGE_PX_PER_MM, RECTIFIED, ZERO_LINES_MM
from configs.stage1 import reference_points
from synthesis.page import lattice

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def public_points() -> pd.DataFrame:
    """Some grid points of a public page of the competition, of type 0001: row, column, x, y in whole px."""
    return pd.read_csv(DATA / "gridpoints_640106434-0001.csv")


def test_the_grid_is_drawn_where_the_public_page_has_it(public_points):
    drawn = lattice(has_pulse=True)[public_points["row"], public_points["column"]]
    off = drawn - public_points[["x", "y"]].to_numpy()
    assert np.abs(off).max() <= 1.0, "the page's points are rounded to whole px"
    assert np.abs(off.mean(axis=0)).max() < 0.5


def test_the_frame_of_stage_1_shows_the_public_page_as_the_published_weights_want_it(public_points):
    """The page scaled by 1280 / 2200 and moved by (80, 80), then by (-6, 10)."""
    expected = public_points[["x", "y"]].to_numpy() * 1280 / 2200 + (80 - 6, 80 + 10)
    np.testing.assert_allclose(
        reference_points(public_points[["row", "column"]].to_numpy()), expected, atol=0.6
    )


def test_the_zero_lines_lie_where_public_pages_have_them():
    on_page = np.array(ZERO_LINES_MM) * PAGE_PX_PER_MM
    np.testing.assert_allclose(on_page, [708.3, 991.7, 1275.0, 1534.7], atol=0.1)
    np.testing.assert_allclose(RECTIFIED.zero_lines, [703.5, 987.5, 1271.5, 1531.5], atol=2)
    assert RECTIFIED.px_per_mv == pytest.approx(79, abs=0.1)
    assert RECTIFIED.signal_start == pytest.approx(236, abs=2)
    assert RECTIFIED.signal_stop == pytest.approx(4160, abs=4)


def test_lead_labels_are_named_at_the_points_of_the_published_weights():
    order = "I aVR V1 V4 II aVL V2 V5 III aVF V3 V6 II-rhythm"
    assert " ".join(LEAD_LABELS) == order
    named = dict(zip(LEAD_LABELS, LEAD_LABEL_POINTS, strict=True))
    assert (named["aVR"], named["V5"], named["III"], named["II-rhythm"]) == (
        (19, 16),
        (26, 41),
        (33, 3),
        (40, 3),
    )
