"""The layout of a page by agreement: every layout is told from every other by what is seen of it."""

from dataclasses import replace

import numpy as np
import pytest

from configs.landmarks import KEYPOINTS
from configs.layouts import Layout, find_layout
from digitization.layout.landmarks import Keypoint, Landmarks, Pulse, Row
from digitization.layout.match import LayoutMatch, match_layout, stray_row_label
from digitization.layout.scales import ASSUMED, COLUMNS, GIVEN, PULSE, TEXT, find_gain, find_speed
from digitization.layout.strips import StripName, name_strips

START, PITCH, TOP = 4.3, 5.5, 6.0  # squares
NAMES = (
    *("3x4", "3x4+II", "3x4+V1", "3x4+V1+II", "3x4+V1+II+V5", "6x2", "6x2+II", "12x1", "12x1+II"),
    *("6x1-limb", "6x1-chest", "3x2-limb", "3x2-chest", "cabrera-3x4+II", "cabrera-6x2", "cabrera-12x1"),
    *("II", "V1+II", "V4+V5"),
)


def keypoint(name: str, x: float, y: float, probability: float = 0.95) -> Keypoint:
    probabilities = np.full(len(KEYPOINTS), (1 - probability) / len(KEYPOINTS))
    probabilities[KEYPOINTS.index(name)] = probability
    return Keypoint(x, y, probabilities)


def seen_of(
    layout: Layout, offset: float = -1.8, width: float = 50.0, cut: float = 0.0, legible: float = 0.95
) -> Landmarks:
    """What is seen of a page whose labels lie `offset` squares below the zero lines.

    The image begins `cut` squares right of where the rows begin.
    """
    labels, rows, starts, ends, boundaries = [], [], [], [], []
    for row in range(layout.row_count):
        y = TOP + row * PITCH
        rows.append(Row(y, START + cut, START + width, width - cut))
        segments = layout.row_segments(row)
        for segment in segments:
            x = START + segment.column * width / segment.columns
            name = ("-" if segment.sign < 0 else "") + segment.lead
            if x + 1 >= START + cut:
                labels.append(keypoint(name, x + 1.0, y + offset, legible))
            if segment.column:
                boundaries.append((x, y, 0.8))
        if not cut:
            starts.append((START, y, 0.9))
        ends.append((START + width, y, 0.9))
    points = [np.array(found, float).reshape(-1, 3) for found in (starts, ends, boundaries)]
    edges = (START + cut if cut else 0.0, 60.0)
    return Landmarks(tuple(labels), (), tuple(rows), *points, (), edges)


def matched(landmarks: Landmarks, given: Layout | None = None) -> LayoutMatch:
    match = match_layout(landmarks, given)
    assert match is not None
    return match


@pytest.mark.parametrize("offset", [-2.4, -0.5, 1.6])
@pytest.mark.parametrize("name", NAMES)
def test_every_layout_is_recognized_wherever_its_labels_stand(name, offset):
    match = matched(seen_of(find_layout(name), offset))
    assert match.layout.name == name
    assert match.layout.rows == find_layout(name).rows
    assert match.score > 0.8
    assert match.lead > 0.1
    assert match.start == pytest.approx(START, abs=0.05)
    assert match.width == pytest.approx(50, abs=0.05)
    assert match.zero_lines == tuple(TOP + PITCH * np.arange(find_layout(name).row_count))


@pytest.mark.parametrize("name", ["3x4+II", "6x2", "12x1"])
def test_labels_that_cannot_be_read_are_filled_in_by_the_layout(name):
    layout = find_layout(name)
    seen = seen_of(layout)
    some = tuple(label for index, label in enumerate(seen.labels) if index % 3 or index >= 12)
    match = matched(Landmarks(some, *[getattr(seen, f) for f in list(seen.__dataclass_fields__)[1:]]))
    assert match.layout.name == name
    assert 0.5 < match.score < 0.8


def test_rows_cut_off_at_the_left_begin_outside_the_image():
    match = matched(seen_of(find_layout("3x4+II"), cut=3.0))
    assert match.layout.name.startswith("3x4")
    assert match.start == pytest.approx(START, abs=0.3)
    assert match.width == pytest.approx(50, abs=0.3)


def test_a_width_near_a_usual_one_is_taken_for_it():
    match = matched(seen_of(find_layout("12x1"), width=50.2))
    assert match.width == pytest.approx(50, abs=0.03)


def test_a_row_that_was_missed_is_put_between_its_neighbours():
    seen = seen_of(find_layout("6x2"))
    rows = (*seen.rows[:2], *seen.rows[3:])
    match = matched(
        Landmarks(seen.labels, (), rows, *[seen.starts, seen.ends, seen.boundaries], (), seen.edges)
    )
    assert match.layout.name == "6x2"
    assert match.zero_lines[2] == pytest.approx(TOP + 2 * PITCH)


def test_a_short_line_of_text_is_no_row():
    seen = seen_of(find_layout("3x4"))
    rows = (*seen.rows, Row(TOP + 3 * PITCH, 8.0, 20.0, 12.0))
    match = matched(Landmarks(seen.labels, (), rows, seen.starts, seen.ends, seen.boundaries, (), seen.edges))
    assert match.layout.name == "3x4"


def test_without_legible_labels_the_score_is_low():
    seen = seen_of(find_layout("3x4+II"))
    none = Landmarks((), (), seen.rows, seen.starts, seen.ends, seen.boundaries, (), seen.edges)
    assert matched(none).score < 0.1


def test_labels_of_another_layout_contradict():
    wrong = seen_of(find_layout("cabrera-3x4+II"))
    plain = matched(wrong, find_layout("3x4+II"))
    assert plain.layout.name == "3x4+II"
    assert plain.score < 0.6


def test_a_given_layout_of_another_number_of_rows_is_refused():
    assert match_layout(seen_of(find_layout("3x4")), find_layout("12x1")) is None
    assert match_layout(Landmarks((), (), (), *[np.zeros((0, 3))] * 3, (), (0.0, 50.0))) is None


def pulses(height: float, width: float = 1.0, probability: float = 0.8) -> list[Pulse]:
    return [Pulse(1.0, TOP + PITCH * row, height, width, probability) for row in range(3)]


def test_the_gain_is_that_of_the_pulse_or_else_as_printed():
    assert find_gain(pulses(2.05), []).value == 10
    assert find_gain(pulses(1.0), []).value == 5
    assert find_gain(pulses(3.95), []).value == 20
    assert find_gain(pulses(2.0), []).source == PULSE
    text = [keypoint("5 mm/mV", 10, 30)]
    assert (find_gain([], text).value, find_gain([], text).source) == (5, TEXT)
    assert find_gain([], []).source == ASSUMED
    assert not find_gain([], []).is_known
    assert find_gain(pulses(2.0), text).contradiction == "text 5 mm/mV"
    assert find_gain(pulses(1.4), []).source == ASSUMED  # neither 5 nor 10 mm
    assert find_gain(pulses(1.0, probability=0.3), []).source == ASSUMED
    assert find_gain(pulses(1.0), text, given=20.0).source == GIVEN


def test_the_speed_is_as_printed_or_by_the_width_of_the_leads_or_by_the_pulse():
    text = [keypoint("50 mm/s", 10, 30)]
    assert (find_speed([], text, 25.0, 2).value, find_speed([], text, 25.0, 2).source) == (50, TEXT)
    assert find_speed([], [], 12.5, 4).source == COLUMNS
    assert find_speed(pulses(2.0, 2.0), [], 25.0, 2).value == 50
    assert find_speed(pulses(2.0, 0.5), [], 25.0, 2).source == ASSUMED  # a narrow pulse at 25, or 12.5 mm/s
    assert find_speed([], text, 12.5, 4).contradiction == "width of the leads 25 mm/s"
    assert find_speed([], text, 12.5, 4, given=25.0).is_known


def test_strips_are_named_by_their_traces():
    rng = np.random.default_rng(0)
    leads = {lead: rng.normal(0, 1, 1000).cumsum() for lead in find_layout("12x1").longest}
    layout = find_layout("3x4+V1+II")
    rows = np.empty((5, 1000))
    for segment in layout.segments:
        rows[segment.row, segment.span(1000)] = leads[segment.lead][segment.span(1000)]
    right = (StripName("V1", True), StripName("II", True))
    assert name_strips(rows, layout, (True, True)) == right
    mistaken = find_layout("3x4+V3+II")
    assert name_strips(rows, mistaken, (False, True)) == right
    assert name_strips(rows, mistaken, (True, True)) == right  # no two leads are so alike
    less_alike = rows.copy()
    less_alike[3] += rng.normal(0, 0.2 * rows[3].std(), 1000)
    assert name_strips(less_alike, mistaken, (True, True))[0] == StripName("V3", False, "V1")
    rows[3] = rng.normal(0, 1, 1000).cumsum()
    assert [strip.is_confirmed for strip in name_strips(rows, layout, (True, True))] == [False, True]


def test_a_label_of_a_row_that_is_not_seen_is_told():
    layout = find_layout("3x4+V1+II")
    seen = seen_of(layout, offset=-1.0)
    assert stray_row_label(seen, matched(seen)) == ""
    without_last = replace(seen, rows=seen.rows[:-1])
    assert stray_row_label(without_last, matched(without_last)) == "II"


def test_a_whole_row_at_the_bottom_is_not_left_out_because_its_label_is_not_read():
    layout = find_layout("3x4+II")
    seen = seen_of(layout, offset=-1.0)
    unread = replace(seen, labels=seen.labels[:-1])
    assert seen.labels[-1].name == "II"
    assert matched(unread).layout.name == "3x4+II"
    assert matched(unread).strip_labels == (0.0,)


@pytest.mark.parametrize("name", ["3x4", "3x4+II", "6x2+II", "12x1"])
def test_rows_begin_where_a_few_of_them_do_though_the_beginnings_of_most_are_not_seen(name):
    seen = seen_of(find_layout(name))
    late = [
        replace(row, first=row.first + 3 + index) if index % 3 else row for index, row in enumerate(seen.rows)
    ]
    found = matched(replace(seen, rows=tuple(late), starts=seen.starts[::3]))
    assert found.start == pytest.approx(START, abs=0.3)
    assert found.width == pytest.approx(50, abs=0.1)
