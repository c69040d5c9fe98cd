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
    for name, frame, columns in (
        ("solution", solution, ("id", "fs", "value")),
        ("submission", submission, ("id", "value")),
    ):
        check_table(name, frame, columns)
    predictions = matched_values(solution, submission)
    parts = [str(row_id).rsplit("_", 2) for row_id in solution["id"]]
    malformed = [part for part in parts if len(part) != 3 or not part[1].isdigit()]
    if malformed:
        raise ValueError(f"id {'_'.join(malformed[0])} is not {{image}}_{{row}}_{{lead}}")
    images, row_numbers, leads = zip(*parts, strict=True)
    table = pd.DataFrame(
        {
            "image": pd.Categorical(images),
            "lead": pd.Categorical(leads),
            "row": np.array(row_numbers).astype(np.int64),
            "fs": solution["fs"].to_numpy(),
            "label": solution["value"].to_numpy(np.float64),
            "prediction": predictions,
        }
    )
    ratios = []
    for image, page in table.groupby("image", sort=False, observed=True):
        signals = dict(list(page.groupby("lead", sort=False, observed=True)))
        fs = page_rate(image, page["fs"], signals)
        powers = [lead_powers(*in_order(signals[lead], f"{image}, {lead}"), fs) for lead in LEADS]
        ratios.append(ratio_of(powers, CAP))
    return float(to_db(np.mean(ratios)))


def check_table(name: str, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for column in columns:
        if column not in table.columns:
            raise ValueError(f"{name}: no column {column}")
    if not len(table):
        raise ValueError(f"{name}: empty")
    if not np.isfinite(pd.to_numeric(table["value"], errors="coerce")).all():
        raise ValueError(f"{name}: NaN or infinite values")


def matched_values(solution: pd.DataFrame, submission: pd.DataFrame) -> np.ndarray:
    """The submission's values in the order of the solution's ids, (N,) float64."""
    wanted, given = (pd.Index(table["id"].to_numpy(object)) for table in (solution, submission))
    for name, ids in (("solution", wanted), ("submission", given)):
        if not ids.is_unique:
            raise ValueError(f"{name}: id {ids[ids.duplicated()][0]} twice")
    values = submission["value"].to_numpy(np.float64)
    if wanted.equals(given):
        return values
    places = given.get_indexer(wanted)
    for what, ids in (
        ("missing from the submission", wanted[places < 0]),
        ("not in the solution", given[wanted.get_indexer(given) < 0]),
    ):
        if len(ids):
            raise ValueError(f"{len(ids)} ids {what}, the first is {ids[0]}")
    return values[places]


def page_rate(image: str, rates: pd.Series, signals: dict[str, pd.DataFrame]) -> float:
    """A page's sampling rate in Hz, if its leads are all there and the rate fits them."""
    fs = rates.iloc[0]
    if rates.nunique(dropna=False) != 1 or not fs > 0:
        raise ValueError(f"{image}: fs has to be one number above 0, is {rates.unique().tolist()}")
    if set(signals) != set(LEADS):
        raise ValueError(f"{image}: leads {', '.join(signals)}; expected {', '.join(LEADS)}")
    samples = len(signals[RHYTHM_LEAD])
    if samples // DURATION_S != fs:  # the worked examples have 12 samples at 1 Hz
        raise ValueError(
            f"{image}: lead {RHYTHM_LEAD} has {samples} samples, not {DURATION_S:g} s at {fs} Hz"
        )
    return fs


def in_order(lead: pd.DataFrame, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Label and prediction of one lead, sorted by row; the rows have to count from 0."""
    lead = lead.sort_values("row")
    if not np.array_equal(lead["row"], np.arange(len(lead))):
        raise ValueError(f"{name}: rows do not count from 0 to {len(lead) - 1}")
    return lead["label"].to_numpy(), lead["prediction"].to_numpy()
