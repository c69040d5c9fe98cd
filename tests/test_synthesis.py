"""Synthetic pages carry exact labels: where the ink is, and where the grid is in the capture."""

import cv2
import numpy as np
import pytest
import wfdb

from configs.page import FLAT_TYPES, IMAGE_TYPES, LEADS, PAGE_PX_PER_MM, RHYTHM_LEAD, ROWS, ZERO_LINES_MM
from data_preparation.synthesize import find_sources, synthesize_folder
from datasets.competition import image_path, read_train_table, record_path
from datasets.competition import read_record as read_csv_record
from synthesis import synthesize
from synthesis.capture import capture, label_keypoints
from synthesis.ink import stroke
from synthesis.page import (
    MM_PER_MV,
    MM_PER_SECOND,
    PAGE_HEIGHT,
    PAGE_WIDTH,
    SQUARE_PX,
    TRACE_SHIFT_PX,
    Page,
    Style,
    calibration_pulse,
    dash_row_ends,
    draw_page,
    draw_traces,
    lattice,
    write_lead_labels,
)
from synthesis.signals import (
    CUT_QRS_S,
    LEAD_BOUNDARIES_S,
    LEAD_TRANSFORM,
    OVERLAP_MV,
    SPIKE_MV,
    Record,
    find_qrs,
    find_records,
    is_heldout,
    overlap_rows,
    pace,
    read_record,
    resample,
    shift_in_time,
    vary,
)

FS = 500
PX_PER_MV = MM_PER_MV * PAGE_PX_PER_MM


def made_up_record(seed: int = 0) -> Record:
    """A beat a second, of random shape in each lead."""
    rng = np.random.default_rng(seed)
    seconds = np.arange(10 * FS) / FS
    beat = np.exp(-(((seconds % 1 - 0.4) / 0.02) ** 2)) + 0.2 * np.exp(-(((seconds % 1 - 0.7) / 0.06) ** 2))
    independent = rng.uniform(-1.5, 1.5, (8, 1)) * beat
    return Record("made_up", (LEAD_TRANSFORM @ independent).astype(np.float32), FS)


def write_wfdb(folder, leads, fs=FS, names=LEADS):
    wfdb.wrsamp(
        "record", fs=fs, units=["mV"] * len(names), sig_name=list(names), write_dir=str(folder),
        p_signal=leads.T.astype(np.float64), fmt=["16"] * len(names), adc_gain=[1000.0] * len(names),
        baseline=[0] * len(names),
    )  # fmt: skip
    return folder / "record.hea"


@pytest.mark.parametrize("slope", [0.0, 0.3, -3.0])
def test_a_stroke_lies_where_its_points_are(slope):
    coverage = np.zeros((200, 60), np.float32)
    x = np.linspace(5, 55, 300)
    stroke(coverage, np.stack([x, 100.37 + slope * (x - 30)], axis=1), width=2.08)
    columns = np.arange(15, 46)
    ink = coverage[:, columns]
    centroid = (ink * np.arange(200)[:, None]).sum(axis=0) / ink.sum(axis=0)
    np.testing.assert_allclose(centroid, 100.37 + slope * (columns - 30), atol=0.1)
    np.testing.assert_allclose(ink.sum(axis=0), 2.08 * np.hypot(1, slope), rtol=0.05)


def test_flat_traces_lie_at_their_millivolts():
    levels = np.random.default_rng(1).uniform(-0.6, 0.6, (len(LEADS), 1)).astype(np.float32)
    leads = np.repeat(levels, 10 * FS, axis=1)
    page = draw_page(Record("flat", leads, FS), np.random.default_rng(0), "0001")
    empty = draw_page(Record("flat", leads + 100, FS), np.random.default_rng(0), "0001")  # beyond the paper
    ink = (empty.image[..., 0].astype(float) - page.image[..., 0]).clip(0)  # the grid is all red
    start = page.gridpoint_xy[0, 3, 0]
    for row, names in enumerate((*ROWS, (RHYTHM_LEAD,))):
        for column, lead in enumerate(names):
            level = levels[LEADS.index(lead), 0]
            y = ZERO_LINES_MM[row] * PAGE_PX_PER_MM + TRACE_SHIFT_PX - level * PX_PER_MV
            left = round(float(start + column * 2.5 * MM_PER_SECOND * PAGE_PX_PER_MM)) + 150
            rows = np.arange(round(float(y)) - 6, round(float(y)) + 7)
            window = ink[rows, left : left + 200].sum(axis=1)
            assert (window * rows).sum() / window.sum() == pytest.approx(y, abs=0.1)


def test_a_step_is_drawn_at_its_time():
    step = np.where(np.arange(10 * FS) < 4321, -0.3, 0.3).astype(np.float32)
    page = draw_page(Record("step", np.tile(step, (12, 1)), FS), np.random.default_rng(2), "0001")
    x = page.gridpoint_xy[0, 3, 0] + TRACE_SHIFT_PX + 4320.5 / FS * MM_PER_SECOND * PAGE_PX_PER_MM
    y = round(ZERO_LINES_MM[3] * PAGE_PX_PER_MM) - 9  # between the grid's lines
    columns = np.arange(round(float(x)) - 8, round(float(x)) + 9)
    ink = 255.0 - page.image[y, columns].max(axis=1)
    assert (ink * columns).sum() / ink.sum() == pytest.approx(x, abs=0.15)


def test_pages_without_a_pulse_keep_the_signal_at_column_three():
    pages = [draw_page(made_up_record(), np.random.default_rng(seed), "0001") for seed in range(12)]
    assert {page.has_pulse for page in pages} == {True, False}
    for page in pages:
        first = 0 if page.has_pulse else -SQUARE_PX
        assert page.gridpoint_xy.shape == (44, 57, 2)
        assert page.gridpoint_xy[0, 0, 0] == pytest.approx(first, abs=1e-3)


def dotted_page() -> Page:
    """A white page with a disc at every grid point."""
    image = np.full((PAGE_HEIGHT, PAGE_WIDTH, 3), 255, np.uint8)
    for x, y in np.round(lattice(has_pulse=True).reshape(-1, 2) * 64).astype(int).tolist():
        cv2.circle(image, (x, y), 7 * 64, (0, 0, 0), -1, cv2.LINE_AA, shift=6)
    return Page(image, lattice(has_pulse=True), has_pulse=True)


def find_discs(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """From every fifth point well inside the image to the centroid of the ink around it: (N, 2) px."""
    ink = 255 - image.mean(axis=2)
    reach = int(0.42 * np.linalg.norm(points[22, 29] - points[22, 28]))
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    rim = np.maximum(np.abs(x), np.abs(y)) == reach
    plane = np.stack([x, y, np.ones_like(x)], axis=-1).astype(float)
    fit = plane @ np.linalg.pinv(plane[rim])
    errors = []
    for point in points.reshape(-1, 2)[::5]:
        column, row = np.round(point).astype(int)
        window = ink[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
        if window.shape != x.shape:
            continue
        window = window - fit @ window[rim]
        weight = np.where(window > 0.3 * window.max(), window, 0)
        centroid = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
        errors.append(centroid + (column, row) - point)
    return np.array(errors)


@pytest.mark.parametrize(
    ("image_type", "orientation"), [(kind, index % 8) for index, kind in enumerate(IMAGE_TYPES)]
)
def test_labels_lie_on_the_grid_points_of_the_capture(image_type, orientation):
    taken = capture(dotted_page(), image_type, np.random.default_rng(3), orientation=orientation)
    assert taken.orientation == orientation
    errors = find_discs(taken.image, taken.gridpoint_xy)
    assert len(errors) > 400
    np.testing.assert_allclose(np.median(errors, axis=0), 0, atol=0.05)
    assert np.median(np.linalg.norm(errors, axis=1)) < (0.3 if image_type == "0006" else 0.1)


@pytest.mark.parametrize("image_type", IMAGE_TYPES)
def test_captures_have_the_sizes_of_their_type(image_type):
    taken = synthesize(made_up_record(), image_type, np.random.default_rng(4), orientation=0)
    height, width = taken.image.shape[:2]
    assert taken.image.dtype == np.uint8
    assert taken.gridpoint_xy.shape == (44, 57, 2)
    assert taken.leadpoint_xy.shape == (13, 2)
    np.testing.assert_array_equal(taken.leadpoint_xy[-1], taken.gridpoint_xy[40, 3])
    if image_type in FLAT_TYPES:
        assert 1500 < height <= 1700
        assert 2000 < width <= 2200
    else:
        assert max(height, width) * 3 == min(height, width) * 4


def test_the_same_seed_gives_the_same_capture():
    for image_type in ("0003", "0010"):
        first, second = (synthesize(made_up_record(), image_type, np.random.default_rng(5)) for _ in range(2))
        np.testing.assert_array_equal(first.image, second.image)
        np.testing.assert_array_equal(first.gridpoint_xy, second.gridpoint_xy)


def test_an_unknown_type_is_refused():
    with pytest.raises(ValueError, match="9999"):
        synthesize(made_up_record(), "9999", np.random.default_rng(0))


def test_lead_labels_are_printed_where_stage_0_is_taught_that_they_are():
    """Each of the thirteen keypoints has ink about it, and all ink is about one of them."""
    for has_pulse in (True, False):
        image = np.full((PAGE_HEIGHT, PAGE_WIDTH, 3), 255, np.uint8)
        grid = lattice(has_pulse)
        start, zero_lines = grid[0, 3, 0], np.array(ZERO_LINES_MM) * PAGE_PX_PER_MM
        write_lead_labels(image, start, zero_lines, Style(), np.random.default_rng(0))
        inked = np.argwhere(image[..., 0] < 128)[:, ::-1]
        away = np.linalg.norm(inked[:, None] - label_keypoints(grid), axis=2) / SQUARE_PX  # (N, 13)
        assert away.min(axis=0).max() < 0.5
        assert away.min(axis=1).max() < 1.5


def test_varied_records_differ_in_height_in_beginning_and_in_zero_line():
    """Ten seconds of one patient serve for many: most copies are no copies."""
    record = made_up_record()
    copies = [vary(record, np.random.default_rng(seed)).leads for seed in range(40)]
    off = [np.abs(leads - record.leads).max() for leads in copies]
    assert np.mean(np.array(off) > 0.05) > 0.7
    heights = np.array([np.percentile(leads[0], 99.5) for leads in copies])
    heights /= np.percentile(record.leads[0], 99.5)
    assert heights.min() < 0.8
    assert heights.max() > 1.4
    beginnings = {int(np.abs(leads).max(axis=0)[:FS].argmax()) // 25 for leads in copies}
    assert len(beginnings) > 8  # of the 20 twentieths of a second in which the first beat may fall


def test_varied_records_keep_the_relations_of_the_limb_leads():
    for seed in range(20):
        leads = vary(made_up_record(), np.random.default_rng(seed)).leads
        assert leads.shape == (12, 10 * FS)
        one, two, three = leads[:3]
        np.testing.assert_allclose(one + three, two, atol=1e-4)
        np.testing.assert_allclose(leads[3:6].sum(axis=0), 0, atol=1e-4)


def test_crowded_records_are_taller_and_keep_the_relations_of_the_limb_leads():
    record, taller = made_up_record(), 0
    for seed in range(20):
        leads = overlap_rows(record, np.random.default_rng(seed)).leads
        one, two, three = leads[:3]
        np.testing.assert_allclose(one + three, two, atol=1e-4)
        np.testing.assert_allclose(leads[3:6].sum(axis=0), 0, atol=1e-4)
        assert np.abs(leads).max() < 2 * OVERLAP_MV[1]
        taller += np.abs(leads).max() > 1.5 * np.abs(record.leads).max()
    assert taller > 5


@pytest.mark.parametrize("fs", [250, 500, 1000])
def test_pacing_spikes_are_single_strokes_that_keep_the_relations_of_the_limb_leads(fs):
    flat = Record("flat", np.zeros((12, 10 * fs), np.float32), fs)
    tallest = []
    for seed in range(20):
        spikes = pace(flat, np.random.default_rng(seed)).leads
        one, two, three = spikes[:3]
        np.testing.assert_allclose(one + three, two, atol=1e-4)
        np.testing.assert_allclose(spikes[3:6].sum(axis=0), 0, atol=1e-4)
        inked = np.flatnonzero(np.abs(spikes).max(axis=0) > 1e-3)
        starts = inked[np.diff(inked, prepend=-fs) > 1]
        assert 8 <= len(starts) <= 2 * 19  # 50 to 110 a minute, of one chamber or two
        assert len(inked) / len(starts) <= 4 * np.ceil(0.002 * fs)  # a second phase is three times as long
        tallest.append(np.abs(spikes).max())
    assert max(tallest) > 1.0
    assert max(tallest) <= 2 * SPIKE_MV[1]  # III may be the sum of two


def test_qrs_complexes_are_found_and_cut_by_the_leads_boundaries():
    leads = made_up_record().leads.astype(float)
    np.testing.assert_allclose(find_qrs(leads, FS) / FS, np.arange(10) + 0.4, atol=0.02)
    cut = 0
    for seed in range(60):
        found = find_qrs(shift_in_time(leads, FS, np.random.default_rng(seed)), FS) / FS
        away = np.abs(found[:, None] - (*LEAD_BOUNDARIES_S, 10.0))
        cut += away.min() < CUT_QRS_S + 0.02
    assert cut / 60 > 0.5  # a third would by chance: four boundaries, a beat a second


@pytest.mark.parametrize(("step", "falls"), [(0.0, 0.0), (1 / 500, 0.003), (1 / 100, 0.015)])
def test_a_pulse_falls_where_its_samples_let_it(step, falls):
    seconds, millivolts = calibration_pulse(step)
    assert millivolts.max() == 1.0
    assert np.interp(0.2 + falls + 1e-6, seconds, millivolts) == pytest.approx(
        0.5, abs=0.5 if step == 0 else 0.01
    )
    assert np.interp(0.2 + falls + step / 2 + 1e-6, seconds, millivolts) < 0.01
    assert np.interp(0.2 + falls - step / 2 - 1e-6, seconds, millivolts) > 0.99


def test_a_pulse_may_be_as_dark_and_wide_as_the_trace_and_end_in_its_first_column():
    image = np.full((PAGE_HEIGHT, PAGE_WIDTH, 3), 255, np.uint8)
    flat = Record("flat", np.zeros((12, 10 * FS), np.float32), FS)
    style = Style(pulse_width=0.75, trace_width=0.75, pulse_step_s=0.0, ink=0.0)
    draw_traces(image, flat, 200.0, np.array([300.0, 600, 900, 1200]), has_pulse=True, style=style)
    edge = 255.0 - image[250:280, 195:206, 0].mean(axis=0)  # between the foot and the top
    assert (edge * np.arange(195, 206)).sum() / edge.sum() == pytest.approx(200.0, abs=0.1)
    trace = 255.0 - image[290:311, 400:500, 0].mean(axis=1)
    assert edge.sum() == pytest.approx(trace.sum(), rel=0.05)


def test_dashes_beside_the_rows_ends_are_dark_and_leave_the_rest_alone():
    image = np.full((PAGE_HEIGHT, PAGE_WIDTH, 3), 255, np.uint8)
    grid = lattice(has_pulse=True)
    dash_row_ends(image, grid, Style(), np.random.default_rng(0))
    rows, columns = np.nonzero(image[..., 0] < 100)
    assert len(rows) > 100
    end = grid[0, 53, 0]  # ten seconds after column 3
    assert (np.abs(columns - end) < 30 * PAGE_PX_PER_MM).all()
    off = np.abs(rows[:, None] - np.array(ZERO_LINES_MM) * PAGE_PX_PER_MM).min(axis=1)
    assert (off < 30 * PAGE_PX_PER_MM).all()


@pytest.mark.parametrize("fs", [250, 256, 512, 1000, 1025])
def test_resampling_keeps_what_both_rates_can_hold(fs):
    def tones(rate: int) -> np.ndarray:
        seconds = np.arange(10 * rate) / rate
        return np.stack([np.sin(2 * np.pi * 7.3 * seconds), np.cos(2 * np.pi * 41.7 * seconds)])

    resampled = resample(tones(FS), FS, fs)
    assert resampled.shape == (2, 10 * fs)
    np.testing.assert_allclose(resampled[:, fs:-fs], tones(fs)[:, fs:-fs], atol=2e-3)


def test_records_read_back(tmp_path):
    record = made_up_record()
    longer = np.pad(record.leads, ((0, 0), (0, FS)))
    path = write_wfdb(tmp_path, longer[::-1], names=LEADS[::-1])
    assert find_records(tmp_path) == [path]
    read = read_record(path)
    assert (read.id, read.fs) == ("record", FS)
    np.testing.assert_allclose(read.leads, record.leads, atol=1e-3)


def test_of_ptb_xls_two_copies_of_a_record_the_fine_one_is_found(tmp_path):
    for name in ("records100/1_lr", "records500/1_hr", "records100/2_lr", "3_hr"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.hea").touch()
    assert [path.stem for path in find_records(tmp_path)] == ["3_hr", "2_lr", "1_hr"]


def test_bad_records_are_refused_by_name(tmp_path):
    leads = made_up_record().leads
    with pytest.raises(ValueError, match=r"record\.hea.*V6"):
        read_record(write_wfdb(tmp_path, leads[:11], names=LEADS[:11]))
    with pytest.raises(ValueError, match=r"record\.hea.*shorter"):
        read_record(write_wfdb(tmp_path, leads[:, : 9 * FS]))
    holed = leads.copy()
    holed[3, 100] = np.nan
    with pytest.raises(ValueError, match=r"record\.hea.*finite"):
        read_record(write_wfdb(tmp_path, holed))
    with pytest.raises(ValueError, match=r"absent\.hea"):
        read_record(tmp_path / "absent.hea")


def test_records_in_other_units_come_in_millivolts(tmp_path):
    record = made_up_record()
    path = write_wfdb(tmp_path, record.leads)
    path.write_text(path.read_text().replace("/mV", "/uV"))
    np.testing.assert_allclose(read_record(path).leads, record.leads / 1000, atol=1e-6)
    path.write_text(path.read_text().replace("/uV", "/mmHg"))
    with pytest.raises(ValueError, match=r"record\.hea.*mmhg"):
        read_record(path)


def test_a_bad_record_does_not_stop_the_others(tmp_path):
    records = tmp_path / "records"
    for name, leads in (("good", made_up_record().leads), ("short", made_up_record().leads[:, : 5 * FS])):
        (records / name).mkdir(parents=True)
        write_wfdb(records / name, leads)
    reasons = synthesize_folder(tmp_path / "a", records, 4, seed=7, types=("0001",))
    assert len(reasons) == 1
    assert "short" in reasons[0]
    assert len(read_train_table(tmp_path / "a")) == 2


def test_the_first_records_may_be_left_out(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.hea").touch()
    assert [path.stem for path in find_sources(tmp_path, "all", skip=1)] == ["b", "c"]
    with pytest.raises(ValueError, match=r"of part 'all' after the first 3$"):
        find_sources(tmp_path, "all", skip=3)


def test_a_tenth_of_the_records_is_held_out():
    assert all(is_heldout(f"{number:05}_lr") == is_heldout(f"{number:05}_hr") for number in range(200))
    share = np.mean([is_heldout(f"{number:05}_hr") for number in range(2000)])
    assert 0.08 < share < 0.12


def test_a_synthetic_folder_looks_like_the_competition_and_resumes(tmp_path):
    records, types = tmp_path / "records", ("0001", "0004")
    records.mkdir()
    write_wfdb(records, made_up_record().leads)
    synthesize_folder(tmp_path / "a", records, 2, seed=7, types=types)
    synthesize_folder(tmp_path / "b", records, 1, seed=7, types=types)
    table = read_train_table(tmp_path / "a")
    assert table["fs"].tolist() == [250, 256]
    assert table["id"].str.len().isin([9, 10]).all()
    first = table["id"][0]
    leads = read_csv_record(record_path(tmp_path / "a", first))
    assert np.isfinite(leads[LEADS.index(RHYTHM_LEAD)]).all()
    assert np.isfinite(leads[0]).sum() == 625
    for image_type in types:
        path = image_path(tmp_path / "a", first, image_type)
        assert path.read_bytes() == image_path(tmp_path / "b", first, image_type).read_bytes()
        labels = np.load(path.with_suffix(".labels.npz"))
        assert labels["gridpoint_xy"].shape == (44, 57, 2)
        assert labels["leadpoint_xy"].shape == (13, 2)
        assert 0 <= labels["orientation"] < 8
    written = image_path(tmp_path / "b", first, "0001").stat().st_mtime_ns
    synthesize_folder(tmp_path / "b", records, 2, seed=7, types=types)
    assert image_path(tmp_path / "b", first, "0001").stat().st_mtime_ns == written
    assert read_train_table(tmp_path / "b").equals(table)
