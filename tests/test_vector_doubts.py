"""What of a PDF page's curves and texts leads astray: each is doubted, or left to the networks."""

from dataclasses import replace

import numpy as np
import pytest

from configs.layouts import find_layout
from digitization.vector.arrangement import Piece, arrange
from digitization.vector.curves import PrintedPulse
from digitization.vector.lead_names import find_labels
from digitization.vector.page import doubts_of_duration
from digitization.vector.print_scales import find_print_scales
from digitization.vector.sampling import make_curve
from utils.pdf import Text


def text(words: str, x: float = 0.0) -> Text:
    return Text(words, x, 0.0, 5.0, 3.0, 0)


def scales(*words: str, height: float | None = None):
    pulses = [] if height is None else [PrintedPulse(5.0, 50.0, height, 5.0)]
    return find_print_scales([text(each) for each in words], (None, None), pulses, None)


def test_a_letter_x_is_no_lead_unless_y_and_z_are_there():
    assert [label.lead for label in find_labels([text("X"), text("I")])] == ["I"]
    frank = find_labels([text("X"), text("Y"), text("Z"), text("I")])
    assert [label.lead for label in frank] == ["X", "Y", "Z", "I"]


@pytest.mark.parametrize("words", ["10mm/mV (V1-V6 x0.5)", "Sens. 10 mm/mV x2", "10 mm/mV ½"])
def test_a_gain_with_an_exception_is_doubted(words):
    assert any("exception" in doubt for doubt in scales("25 mm/s", words).doubts)
    assert not scales("25 mm/s", "10 mm/mV 0.05-40 Hz").doubts


def test_a_gain_that_no_device_has_is_doubted():
    assert any("unusual" in doubt for doubt in scales("25 mm/s", height=7.07).doubts)
    assert not scales("25 mm/s", height=20.0).doubts


def test_rows_of_an_unusual_duration_are_doubted_where_nothing_tells_the_size_of_the_print():
    unknown = scales("25 mm/s", "10 mm/mV")
    short = replace(find_layout("3x4"), duration_s=7.07)
    assert "how large" in doubts_of_duration(short, unknown)[0]
    assert not doubts_of_duration(short, replace(unknown, source="grid"))
    assert not doubts_of_duration(find_layout("3x4"), unknown)
    assert "averaged" in doubts_of_duration(replace(find_layout("12x1"), duration_s=1.0), unknown)[0]


def test_points_nearer_than_any_device_samples_are_refused():
    times = np.append(np.arange(3000) * 1e-6, 2.5)
    with pytest.raises(ValueError, match="more than any device records"):
        make_curve(times, np.zeros(3001))


def test_a_curve_may_run_back_by_a_printers_dot():
    times = np.arange(500) / 500
    times[100] = times[99] - 1e-4
    assert np.isfinite(make_curve(times, np.sin(times)).sample(500, 400)).all()


def test_columns_that_are_drawn_apart_begin_at_their_own_times():
    x = np.linspace(0, 62.5, 800)
    columns = []
    for number, leads in enumerate((("I", "II", "III"), ("aVR", "aVL", "aVF"))):
        begin = number * 129.0  # 4 mm after the end of a lead of five seconds
        wide = begin + np.linspace(0, 125.0, len(x))
        columns.append(
            [
                Piece(lead, 1, np.stack([wide, np.full_like(wide, y)], axis=1), begin, y)
                for lead, y in zip(leads, (20.0, 40.0, 60.0), strict=True)
            ]
        )
    found = arrange(columns, [], 25.0, 25.0, 10.0)
    assert found.layout.duration_s == 10.0
    assert [placed.first_s for placed in found.pieces] == [0.0] * 3 + [5.0] * 3
