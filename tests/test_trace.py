import numpy as np
import pytest

from configs.layouts import COMPETITION_ROWS, mask_unprinted, rows_from_leads
from configs.page import MASK_HEIGHT, MASK_WIDTH, RECTIFIED, SAMPLING_RATES
from data_preparation.generate_masks import generate_masks, mask_path
from datasets.competition import record_path
from digitization.record_files import write_record
from digitization.signal.traces import (
    columns_from_rows,
    draw_traces,
    read_traces,
    rows_from_columns,
)
from synthesis.signals import find_records, read_record, resample
from tests.shared import SHARED, needs_shared
from utils.kaggle_metric import to_db


def heartbeats(fs: int, seed: int = 0) -> np.ndarray:
    """(4, 10 * fs) mV of narrow beats on a wandering line, another one in each quarter."""
    rng = np.random.default_rng(seed)
    time = np.arange(10 * fs) / fs
    rows = np.empty((4, len(time)))
    for row in rows:
        beats = np.arange(rng.uniform(0, 0.8), 10, 0.8)
        row[:] = sum(np.exp(-(((time - beat) / 0.012) ** 2)) for beat in beats)
        row += 0.1 * np.sin(2 * np.pi * 0.3 * time)
    for start, stop in COMPETITION_ROWS.spans(len(time))[0]:
        rows[:3, start:stop] += rng.normal(0, 0.3, (3, 1))
    return rows.astype(np.float32)


def decibels(truth: np.ndarray, read: np.ndarray) -> float:
    return float(to_db((truth**2).sum() / ((truth - read) ** 2).sum()))


@pytest.mark.parametrize("fs", SAMPLING_RATES)
def test_columns_and_masks_read_back_as_the_signal(fs):
    rows = heartbeats(fs)
    assert decibels(rows, rows_from_columns(columns_from_rows(rows), 10 * fs)) > 45
    assert decibels(rows, read_traces(draw_traces(rows), fs)) > 40


@needs_shared
@pytest.mark.parametrize("fs", SAMPLING_RATES)
def test_masks_of_real_records_read_back_above_36_db(fs):
    ratios = []
    for path in find_records(SHARED / "ecg")[::200]:
        record = read_record(path)
        rows = rows_from_leads(resample(record.leads, record.fs, fs))
        ratios.append((rows**2).sum() / ((rows - read_traces(draw_traces(rows), fs)) ** 2).sum())
    assert to_db(np.mean(ratios)) > 36


def test_a_millivolt_has_its_height_and_a_second_its_width():
    time = np.arange(5000) / 500
    y = columns_from_rows(np.tile(0.1 * time, (4, 1)))
    x = np.arange(RECTIFIED.width)
    on_paper = (x >= RECTIFIED.signal_start) & (x < RECTIFIED.signal_stop)
    np.testing.assert_array_equal(np.isfinite(y), np.tile(on_paper, (4, 1)))
    seconds = (x[on_paper] - RECTIFIED.signal_start) / RECTIFIED.px_per_second
    for row, zero_line in enumerate(RECTIFIED.zero_lines):
        expected = zero_line - 0.1 * seconds * RECTIFIED.px_per_mv
        np.testing.assert_allclose(y[row, on_paper], expected, atol=0.01)


@pytest.mark.parametrize("fs", SAMPLING_RATES)
def test_nothing_leaks_over_the_seams(fs):
    rows = np.zeros((4, 10 * fs), np.float32)
    for quarter, (start, stop) in enumerate(COMPETITION_ROWS.spans(10 * fs)[0]):
        rows[:3, start:stop] = quarter
    y = columns_from_rows(rows)
    levels = (RECTIFIED.zero_lines[0] - y[0, np.isfinite(y[0])]) / RECTIFIED.px_per_mv
    np.testing.assert_allclose(levels, np.round(levels), atol=1e-4)
    np.testing.assert_allclose(rows_from_columns(y, 10 * fs), rows, atol=1e-4)


def test_a_mask_covers_two_pixels_with_its_centroid_at_the_exact_height():
    rows = heartbeats(500)
    mask = draw_traces(rows)
    assert mask.shape == (MASK_HEIGHT, MASK_WIDTH, 4)
    assert mask.dtype == np.uint8
    y = columns_from_rows(rows)[:, :MASK_WIDTH]
    drawn = np.isfinite(y[0])
    weight = mask[..., 0].astype(float)
    np.testing.assert_array_equal(weight.any(axis=0), drawn)
    np.testing.assert_allclose(weight.sum(axis=0)[drawn] / 255, 2, atol=0.01)
    centroid = (np.arange(MASK_HEIGHT) @ weight)[drawn] / weight.sum(axis=0)[drawn]
    np.testing.assert_allclose(centroid, y[0, drawn], atol=0.01)


@pytest.mark.parametrize(("fs", "hz"), [(1000, 300), (1025, 390)])
def test_a_tone_that_columns_cannot_hold_leaves_no_other_tone(fs, hz):
    """The page has 393 columns a second, which hold up to 196 Hz: 300 Hz would come back as 93."""
    tone = np.tile(np.sin(2 * np.pi * hz * np.arange(10 * fs) / fs), (4, 1))
    y = columns_from_rows(tone)[3]
    inner = np.flatnonzero(np.isfinite(y))[200:-200]
    assert np.abs(y[inner] - RECTIFIED.zero_lines[3]).max() < 0.02 * RECTIFIED.px_per_mv


def test_a_tone_that_the_sampling_rate_cannot_hold_leaves_no_other_tone():
    tone = np.tile(np.sin(2 * np.pi * 170 * np.arange(10000) / 1000), (4, 1))
    read = rows_from_columns(columns_from_rows(tone), 2500)  # at 250 Hz, where it would be one of 80 Hz
    assert np.abs(read[3, 200:-200]).max() < 0.02


def test_an_empty_row_of_a_mask_is_refused():
    mask = draw_traces(heartbeats(250))
    mask[..., 2] = 0
    with pytest.raises(ValueError, match="row 3"):
        read_traces(mask, 250)


def test_masks_are_cached_small_and_failures_named(tmp_path):
    rng = np.random.default_rng(0)
    leads = np.cumsum(rng.normal(0, 0.02, (12, 2500)), axis=1)
    write_record(record_path(tmp_path, "11"), mask_unprinted(leads), 250)
    failures = generate_masks(tmp_path, ["11", "12"])
    assert list(failures) == ["12"]
    assert "12.csv" in failures["12"]
    path = mask_path(tmp_path, "11")
    assert path.stat().st_size < 300_000
    written = path.stat().st_mtime_ns
    assert not generate_masks(tmp_path, ["11"])
    assert path.stat().st_mtime_ns == written
    with np.load(path) as file:
        read = read_traces(file["mask"], 250)
    assert decibels(rows_from_leads(leads), read) > 36
