import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.layouts import mask_unprinted
from configs.page import LEADS
from utils.kaggle_metric import CAP, align, image_snr, lead_snr, score, to_db

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def examples() -> dict:
    """The competition's own: 3 samples a lead at 1 Hz, and what its metric says of them."""
    return json.loads((DATA / "metric_examples.json").read_text())


def page_table(fs: int = 8) -> pd.DataFrame:
    """One image's solution at a low rate: a sine in each lead."""
    counts = {lead: (10 if lead == "II" else 2) * fs for lead in LEADS}
    ids = [f"7_{row}_{lead}" for lead, count in counts.items() for row in range(count)]
    return pd.DataFrame({"id": ids, "fs": fs, "value": np.sin(np.arange(len(ids)))})


def test_scores_are_those_of_the_worked_examples(examples):
    for case in examples["score"]:
        solution = pd.DataFrame({"id": examples["id"], "fs": examples["fs"], "value": case["label"]})
        submission = pd.DataFrame({"id": examples["id"], "value": case["prediction"]})
        assert score(solution, submission) == pytest.approx(case["expected"], abs=1e-4)


def test_alignment_is_that_of_the_worked_examples(examples):
    for case in examples["align"]:
        aligned = align(np.array(case["label"]), np.array(case["prediction"]), case.get("max_shift"))
        np.testing.assert_allclose(aligned, np.array(case["expected"], float), atol=1e-6)


def test_a_shift_within_a_fifth_of_a_second_and_an_offset_cost_only_the_lost_samples():
    rng = np.random.default_rng(0)
    label = np.cumsum(rng.normal(size=1250)) / 10
    late = np.concatenate([np.zeros(100), label[:-100]]) + 3
    expected = (label**2).sum() / ((label[-100:]) ** 2).sum()
    assert lead_snr(label[:-100], label[:-100] + 3, 500, cap=None) > 1e20
    np.testing.assert_allclose(align(label, late, 100)[:-100], label[:-100], atol=1e-9)
    assert lead_snr(label, late, 500, cap=None) == pytest.approx(expected)


@pytest.mark.parametrize("fs", [250, 1025])
@pytest.mark.parametrize("sign", [-1, 1])
def test_a_beat_is_looked_for_a_fifth_of_a_second_early_or_late_and_no_further(fs, sign):
    """A single QRS read too early or too late: aligned up to 0.2 s, beyond that it counts as noise twice."""
    seconds = np.arange(10 * fs) / fs

    def beat_at(time: float) -> np.ndarray:
        return np.exp(-(((seconds - time) / 0.012) ** 2))

    within, beyond = (
        lead_snr(beat_at(5), beat_at(5 + sign * shift), fs) for shift in (int(0.2 * fs) / fs, 0.24)
    )
    assert within == CAP
    assert beyond < 1.05


def test_a_flat_prediction_is_not_shifted():
    label = np.sin(np.arange(500) / 7) + 0.3
    assert not np.isnan(align(label, np.full(500, 0.1), 100)).any()


def test_lags_are_those_of_direct_correlation():
    rng = np.random.default_rng(1)
    for _ in range(20):
        label, prediction = rng.integers(-2, 3, (2, 40)).astype(float)
        products = {
            lag: sum(
                (label[n + lag] - label.mean()) * (prediction[n] - prediction.mean())
                for n in range(40)
                if 0 <= n + lag < 40
            )
            for lag in range(-8, 9)
        }
        best = max(products.values())
        lag = min((lag for lag, value in products.items() if value > best - 1e-9), key=lambda k: (abs(k), k))
        missing = np.isnan(align(label, prediction, 8))
        assert missing.sum() == abs(lag)
        assert missing[0] == (lag > 0)


def test_a_page_counts_each_lead_in_its_own_time():
    rng = np.random.default_rng(2)
    labels = rng.normal(size=(12, 2500))
    elsewhere = np.where(np.isnan(mask_unprinted(labels)), np.nan, labels)
    assert image_snr(labels, elsewhere, 250) == CAP
    assert to_db(CAP) == pytest.approx(25.8433, abs=1e-4)


def test_noise_of_a_tenth_is_20_db():
    rng = np.random.default_rng(3)
    labels = rng.normal(size=(12, 10250)).cumsum(axis=1)
    labels /= labels.std(axis=1, keepdims=True)
    noise = rng.normal(size=labels.shape) * np.sqrt((labels**2).mean()) / 10
    assert to_db(image_snr(labels, labels + noise, 1025)) == pytest.approx(20, abs=2)


def test_the_order_of_a_submission_does_not_matter():
    solution = page_table()
    shuffled = solution[["id", "value"]].sample(frac=1, random_state=0)
    assert score(solution, shuffled) == pytest.approx(to_db(CAP))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_numbers_are_refused(bad):
    solution, submission = page_table(), page_table()
    submission.loc[5, "value"] = bad
    with pytest.raises(ValueError, match="NaN"):
        score(solution, submission)
    with pytest.raises(ValueError, match="NaN"):
        score(submission, solution)


def test_tables_that_do_not_fit_are_refused():
    solution = page_table()
    with pytest.raises(ValueError, match="no column id"):
        score(solution, solution.drop(columns="id"))
    with pytest.raises(ValueError, match="missing from the submission"):
        score(solution, solution.iloc[1:])
    with pytest.raises(ValueError, match="not in the solution"):
        score(solution, pd.concat([solution, pd.DataFrame({"id": ["8_0_I"], "value": [0.0]})]))
    with pytest.raises(ValueError, match="twice"):
        score(solution, pd.concat([solution, solution.iloc[:1]]))
    with pytest.raises(ValueError, match="fs"):
        score(solution.assign(fs=[9] + [8] * (len(solution) - 1)), solution)
    with pytest.raises(ValueError, match="lead II"):
        score(solution.assign(fs=16), solution)
