"""Zero lines of rows by their pulses and by even spacing."""

import numpy as np
import pytest

from digitization.layout.landmarks import Pulse
from digitization.layout.zero_lines import uneven_by, zero_lines_of

ROWS = 6.0 + 5.5 * np.arange(6)


def test_a_row_that_is_seen_off_the_even_spacing_of_the_others_is_put_there():
    seen = ROWS + [0.02, -0.03, 0.0, 0.5, 0.01, -0.02]
    assert zero_lines_of(seen, ()) == pytest.approx(ROWS, abs=0.05)


def test_rows_that_are_not_spaced_evenly_stay_where_they_are_seen():
    seen = ROWS + [0.0, 0.5, -0.4, 0.7, 0.0, 0.3]
    assert np.array_equal(zero_lines_of(seen, ()), seen)


def test_three_rows_do_not_tell_which_of_them_is_off():
    seen = np.array([6.0, 11.9, 17.0])
    assert np.array_equal(zero_lines_of(seen, ()), seen)


def test_a_rhythm_strip_may_be_printed_apart():
    seen = np.append(ROWS, ROWS[-1] + 6.8)
    assert np.array_equal(zero_lines_of(seen, (), row_count=6), seen)


def test_a_rhythm_strip_between_rows_in_their_places_is_in_its_place_too():
    seen = ROWS + [0.0, 0.02, -0.01, 0.7, 0.03, 0.0]
    assert zero_lines_of(seen, (), row_count=3) == pytest.approx(ROWS, abs=0.05)


def test_the_foot_of_a_pulse_counts_more_than_even_spacing():
    seen = ROWS + [0.0, 0.0, 0.3, 0.0, 0.0, 0.4]
    pulses = [Pulse(2.0, seen[2], 2.0, 1.0, 0.9)]
    expected = ROWS + [0.0, 0.0, 0.3, 0.0, 0.0, 0.0]
    assert zero_lines_of(seen, pulses) == pytest.approx(expected, abs=0.01)


@pytest.mark.parametrize(("foot", "expected"), [(6.2, 6.1), (6.5, 6.5)])
def test_a_row_and_the_foot_of_its_pulse_are_averaged_where_they_agree(foot, expected):
    assert zero_lines_of([6.0], [Pulse(2.0, foot, 2.0, 1.0, 0.9)])[0] == pytest.approx(expected)


@pytest.mark.parametrize(("off", "expected"), [(0.2, 0.0), (0.5, 0.5), (-0.5, 0.5)])
def test_three_rows_without_pulses_that_are_not_evenly_spaced_are_doubted(off, expected):
    rows = ROWS[:3] + [0, off, 0]
    assert uneven_by(rows, ()) == pytest.approx(expected)
    assert uneven_by(rows, [Pulse(2.0, y, 2.0, 1.0, 0.9) for y in rows]) == 0
    assert uneven_by(ROWS[:4] + [0, off, 0, 0], ()) == 0
