"""Maps of stage 2 back to millivolts."""

import numpy as np
import pytest
import torch

from configs.layouts import rows_from_leads
from configs.page import LEADS, RECTIFIED
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, INPUT_WIDTH, STEEP_REACH, Stage2Config
from digitization.signal.beats import expected_traces, find_beats
from digitization.signal.decode import (
    bridge,
    decode_maps,
    decode_rows,
    merge_confidence,
    merge_traces,
    rows_from_traces,
    signal_columns,
)
from digitization.signal.path import MAX_COLUMN_COST, find_path, track
from digitization.signal.quality import find_gaps, imputed_at, rate_leads
from digitization.signal.traces import columns_from_rows, rows_from_columns
from synthesis.signals import LEAD_TRANSFORM
from training.losses import local_range

ROW_STRIDE = 4


def beats(fs: int, amplitude: float = 1.0) -> np.ndarray:
    """(12, 10 fs) mV: a narrow R wave and a broad T wave each second, scaled by lead as a heart would."""
    t = np.arange(10 * fs) / fs
    phase = t % 1.0
    beat = np.exp(-(((phase - 0.3) / 0.012) ** 2)) + 0.25 * np.exp(-(((phase - 0.6) / 0.05) ** 2))
    scale = LEAD_TRANSFORM @ np.linspace(0.4, 1.2, LEAD_TRANSFORM.shape[1])
    return (scale[:, None] * amplitude * beat).astype(np.float32)


def perfect_maps(rows: np.ndarray, sharpness: float | np.ndarray = 0.8) -> torch.Tensor:
    """(4, L) mV to the logits (4, H, W) of a network that knows the answer; sharpness in bins, (4, 1, W)."""
    y = columns_from_rows(rows)[:, :INPUT_WIDTH] - CROP_TOP
    centre = (np.nan_to_num(y, nan=INPUT_HEIGHT / 2) + 0.5) / ROW_STRIDE - 0.5
    bins = np.arange(INPUT_HEIGHT // ROW_STRIDE)[:, None]
    return torch.from_numpy(-((bins - centre[:, None]) ** 2) / (2 * sharpness**2)).float()


def snr(truth: np.ndarray, found: np.ndarray) -> float:
    return 10 * np.log10((truth**2).sum() / ((truth - found) ** 2).sum())


@pytest.mark.parametrize("sigma", [0.8, 2.0, 4.0])
def test_maps_as_wide_as_a_network_was_trained_to_make_them_are_trusted(sigma):
    """Confidence heeds the network's own target, not that of the shipped one."""
    maps = perfect_maps(rows_from_leads(beats(500)), sharpness=sigma)
    inside = signal_columns()
    confidence = decode_maps(maps, ROW_STRIDE, Stage2Config(target_sigma=sigma))[1][:, inside]
    assert np.median(confidence) > 0.9
    if sigma > 0.8:
        assert np.median(decode_maps(maps, ROW_STRIDE)[1][:, inside]) < 0.5


def test_maps_of_single_pixels_are_read_too():
    """A network trained with loss="bce" gives each pixel a probability of its own; empty columns stay so."""
    rows = rows_from_leads(beats(500))
    pixels = perfect_maps(rows).exp().clamp(1e-4, 1 - 1e-4)
    pixels[:, :, 2000:2100] = 1e-4
    config = Stage2Config(loss="bce")
    found, confidence = decode_rows(pixels.logit(), ROW_STRIDE, 5000, config)
    assert snr(rows, found) > 20
    assert confidence[:, 2010:2090].max() < 0.1
    assert np.median(confidence[:, signal_columns()]) > 0.8


@pytest.mark.parametrize("fs", [250, 500, 1025])
def test_perfect_maps_decode_to_the_signal(fs):
    rows = rows_from_leads(beats(fs))
    found, confidence = decode_rows(perfect_maps(rows), ROW_STRIDE, 10 * fs)
    assert found.shape == rows.shape
    assert snr(rows, found) > 30
    assert confidence.min() >= 0
    assert confidence.max() <= 1


def learnt_maps(rows: np.ndarray) -> torch.Tensor:
    """(4, L) mV to the logits (4, H, W) of a network that answers with training's own target."""
    y = torch.from_numpy(columns_from_rows(rows)[:, :INPUT_WIDTH]) / ROW_STRIDE
    slope = local_range(y[None], STEEP_REACH)[0] / (2 * STEEP_REACH)
    sigma = (Stage2Config.target_sigma**2 + (Stage2Config.slope_sigma * slope) ** 2).sqrt()
    return perfect_maps(rows, sigma[:, None].numpy())


@pytest.mark.parametrize("amplitude", [1.0, 3.4])
def test_tall_peaks_read_as_they_are_learnt_are_sure(amplitude):
    _, confidence = decode_rows(learnt_maps(rows_from_leads(beats(500, amplitude))), ROW_STRIDE, 5000)
    assert confidence[confidence > 0].min() > 0.97


def test_a_blot_beside_the_trace_does_not_pull_it_away():
    rows = rows_from_leads(beats(500))
    maps = perfect_maps(rows)
    clean, _ = decode_rows(maps, ROW_STRIDE, 5000)
    maps[1, 20:26, 1000:1012] = 2.0  # brighter than the trace, far above it
    blotted, _ = decode_rows(maps, ROW_STRIDE, 5000)
    assert np.abs(blotted - clean).max() < 0.1


def test_the_path_follows_the_cheapest_way():
    cost = np.full((1, 9, 30), 5.0, np.float32)
    truth = np.round(4 + 3 * np.sin(np.arange(30) / 5)).astype(int)
    cost[0, truth, np.arange(30)] = 0
    np.testing.assert_array_equal(track(cost)[0], truth)


@pytest.mark.parametrize("columns", [1, 4, 14])
@pytest.mark.parametrize("first", [0, 300, 586])
def test_where_the_likeliest_heights_leap_the_path_is_that_of_all_columns_tracked(first, columns):
    rng = np.random.default_rng(columns)
    bins = np.arange(336)[:, None]
    truth = 200 + 40 * np.sin(np.arange(600) / 30)
    logits = np.maximum(-0.5 * (bins - truth) ** 2, -9)[None] + rng.normal(0, 0.1, (1, 336, 600))
    logits[0, 30:34, first : first + columns] = 3.0  # a blot, brighter than the trace
    log_probability = torch.log_softmax(torch.from_numpy(logits), dim=1).float().numpy()
    starts = np.zeros((1, 600), bool)
    starts[0, 450] = True
    path = find_path(log_probability, starts)
    tracked = track(np.minimum(-log_probability, MAX_COLUMN_COST), starts)
    assert np.abs(path - tracked).max() <= 2
    assert np.abs(log_probability.argmax(axis=1) - truth).max() > 100
    assert columns == 14 or np.abs(path - truth).max() < 5


def covered(maps: torch.Tensor, row: int, second: float, columns: int, share: float) -> torch.Tensor:
    """The maps with `share` of the probability of some columns of a row on a blot far above its trace."""
    probability = torch.softmax(maps, dim=1)
    first = round(RECTIFIED.signal_start + second * RECTIFIED.px_per_second) - columns // 2
    probability[row, :, first : first + columns] *= 1 - share
    probability[row, 20:24, first : first + columns] += share / 4
    return torch.log(probability + 1e-12)


def test_what_a_blot_hides_of_a_steep_flank_is_bridged_along_it():
    """20 ms of an upstroke of 17 mV/s, without the help of other beats; a path alone would leave a step."""
    seconds = np.arange(5000) / 500
    flanks = np.interp(seconds % 1, [0, 0.3, 0.36, 0.42, 1], [0, 0, 1, 0, 0])
    rows = np.tile(flanks, (4, 1)).astype(np.float32)
    maps = covered(perfect_maps(rows), 3, second=4.33, columns=8, share=1)
    found = rows_from_traces(decode_maps(maps, ROW_STRIDE, impute=False).y, 5000)
    assert np.abs(found - rows)[3].max() < 0.03


def test_a_qrs_of_which_a_tenth_shows_beside_a_blot_is_read_and_not_cut_off():
    rows = rows_from_leads(beats(500))
    maps = covered(perfect_maps(rows), 3, second=4.3, columns=8, share=0.88)
    found = rows_from_traces(decode_maps(maps, ROW_STRIDE, impute=False).y, 5000)
    assert rows[3].max() > 0.5
    assert np.abs(found - rows)[3].max() < 0.05


@pytest.mark.parametrize("millivolts", [4.0, 6.0])
def test_the_path_climbs_to_the_top_of_the_tallest_and_narrowest_r_waves(millivolts):
    """As tall as R waves are in children and in hypertrophy, and 12 ms wide at half their height."""
    seconds = np.arange(5000) / 500
    rows = np.zeros((4, 5000), np.float32)
    rows[3] = millivolts * np.exp(-((((seconds % 1) - 0.5) / 0.007) ** 2))
    found = rows_from_traces(decode_maps(perfect_maps(rows), ROW_STRIDE, impute=False).y, 5000)
    held = rows_from_columns(columns_from_rows(rows), 5000)
    assert np.abs(found - held).max() < 0.05


def test_gaps_are_bridged_between_their_shores():
    y = np.linspace(0, 10, 50)[None].copy()
    sure = np.ones((1, 50), bool)
    sure[0, 20:30] = False
    damaged = np.where(sure, y, 99.0)
    np.testing.assert_allclose(bridge(damaged, sure), y, atol=1e-9)


def hide(maps: torch.Tensor, row: int, start_s: float, stop_s: float) -> None:
    """Take away what the maps know of a row's height between two times, in place."""
    first, last = (round(RECTIFIED.signal_start + t * RECTIFIED.px_per_second) for t in (start_s, stop_s))
    maps[row, :, first:last] = 0.0


def test_beats_are_found_in_all_rows_together():
    y = columns_from_rows(rows_from_leads(beats(500)))
    y = y[:, np.isfinite(y).all(axis=0)]
    expected = (np.arange(10) + 0.3) * RECTIFIED.px_per_second
    np.testing.assert_allclose(find_beats(y), expected, atol=4)


def test_a_hidden_qrs_is_taken_from_the_other_beats():
    rows = rows_from_leads(beats(500))
    maps = perfect_maps(rows)
    hide(maps, 3, 4.22, 4.38)  # a QRS of the rhythm strip
    hide(maps, 0, 6.22, 6.38)  # and one of V1
    found, confidence = decode_rows(maps, ROW_STRIDE, 5000)
    assert rows[3, 2110:2190].max() > 0.5
    np.testing.assert_allclose(found[3], rows[3], atol=0.1 * rows[3].max())
    np.testing.assert_allclose(found[0, 2500:3750], rows[0, 2500:3750], atol=0.1 * np.abs(rows[0]).max())
    hidden = round(RECTIFIED.signal_start + 4.3 * RECTIFIED.px_per_second)
    assert confidence[3, hidden] < 0.1  # what was not seen is still called so


def test_what_is_taken_from_other_beats_is_told_and_can_be_left_out():
    """Lead II's strip hides one beat: its samples alone are imputed, and without leave none is invented."""
    rows = rows_from_leads(beats(500))
    maps = perfect_maps(rows)
    hidden = slice(*(int(RECTIFIED.signal_start + s * RECTIFIED.px_per_second) for s in (4.25, 4.37)))
    maps[3, :, hidden] = 0
    imputed = imputed_at(decode_maps(maps, ROW_STRIDE).imputed, 5000)
    expected = np.zeros_like(imputed)
    expected[LEADS.index("II"), 2125:2185] = True
    assert (imputed & ~expected).sum() <= 4, "a column on either side"
    assert (imputed & expected).sum() > 50
    plain = decode_maps(maps, ROW_STRIDE, impute=False)
    assert not plain.imputed.any()
    assert np.isfinite(plain.y[:, signal_columns()]).all()
    bridged = rows_from_traces(plain.y, 5000)[3, 2125:2185]
    assert np.ptp(bridged) < 0.3 * np.ptp(rows[3, 2125:2185])


def test_hidden_qrs_complexes_stand_on_the_zero_line_that_wanders_there():
    """A breath of 2 s moves the zero line by 0.3 mV; every second QRS of the rhythm strip is hidden."""
    wander = 0.3 * np.sin(2 * np.pi * 0.5 * np.arange(5000) / 500)
    rows = rows_from_leads(beats(500)) + wander.astype(np.float32)
    maps = perfect_maps(rows)
    for second in (2, 4, 6, 8):
        hide(maps, 3, second + 0.22, second + 0.38)
    found = rows_from_traces(decode_maps(maps, ROW_STRIDE).y, 5000)
    assert np.abs(found - rows)[3].max() < 0.15


def test_a_beat_of_its_own_kind_stays_as_it_was_seen():
    leads = beats(500)
    leads[:, 2000:2500] = -1.5 * leads[:, 2000:2500]
    rows = rows_from_leads(leads)
    found, _ = decode_rows(perfect_maps(rows), ROW_STRIDE, 5000)
    assert snr(rows[:, 2000:2500], found[:, 2000:2500]) > 30


def test_a_pause_gets_no_beat_of_others():
    t = np.arange(5000) / 500
    times = np.concatenate([0.3 + 0.6 * np.arange(12), [8.5, 9.1, 9.7]])  # none is at 7.5
    leads = np.ones((12, 1)) * np.exp(-(((t - times[:, None]) / 0.012) ** 2)).sum(axis=0)
    rows = rows_from_leads(leads.astype(np.float32))
    maps = perfect_maps(rows)
    hide(maps, 2, 7.42, 7.58)
    found, _ = decode_rows(maps, ROW_STRIDE, 5000)
    assert np.abs(found[2, 3700:3800]).max() < 0.1


@pytest.mark.parametrize("amplitude", [1.0, 3.5])
def test_a_hidden_qrs_may_be_taller_than_the_centroid_reaches(amplitude):
    rows = rows_from_leads(beats(500, amplitude))
    maps = perfect_maps(rows)
    hide(maps, 1, 8.22, 8.38)
    found, _ = decode_rows(maps, ROW_STRIDE, 5000)
    np.testing.assert_allclose(found[1, 3800:4950], rows[1, 3800:4950], atol=0.1 * np.abs(rows[1]).max())


def test_a_single_beat_tells_nothing():
    leads = beats(500)
    leads[:, 500:] = 0
    y = columns_from_rows(rows_from_leads(leads))
    y = y[:, np.isfinite(y).all(axis=0)]
    _, variance = expected_traces(y, np.ones_like(y), np.zeros(y.shape, bool))
    assert np.isinf(variance).all()


def test_leads_of_a_row_are_read_apart_at_any_jump_between_them():
    leads = np.zeros((12, 5000), np.float32)
    leads[LEADS.index("aVR")] = 3.0  # between I and V1 in the first row, at zero
    rows = rows_from_leads(leads)
    maps = perfect_maps(rows)
    maps[0, :, 1205:1215] *= 0.02  # hardly any evidence about the seam
    found, _ = decode_rows(maps, ROW_STRIDE, 5000)
    np.testing.assert_allclose(found[0, :1240], 0.0, atol=0.05)
    np.testing.assert_allclose(found[0, 1260:2490], 3.0, atol=0.05)


def test_a_gap_at_the_end_of_a_lead_is_not_bridged_from_the_next():
    y = np.array([[5.0, 5, 5, 0, 9, 9, 9, 9]])
    sure = np.array([[True, True, True, False, True, True, True, True]])
    starts = np.zeros(y.shape, bool)
    starts[0, 4] = True
    assert bridge(y, sure, starts)[0, 3] == 5
    assert 5 < bridge(y, sure)[0, 3] < 9


def at_end(columns: int, end: int) -> slice:
    """The first (end 0) or the last (end -1) columns of the signal."""
    inside = signal_columns()
    return (
        slice(inside.start, inside.start + columns) if end == 0 else slice(inside.stop - columns, inside.stop)
    )


@pytest.mark.parametrize("sure", [True, False])
def test_a_calibration_pulse_at_the_start_leaves_no_spike(sure):
    rows = rows_from_leads(beats(500))
    maps = perfect_maps(rows)
    pulse = perfect_maps(np.full_like(rows, 1.0))  # the standard pulse of 1 mV
    top, edge = at_end(2, 0), at_end(5, 0)
    maps[:, :, edge] = 0.01 * (maps + pulse)[:, :, edge]  # the falling edge
    maps[:, :, top] = (1 if sure else 0.01) * pulse[:, :, top]
    found, confidence = decode_rows(maps, ROW_STRIDE, 5000)
    assert np.abs(found - rows)[:, :20].max() < 0.05
    assert confidence[:, edge].max() == 0


@pytest.mark.parametrize("leap", [0.3, 0.8])
def test_ink_beside_the_end_of_a_row_is_not_leapt_to(leap):
    rows = rows_from_leads(beats(500))
    maps = perfect_maps(rows)
    maps[:, :, at_end(5, -1)] = 0.01 * perfect_maps(rows + leap)[:, :, at_end(5, -1)]
    found, _ = decode_rows(maps, ROW_STRIDE, 5000)
    assert np.abs(found - rows)[:, -20:].max() < 0.05


def test_a_row_that_begins_high_but_below_the_pulses_top_keeps_its_beginning():
    """It begins inside an R wave, at 0.7 mV, and one column of its fall is hardly seen."""
    rows = np.tile(0.7 * np.exp(-((np.arange(5000) / 500 / 0.01) ** 2)), (4, 1)).astype(np.float32)
    maps = perfect_maps(rows)
    maps[:, :, signal_columns().start + 2] *= 0.01
    found = rows_from_traces(decode_maps(maps, ROW_STRIDE, impute=False).y, 5000)
    np.testing.assert_allclose(found[:, :20], rows[:, :20], atol=0.05)


@pytest.mark.parametrize("start", [0.02, 0.03, 9.97, 9.98])
def test_a_row_that_begins_or_ends_inside_a_qrs_is_read_to_its_end(start):
    seconds = np.arange(5000) / 500
    leads = np.outer(LEAD_TRANSFORM @ np.linspace(0.8, 1.6, 8), np.exp(-(((seconds - start) / 0.012) ** 2)))
    rows = rows_from_leads(leads.astype(np.float32))
    found, _ = decode_rows(perfect_maps(rows), ROW_STRIDE, 5000)
    reached = np.abs(found - rows)[:, : 20 if start < 5 else None][:, -20:]
    assert reached.max() < 0.1
    assert np.ptp(rows[:, :20] if start < 5 else rows[:, -20:], axis=1).max() > 0.8


def spiky(height: float) -> tuple[np.ndarray, np.ndarray]:
    """Leads (12, 5000) mV with a pacing spike of one sample each 0.77 s, and these alone."""
    spikes = np.zeros((12, 5000), np.float32)
    spikes[:, 175::385] = height * (LEAD_TRANSFORM @ [1, 0.8, -0.5, 1, 0.7, -1, 1, 1])[:, None]
    return beats(500) + spikes, spikes


@pytest.mark.parametrize("height", [0.5, 1.0, 2.0, 4.0, 5.0])
@pytest.mark.parametrize("stray", [0.0, 0.08])
def test_pacing_spikes_come_out_as_tall_as_columns_hold_them(height, stray):
    leads, spikes = spiky(height)
    rows, without = rows_from_leads(leads), rows_from_leads(leads - spikes)
    share = torch.softmax(learnt_maps(rows), dim=1)
    smooth = torch.softmax(learnt_maps(without), dim=1)  # where the trace would go on without them
    maps = torch.log((1 - stray) * share + stray * smooth + 1e-5)
    found, _ = decode_rows(maps, ROW_STRIDE, 5000)
    held = rows_from_columns(columns_from_rows(rows), 5000)
    tall = np.abs(rows - without) > 0.2
    assert tall.sum() > 20
    read, possible = ((part - without)[tall] / (rows - without)[tall] for part in (found, held))
    assert possible.min() > 0.7
    assert (read / possible).min() > 0.7
    assert snr(rows - without, found - without) > 0.8 * snr(rows - without, held - without)


def test_a_hole_lowers_its_leads_confidence_and_is_told_as_a_gap():
    maps = perfect_maps(rows_from_leads(beats(500)))
    first, per_second = RECTIFIED.signal_start, RECTIFIED.px_per_second
    hole = slice(round(first + 3.0 * per_second), round(first + 3.4 * per_second))
    maps[1, :, hole] = 0  # nothing known there: aVL, 2.5 to 5 s of the second row
    _, confidence = decode_rows(maps, ROW_STRIDE, 5000)
    rated = dict(zip(LEADS, rate_leads(confidence), strict=True))
    assert min(rated, key=rated.get) == "aVL"
    assert rated["aVL"] == pytest.approx(1 - 0.4 / 2.5, abs=0.03)
    assert rated["V5"] > 0.98
    gaps = find_gaps(confidence)
    assert list(gaps) == ["aVL"]
    assert gaps["aVL"][0] == pytest.approx((3.0, 3.4), abs=0.01)


def test_readings_are_merged_by_how_sure_they_are():
    y = np.array([10.0, 11.0, 50.0])[:, None, None] * np.ones((3, 4, 6))
    sure = np.array([1.0, 1.0, 0.1])[:, None, None] * np.ones((3, 4, 6))
    np.testing.assert_allclose(merge_traces(y, sure), (10 + 11 + 5) / 2.1)
    np.testing.assert_allclose(merge_traces(y, sure, "median"), 11.0)
    np.testing.assert_allclose(merge_traces(y[:2], sure[:2], "median"), 10.5)
    np.testing.assert_allclose(merge_traces(y[:2], np.array([1.0, 0.5])[:, None, None], "median"), 31 / 3)
    four = np.array([10.0, 50.0, 11.0, -20.0])[:, None, None] * np.ones((4, 4, 6))
    np.testing.assert_allclose(merge_traces(four, np.ones_like(four), "median"), 10.5)
    y[:, :, 0] = np.nan
    for method in ("mean", "median"):
        assert np.isnan(merge_traces(y, sure, method)[:, 0]).all()
    with pytest.raises(ValueError, match="mean or median"):
        merge_traces(y, sure, "mode")


def test_readings_that_contradict_each_other_are_unsure():
    px = 0.05 * RECTIFIED.px_per_mv
    y = np.array([500.0 - px, 500.0 + px])[:, None, None] * np.ones((2, 4, 9))
    y[:, :, 0] = np.nan
    y[1, :, 5] = y[0, :, 5]
    confidence = np.full_like(y, 0.9)
    merged = merge_traces(y, confidence)
    found = merge_confidence(y, confidence, merged)
    np.testing.assert_allclose(merge_confidence(y[:1], confidence[:1], y[0]), 0.9)  # alone: as it is
    np.testing.assert_allclose(found[:, 1], 0.45, atol=0.01)
    assert (found[:, 5] > 0.85).all()


def test_traces_above_the_amplifiers_range_and_across_their_neighbours_are_read():
    leads = beats(500, amplitude=3.4)  # up to 4.1 mV: the rows are 3.6 mV apart
    rows = rows_from_leads(leads)
    found, _ = decode_rows(perfect_maps(rows), ROW_STRIDE, 5000)
    assert rows.max() > 3.2
    assert snr(rows, found) > 25


def test_the_last_column_of_the_signal_is_read():
    rows = rows_from_leads(beats(500)) + np.linspace(0, 0.5, 5000, dtype=np.float32)
    found, _ = decode_rows(perfect_maps(rows), ROW_STRIDE, 5000)
    np.testing.assert_allclose(found[:, -5:], rows[:, -5:], atol=0.02)
