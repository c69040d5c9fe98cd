"""Rows of any page laid out as the competition's page has them."""

import numpy as np
import pytest

from configs.layouts import find_layout
from configs.page import LEADS, RECTIFIED
from digitization.geometry.row_strips import lay_out_rows, row_groups
from digitization.layout.reading import reaches_edge, with_row
from digitization.signal.decode import RowTraces
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


def test_a_row_that_runs_along_the_edge_of_its_strip_is_read_again_by_itself():
    zero_lines, square = np.array(RECTIFIED.zero_lines), RECTIFIED.square_height
    y = np.repeat(zero_lines[:, None], 900, axis=1).astype(np.float32)
    y[1, 100:150] -= 3.4 * square  # 115 ms
    y[2, 100:108] += 3.4 * square  # a peak
    assert reaches_edge(y).tolist() == [False, True, False, False]
    traces = RowTraces(y, np.full(y.shape, 0.9), np.zeros(y.shape, bool))
    alone = RowTraces(np.full((1, 900), zero_lines[0] - 5 * square), np.full((1, 900), 0.85), y[:1] < 0)
    traces = with_row(traces, 1, alone)
    assert np.allclose(traces.y[1], zero_lines[1] - 5 * square, atol=1e-3)
    unclear = alone._replace(y=alone.y + 9, confidence=alone.confidence / 2)
    traces = with_row(traces, 1, unclear)
    assert np.allclose(traces.y[1], zero_lines[1] - 5 * square, atol=1e-3)


def test_the_strip_of_a_single_row_may_reach_further_down():
    image = np.full((900, 700, 3), 90, np.uint8)
    lattice = np.stack(np.meshgrid(np.arange(0, 700, 40), np.arange(0, 900, 40)), axis=-1).astype(np.float32)

    def shown(**options: float) -> int:
        page = lay_out_rows(image, lattice, [10.0], 2.0, **options)
        return int((page[:, RECTIFIED.width // 8, 0] < 200).sum())

    assert shown(below_squares=7.2) - shown() == pytest.approx(3.6 * RECTIFIED.square_height, abs=12)
