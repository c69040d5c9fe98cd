"""Drawn pages of any layout: labels, grid points and rows lie where the image shows them."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from configs.layouts import Layout, find_layout
from configs.page import IMAGE_TYPES, LEADS, SQUARE_MM
from data_preparation import synthesize_layouts
from digitization.record_files import write_wfdb
from synthesis.layouts.capture import capture_layout
from synthesis.layouts.page import LayoutPage, draw_layout_page
from synthesis.signals import Record
from utils.images import read_rgb

FS = 250
NAMES = ("3x4", "3x4+II", "3x4+V1+II+V5", "6x2", "6x2+II", "12x1", "6x1-limb", "6x1-chest", "cabrera-12x1")


def stepped_record() -> Record:
    """Each lead flat at a height of its own, 0.03 mV times its number, so that a row's ink tells its lead."""
    leads = 0.03 * np.arange(len(LEADS))[:, None] * np.ones((len(LEADS), 10 * FS), np.float32)
    return Record("steps", leads.astype(np.float32), FS)


def drawn_dark(layout: Layout, seed: int) -> LayoutPage:
    """A drawn page with dark ink on light paper: those that are light on dark are turned round."""
    page = draw_layout_page(stepped_record(), layout, np.random.default_rng(seed))
    return replace(page, image=255 - page.image) if np.median(page.image) < 110 else page


def darkest_rows(image: np.ndarray, x: float, around: float, reach: int) -> float:
    """The y px of the darkest pixel in a column, within some px of a place."""
    low = max(round(around) - reach, 0)
    column = image[low : round(around) + reach + 1, round(x)].astype(int).sum(axis=1)
    dark = column == column.min()
    return low + float(np.flatnonzero(dark).mean())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("changes", [{}, {"mm_per_second": 50.0, "duration_s": 5.0}, {"mm_per_mv": 20.0}])
def test_each_lead_is_printed_in_its_row_and_column_at_its_height(name, changes):
    layout = find_layout(name, **changes)
    found = 0
    for seed in range(3):
        page = drawn_dark(layout, seed)
        square = float(page.gridpoint_xy[0, 1, 0] - page.gridpoint_xy[0, 0, 0])
        left, top = page.gridpoint_xy[0, 0].astype(float)
        for segment in layout.segments:
            middle = (segment.column + 0.6) / segment.columns * layout.duration_s * layout.mm_per_second
            x = left + square * (page.start + middle / SQUARE_MM)
            height = segment.sign * 0.03 * LEADS.index(segment.lead) * layout.mm_per_mv / SQUARE_MM
            y = top + square * (page.zero_lines[segment.row] - height)
            found += abs(darkest_rows(page.image, x, y, 6) - y) <= 1.5
    assert found >= 0.9 * 3 * len(
        layout.segments
    )  # a label or a dark line of the grid may lie beside a trace


@pytest.mark.parametrize("name", ["3x4", "12x1", "6x1-chest"])
def test_grid_points_lie_on_the_crossings_of_dark_lines(name):
    for seed in range(4):
        page = drawn_dark(find_layout(name), seed)
        inner = page.gridpoint_xy[2:-2, 2:-2].reshape(-1, 2)
        square = float(page.gridpoint_xy[0, 1, 0] - page.gridpoint_xy[0, 0, 0])
        off = inner + square / 2 + 2  # in the middle of a square, beside its 1 mm lines
        dark, light = (
            page.image[y, x].sum(axis=1).mean() for x, y in (np.round(p).astype(int).T for p in (inner, off))
        )
        assert dark < light


@pytest.mark.parametrize("image_type", IMAGE_TYPES)
def test_labels_of_a_capture_are_those_of_its_orientation_and_crop(image_type):
    page = draw_layout_page(stepped_record(), find_layout("6x2"), np.random.default_rng(1))
    upright = capture_layout(page, image_type, np.random.default_rng(5), orientation=0, crop=True)
    rotated = capture_layout(page, image_type, np.random.default_rng(5), orientation=1, crop=True)
    height, width = upright.image.shape[:2]
    assert rotated.image.shape[:2] == (width, height)
    flat = upright.gridpoint_xy.reshape(-1, 2)
    expected = np.stack([flat[:, 1], width - 1 - flat[:, 0]], axis=1)
    np.testing.assert_allclose(rotated.gridpoint_xy.reshape(-1, 2), expected, atol=0.01)
    inside = [(0 <= x < width) and (0 <= y < height) for _, x, y in upright.labels]
    assert len(inside) == 12
    assert np.mean(inside) > 0.4  # a tight crop may cut labels off
    assert [name for name, *_ in upright.labels] == [name for name, *_ in page.labels]


def test_a_crop_shows_all_rows_and_less_of_the_sheet():
    page = draw_layout_page(stepped_record(), find_layout("3x4+II"), np.random.default_rng(2))
    whole = capture_layout(page, "0001", np.random.default_rng(3), orientation=0, crop=False)
    cropped = capture_layout(page, "0001", np.random.default_rng(3), orientation=0, crop=True)
    assert cropped.image.size < whole.image.size
    moved = whole.gridpoint_xy[0, 0] - cropped.gridpoint_xy[0, 0]
    x, y = np.round(moved).astype(int)
    height, width = cropped.image.shape[:2]
    np.testing.assert_array_equal(cropped.image, whole.image[y : y + height, x : x + width])
    square = float(cropped.gridpoint_xy[0, 1, 0] - cropped.gridpoint_xy[0, 0, 0])
    rows = cropped.gridpoint_xy[0, 0, 1] + square * cropped.zero_lines
    assert (rows > 0).all()
    assert (rows < height).all()


def test_a_page_that_cannot_be_printed_is_refused():
    with pytest.raises(ValueError, match="longer than record steps"):
        draw_layout_page(stepped_record(), find_layout("3x4", duration_s=12.0), np.random.default_rng(0))
    wide = replace(find_layout("12x1"), mm_per_second=100.0)
    with pytest.raises(ValueError, match="fit on no sheet"):
        draw_layout_page(stepped_record(), wide, np.random.default_rng(0))
    page = draw_layout_page(stepped_record(), find_layout("3x4"), np.random.default_rng(0))
    with pytest.raises(ValueError, match="image type"):
        capture_layout(page, "0002", np.random.default_rng(0))


@pytest.mark.slow
def test_pages_of_layouts_are_written_with_their_labels(tmp_path, monkeypatch):
    write_wfdb(tmp_path / "one", stepped_record().leads, stepped_record().fs)
    where = ["--records", str(tmp_path), "--out", str(tmp_path / "out")]
    options = ["--layouts", "6x2", "12x1:50", "--count", "1", "--types", "0001"]
    monkeypatch.setattr("sys.argv", ["synthesize_layouts.py", *where, *options])
    synthesize_layouts.main()
    for name, seconds, rows in (("6x2-25-10", 10, 6), ("12x1-50-10", 5, 12)):
        image = tmp_path / "out" / f"{name}-one-0001.png"
        height, width = read_rgb(image).shape[:2]
        signals = pd.read_csv(image.with_suffix(".csv"))
        assert len(signals) == seconds * stepped_record().fs
        with np.load(image.with_suffix(".labels.npz")) as labels:
            assert len(labels["zero_lines"]) == rows
            assert len(labels["label_names"]) == len(labels["label_xy"]) == 12
            middle = labels["gridpoint_xy"].reshape(-1, 2).mean(axis=0)
            assert 0 < middle[0] < max(width, height)
