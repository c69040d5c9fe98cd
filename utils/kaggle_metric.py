"""The competition's metric: signal to noise after each lead is aligned in time and in height.

Facts and worked examples: competition.md ("Metric"), checked in tests/test_metric.py. Signals are in mV.
"""

import numpy as np
import pandas as pd
from scipy.fft import irfft, next_fast_len, rfft

from configs.page import DURATION_S, LEADS, RHYTHM_LEAD
from utils.leads import lead_slice

CAP = 384.0  # of an image's ratio, 25.84 dB
MAX_SHIFT_S = 0.2
TIE = 1e-12  # of the signals' norms: correlations nearer than this are equal but for rounding


def best_lag(label: np.ndarray, prediction: np.ndarray, max_shift: int) -> int:
    """How many samples later the prediction has to come, within +-max_shift, to correlate best.

    Of equal correlations the smallest shift wins, and of two opposite ones the negative.
    """
    reach = min(max_shift, len(label) - 1)
    size = next_fast_len(len(label) + reach, real=True)
    spectrum = rfft(label - label.mean(), size) * np.conj(rfft(prediction - prediction.mean(), size))
    lags = np.arange(-reach, reach + 1)
    correlation = irfft(spectrum, size)[lags]
    tolerance = TIE * np.linalg.norm(label) * np.linalg.norm(prediction)
    best = lags[correlation >= correlation.max() - tolerance]
    return int(best[np.abs(best).argmin()])


def align(label: np.ndarray, prediction: np.ndarray, max_shift: int | None = None) -> np.ndarray:
    """The prediction (n,) moved in time and height to fit the label (n,); NaN where nothing was predicted.

    `max_shift` is in samples; None is without limit. Raises ValueError when the lengths differ.
    """
    label, prediction = np.asarray(label, np.float64), np.asarray(prediction, np.float64)
    if label.shape != prediction.shape or label.ndim != 1 or not len(label):
        raise ValueError(f"label of shape {label.shape}, prediction of shape {prediction.shape}")
    lag = best_lag(label, prediction, len(label) if max_shift is None else max_shift)
    aligned = np.full(len(label), np.nan)
    aligned[max(lag, 0) : len(label) + min(lag, 0)] = prediction[max(-lag, 0) : len(label) - max(lag, 0)]
    return aligned + np.nanmean(label - aligned)


def lead_powers(label: np.ndarray, prediction: np.ndarray, fs: float) -> tuple[float, float]:
    """Sums of squares of a lead's label and of what the aligned prediction leaves of it."""
    aligned = align(label, prediction, int(MAX_SHIFT_S * fs))
    error = label - np.nan_to_num(aligned)
    return float(np.square(label, dtype=np.float64).sum()), float(np.square(error).sum())


def ratio_of(powers: list[tuple[float, float]], cap: float | None) -> float:
    """Signal over noise of (signal, noise) sums; without noise the cap, infinity when there is none."""
    signal, noise = np.sum(powers, axis=0)
    limit = np.inf if cap is None else cap
    return float(min(signal / noise, limit)) if noise > 0 else limit


def lead_snr(label: np.ndarray, prediction: np.ndarray, fs: float, cap: float | None = CAP) -> float:
    """The linear ratio of one lead (n,) by itself."""
    return ratio_of([lead_powers(label, prediction, fs)], cap)


def image_snr(labels: np.ndarray, predictions: np.ndarray, fs: float, cap: float | None = CAP) -> float:
    """The linear ratio of a page, (12, L) against (12, L) mV of ten seconds; cap None leaves it unlimited.

    Each lead counts in its own time. Raises ValueError when a value is missing there.
    """
    if labels.shape != predictions.shape or len(labels) != len(LEADS):
        raise ValueError(f"labels of shape {labels.shape}, predictions of shape {predictions.shape}")
    powers = []
    for lead, label, prediction in zip(LEADS, labels, predictions, strict=True):
        inside = lead_slice(lead, len(label))
        if not (np.isfinite(label[inside]).all() and np.isfinite(prediction[inside]).all()):
            raise ValueError(f"lead {lead} has NaN or infinite values in its own time")
        powers.append(lead_powers(label[inside], prediction[inside], fs))
    return ratio_of(powers, cap)


def to_db(ratio: float | np.ndarray) -> float | np.ndarray:
    """Decibels of a linear ratio of powers; -inf of 0."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(ratio)


def score(solution: pd.DataFrame, submission: pd.DataFrame) -> float:
    """The competition's score in dB.

    `solution` has id, fs, value and `submission` id, value; an id is {image}_{row}_{lead}, in any order.
    Raises ValueError when a column, an id or a lead is missing or too many, when a value is NaN or infinite,
    when an image has more than one fs, or lead II not ten seconds.
    """
    table = matched(solution, submission)
    ratios = []
    for image, page in table.groupby("image", sort=False):
        fs = page["fs"].iloc[0]
        leads = dict(list(page.groupby("lead", sort=False)))
        check_page(image, page, leads, fs)
        powers = [lead_powers(*in_order(leads[lead], f"{image}, {lead}"), fs) for lead in LEADS]
        ratios.append(ratio_of(powers, CAP))
    return float(to_db(np.mean(ratios)))


def matched(solution: pd.DataFrame, submission: pd.DataFrame) -> pd.DataFrame:
    """One table: image, row, lead, fs, label, prediction."""
    for name, frame, columns in (
        ("solution", solution, ("id", "fs", "value")),
        ("submission", submission, ("id", "value")),
    ):
        for column in columns:
            if column not in frame.columns:
                raise ValueError(f"{name}: no column {column}")
        if not len(frame):
            raise ValueError(f"{name}: empty")
        if not np.isfinite(pd.to_numeric(frame["value"], errors="coerce")).all():
            raise ValueError(f"{name}: NaN or infinite values")
        if frame["id"].duplicated().any():
            raise ValueError(f"{name}: id {frame['id'][frame['id'].duplicated()].iloc[0]} twice")
    predictions = submission.set_index("id")["value"]
    for name, ids in (
        ("missing from the submission", solution["id"][~solution["id"].isin(predictions.index)]),
        ("not in the solution", submission["id"][~submission["id"].isin(solution["id"])]),
    ):
        if len(ids):
            raise ValueError(f"{len(ids)} ids {name}, the first is {ids.iloc[0]}")
    parts = solution["id"].astype(str).str.extract(r"^(?P<image>.+)_(?P<row>\d+)_(?P<lead>[^_]+)$")
    if parts.isna().any(axis=None):
        raise ValueError(
            f"id {solution['id'][parts['image'].isna()].iloc[0]} is not {{image}}_{{row}}_{{lead}}"
        )
    return parts.assign(
        row=parts["row"].astype(np.int64),
        fs=solution["fs"],
        label=pd.to_numeric(solution["value"]).astype(np.float64),
        prediction=pd.to_numeric(predictions.reindex(solution["id"])).to_numpy(np.float64),
    )


def check_page(image: str, page: pd.DataFrame, leads: dict[str, pd.DataFrame], fs: float) -> None:
    if page["fs"].nunique(dropna=False) != 1 or not fs > 0:
        raise ValueError(f"{image}: fs has to be one number above 0, is {page['fs'].unique().tolist()}")
    if set(leads) != set(LEADS):
        raise ValueError(f"{image}: leads {', '.join(leads)}; expected {', '.join(LEADS)}")
    samples = len(leads[RHYTHM_LEAD])
    if samples // DURATION_S != fs:  # the worked examples have 12 samples at 1 Hz
        raise ValueError(
            f"{image}: lead {RHYTHM_LEAD} has {samples} samples, not {DURATION_S:g} s at {fs} Hz"
        )


def in_order(lead: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Label and prediction of one lead, sorted by row; the rows have to count from 0."""
    lead = lead.sort_values("row")
    if not np.array_equal(lead["row"], np.arange(len(lead))):
        raise ValueError(f"{name}: rows do not count from 0 to {len(lead) - 1}")
    return lead["label"].to_numpy(), lead["prediction"].to_numpy()
