"""Printed speeds and gains: what is read on drawn pages, what texts say, what is done without a reader."""

import builtins

import numpy as np
import pytest

from configs.landmarks import KEYPOINTS
from configs.layouts import find_layout
from digitization.layout import printed_scales
from digitization.layout.landmarks import Keypoint
from digitization.layout.printed_scales import parse_scales, read_scales, search_scales
from digitization.layout.scales import ASSUMED, OTHER_TEXT, TEXT, find_gain, find_speed
from synthesis.layouts.page import LayoutPage, draw_layout_page
from tests.test_layout_pages import stepped_record


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("25mm/s 10mm/mV 0.05-150 Hz", ["25 mm/s", "10 mm/mV"]),
        ("Speed: 50 mm/sec", ["50 mm/s"]),
        ("12,5 mm/s", ["12.5 mm/s"]),
        ("Limb:10mm/mV Chest:5.0mm/mV", ["10 mm/mV", "5 mm/mV"]),
        ("25m/sec.", ["25 mm/s"]),
        ("10 mm/ml", ["10 mm/mV"]),
        ("110 mm/mV", []),
        ("5 mm/sec", []),  # the end of 12.5 or 25, cut off
        ("50 ms", []),
        ("QRS 92 ms, 25 Hz, 120/80 mmHg", []),
    ],
)
def test_texts_say_usual_speeds_and_gains_or_nothing(text, names):
    assert parse_scales(text) == names


def scaled_page() -> LayoutPage:
    """A drawn page with a speed of 50 mm/s and a gain of 5 mm/mV in print."""
    layout = find_layout("6x2", mm_per_second=50.0, duration_s=5.0, mm_per_mv=5.0)
    pages = (draw_layout_page(stepped_record(), layout, np.random.default_rng(seed)) for seed in range(20))
    return next(page for page in pages if len(page.scales) == 2)


def texts_of(page: LayoutPage) -> list[Keypoint]:
    nothing = np.zeros(len(KEYPOINTS), np.float32)
    places = [page.to_squares(np.array([x, y])) for _, x, y in page.scales]
    return [Keypoint(float(x), float(y), nothing) for x, y in places]


def test_speed_and_gain_of_a_drawn_page_are_read():
    pytest.importorskip("rapidocr", reason="RapidOCR is not installed")
    page = scaled_page()
    read = read_scales(page.image, page.gridpoint_xy, texts_of(page))
    assert read is not None
    assert (find_speed((), read, 50.0, 2).value, find_speed((), read, 50.0, 2).source) == (50.0, TEXT)
    assert find_gain((), read).value == 5.0
    everywhere = search_scales(page.image, float(np.diff(page.gridpoint_xy[0, :2, 0])[0]))
    assert (find_speed((), everywhere, 50.0, 2).value, find_gain((), everywhere).value) == (50.0, 5.0)
    elsewhere = [Keypoint(2.0, 30.0, texts_of(page)[0].probability)]
    assert find_gain((), read_scales(page.image, page.gridpoint_xy, elsewhere) or ()).source == ASSUMED


def test_without_the_reader_pages_are_read_and_a_warning_says_so_once(monkeypatch, caplog):
    original = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "rapidocr":
            raise ImportError("No module named 'rapidocr'")
        return original(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    printed_scales.engine.cache_clear()
    try:
        page = scaled_page()
        for _ in range(2):
            assert read_scales(page.image, page.gridpoint_xy, texts_of(page)) is None
            assert search_scales(page.image, 39.4) == ()
        assert len([record for record in caplog.records if "rapidocr" in record.message]) == 1
    finally:
        printed_scales.engine.cache_clear()


def test_texts_that_contradict_each_other_are_a_doubt():
    def text(name: str, score: float) -> Keypoint:
        probability = np.zeros(len(KEYPOINTS), np.float32)
        probability[KEYPOINTS.index(name)] = score
        return Keypoint(3.0, 40.0, probability)

    gain = find_gain((), [text("10 mm/mV", 0.97), text("5 mm/mV", 0.92)])
    assert (gain.value, gain.source, gain.is_known) == (10.0, TEXT, False)
    assert OTHER_TEXT in gain.contradiction
    assert find_gain((), [text("10 mm/mV", 0.97), text("5 mm/mV", 0.5)]).is_known
