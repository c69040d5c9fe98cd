"""Rows of any page laid out as the competition's page has them."""

import numpy as np
import pytest

from configs.layouts import find_layout
from configs.page import LEADS, RECTIFIED
from digitization.geometry.row_strips import lay_out_rows, row_groups
from synthesis.layouts.page import draw_layout_page
from tests.test_layout_pages import darkest_rows, drawn_dark, stepped_record


@pytest.mark.parametrize("name", ["3x4", "6x2+II", "12x1"])
def test_every_row_comes_to_a_zero_line_of_the_competitions_page(name):
    layout = find_layout(name)
    page = drawn_dark(layout, seed=1)
    shown = []
    for group in row_groups(layout.row_count):
        strips = lay_out_rows(page.image, page.gridpoint_xy, page.zero_lines[group], page.start)
        assert strips.shape == (RECTIFIED.height, RECTIFIED.width, 3)
        for place, row in enumerate(group):
            shown.append(row)
            for segment in layout.row_segments(row):
                seconds = (segment.column + 0.6) / segment.columns * layout.duration_s
                x = RECTIFIED.signal_start + seconds * RECTIFIED.px_per_second
                millivolts = segment.sign * 0.03 * LEADS.index(segment.lead)
                y = RECTIFIED.zero_lines[place] - millivolts * RECTIFIED.px_per_mv
                assert darkest_rows(strips, x, y, 8) == pytest.approx(y, abs=2.5)  # a trace is 6 px thick
    assert shown == list(range(layout.row_count))


def test_fast_paper_is_brought_to_the_competitions_speed():
    layout = find_layout("6x1-limb", mm_per_second=50.0, duration_s=5.0)
    record = stepped_record()
    record.leads[:, 2 * record.fs : 2 * record.fs + 5] += 1.0  # a spike at 2 s
    page = draw_layout_page(record, layout, np.random.default_rng(3))
    strips = lay_out_rows(
        page.image, page.gridpoint_xy, page.zero_lines[:1], page.start, squares_per_column=2.0
    )
    high = RECTIFIED.zero_lines[0] - 0.7 * RECTIFIED.px_per_mv
    dark = np.flatnonzero(strips[round(high)].astype(int).sum(axis=1) < 300)
    spike = RECTIFIED.signal_start + 2.01 * RECTIFIED.px_per_second
    assert np.abs(dark - spike).min() < 6


def test_missing_rows_stay_white_and_too_many_are_refused():
    page = draw_layout_page(stepped_record(), find_layout("12x1"), np.random.default_rng(1))
    strips = lay_out_rows(page.image, page.gridpoint_xy, page.zero_lines[:2], page.start)
    between = round((RECTIFIED.zero_lines[1] + RECTIFIED.zero_lines[2]) / 2) + 2
    assert (strips[between:] == 255).all()
    for count in (0, 5):
        with pytest.raises(ValueError, match="1 to 4 fit"):
            lay_out_rows(page.image, page.gridpoint_xy, page.zero_lines[:count], page.start)
