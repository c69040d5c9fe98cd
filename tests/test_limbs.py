"""Einthoven's and Goldberger's relations, as a check of what was read and a way to mend it."""

import numpy as np
import pytest

from configs.layouts import rows_from_leads
from configs.page import LEADS
from digitization.signal.limb_leads import reconcile_limbs

FS = 500


def related_rows() -> np.ndarray:
    """(4, L) mV of leads that keep the relations."""
    t = np.arange(10 * FS) / FS
    one = np.exp(-((((t % 0.8) - 0.3) / 0.015) ** 2))
    two = 1.4 * np.exp(-((((t % 0.8) - 0.31) / 0.02) ** 2)) - 0.2 * np.exp(-((((t % 0.8) - 0.6) / 0.06) ** 2))
    limbs = {
        "I": one,
        "II": two,
        "III": two - one,
        "aVR": -(one + two) / 2,
        "aVL": one - two / 2,
        "aVF": two - one / 2,
    }
    return rows_from_leads(np.stack([limbs.get(lead, 0.5 * one) for lead in LEADS]))


def rms(error: np.ndarray) -> float:
    return float(np.sqrt(np.mean(error**2)))


def test_rows_that_keep_the_relations_stay_and_leave_no_residual():
    rows = related_rows()
    mended, residuals = reconcile_limbs(rows)
    np.testing.assert_allclose(mended, rows, atol=1e-6)
    assert residuals.max() < 1e-6


def test_independent_errors_lose_about_half_their_power():
    rows = related_rows()
    read = rows + np.random.default_rng(0).normal(0, 0.02, rows.shape)
    mended, residuals = reconcile_limbs(read)
    half = slice(0, 5 * FS)
    assert rms((mended - rows)[:, half]) < 0.75 * rms((read - rows)[:, half])
    np.testing.assert_array_equal(mended[:, 5 * FS :], read[:, 5 * FS :])  # V leads owe nothing
    assert residuals.mean() == pytest.approx(0.02 / np.sqrt(2), rel=0.15)


@pytest.mark.parametrize(("row", "start"), [(1, 400), (3, 400), (0, 1700), (1, 1700), (2, 1700)])
def test_a_stretch_misread_in_one_row_is_mended_from_the_other_three(row, start):
    rows = related_rows()
    read = rows.copy()
    read[row, start : start + 200] += 0.8
    mended, residuals = reconcile_limbs(read)
    assert np.abs(mended - rows).max() < 0.1
    assert residuals[row].max() > 0.2


def test_whether_lead_i_or_iii_was_misread_nobody_can_tell_so_both_stay():
    rows = related_rows()
    read = rows.copy()
    read[0, 400:600] += 0.8
    mended, _ = reconcile_limbs(read)
    np.testing.assert_allclose(mended[:, 450:550], read[:, 450:550], atol=0.02)


def test_confidence_says_which_of_two_readings_to_believe():
    rows = related_rows()
    read = rows.copy()
    read[3, :1250] += np.sin(np.arange(1250) / 20) * 0.1
    sure = np.ones(rows.shape)
    sure[3, :1250] = 0.05
    blind, seeing = reconcile_limbs(read)[0], reconcile_limbs(read, sure)[0]
    assert rms((seeing - rows)[:, :1250]) < 0.3 * rms((blind - rows)[:, :1250])


def test_rows_that_contradict_each_other_everywhere_stay_as_read():
    rng = np.random.default_rng(1)
    read = rng.normal(0, 1.5, (4, 10 * FS))
    mended, residuals = reconcile_limbs(read)
    assert rms(mended - read) < 0.1
    assert residuals.mean() > 0.3


def test_a_zero_line_of_its_own_is_kept():
    rows = related_rows()
    read = rows + np.array([[0.1], [-0.2], [0.0], [0.3]])
    np.testing.assert_allclose(reconcile_limbs(read)[0], read, atol=0.01)


def test_rows_of_another_shape_are_refused():
    with pytest.raises(ValueError, match="expected"):
        reconcile_limbs(np.zeros((3, 100)))


@pytest.mark.parametrize("row", [0, 1, 2])
def test_a_dead_lead_stays_dead(row):
    rows = related_rows()
    quarter = slice(2 * FS + FS // 2, 5 * FS)
    rows[row, quarter] = np.random.default_rng(0).normal(0, 0.002, 2 * FS + FS // 2)
    mended, residuals = reconcile_limbs(rows)
    np.testing.assert_array_equal(mended[:, quarter], rows[:, quarter])
    assert residuals[:, 1].max() > 0.05  # which is told
