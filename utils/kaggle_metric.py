"""The competition's metric: the signal-to-noise ratio after aligning each lead in time and offset.

Worked examples of its definition are checked in tests/test_metric.py.
Signals are in mV; ratios of powers are linear unless a name or docstring says dB.
"""

from typing import TypeVar, overload

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from scipy.fft import irfft, next_fast_len, rfft

from configs.layouts import lead_slice
from configs.page import DURATION_S, LEADS, RHYTHM_LEAD

Ratios = TypeVar("Ratios", np.ndarray, pd.Series, pd.DataFrame)

CAP = 384.0  # upper limit of an image's ratio, 25.84 dB
MAX_SHIFT_S = 0.2  # greatest shift in time
TIE_TOLERANCE = 1e-12  # relative to the signals' norms; closer correlations differ by rounding only


def best_lag(label: np.ndarray, prediction: np.ndarray, max_shift: int) -> int:
    """The delay of the prediction, in samples within +-max_shift, that maximizes the cross-correlation.

    Among equal correlations the smallest shift wins, and among opposite shifts the negative one.
    """
    reach = min(max_shift, len(label) - 1)
    size = next_fast_len(len(label) + reach, real=True)
    spectrum = rfft(label - label.mean(), size) * np.conj(rfft(prediction - prediction.mean(), size))
    lags = np.arange(-reach, reach + 1)
    correlation = irfft(spectrum, size)[lags]
    tolerance = TIE_TOLERANCE * np.linalg.norm(label) * np.linalg.norm(prediction)
    best = lags[correlation >= correlation.max() - tolerance]
    return int(best[np.abs(best).argmin()])


def align(label: np.ndarray, prediction: np.ndarray, max_shift: int | None = None) -> np.ndarray:
    """The prediction (n,) shifted in time and offset to fit the label (n,); NaN where it does not reach.

    `max_shift` is in samples; None stands for no limit. Raises ValueError when the lengths differ.
    """
    label, prediction = np.asarray(label, np.float64), np.asarray(prediction, np.float64)
    if label.shape != prediction.shape or label.ndim != 1 or not len(label):
        raise ValueError(f"label of shape {label.shape}, prediction of shape {prediction.shape}")
    lag = best_lag(label, prediction, len(label) if max_shift is None else max_shift)
    aligned = np.full(len(label), np.nan)
    aligned[max(lag, 0) : len(label) + min(lag, 0)] = prediction[max(-lag, 0) : len(label) - max(lag, 0)]
    return aligned + np.nanmean(label - aligned)


def lead_powers(label: np.ndarray, prediction: np.ndarray, fs: float) -> tuple[float, float]:
    """The signal and noise of a lead: sums of squares of the label and of the error after alignment."""
    aligned = align(label, prediction, int(MAX_SHIFT_S * fs))
    error = label - np.nan_to_num(aligned)
    return float(np.square(label, dtype=np.float64).sum()), float(np.square(error).sum())


def ratio_of(powers: list[tuple[float, float]], cap: float | None) -> float:
    """Total signal over total noise of (signal, noise) pairs, at most `cap`; infinite without either."""
    signal, noise = np.sum(powers, axis=0)
    limit = np.inf if cap is None else cap
    return float(min(signal / noise, limit)) if noise > 0 else limit


def lead_snr(label: np.ndarray, prediction: np.ndarray, fs: float, cap: float | None = CAP) -> float:
    """The linear ratio of a single lead (n,)."""
    return ratio_of([lead_powers(label, prediction, fs)], cap)


def page_powers(labels: np.ndarray, predictions: np.ndarray, fs: float) -> list[tuple[float, float]]:
    """lead_powers of each lead in the interval in which the page shows it.

    `labels` and `predictions` are (12, L) mV of ten seconds. Raises ValueError when a value in those
    intervals is not finite.
    """
    if labels.shape != predictions.shape or len(labels) != len(LEADS):
        raise ValueError(f"labels of shape {labels.shape}, predictions of shape {predictions.shape}")
    powers = []
    for lead, label, prediction in zip(LEADS, labels, predictions, strict=True):
        inside = lead_slice(lead, len(label))
        if not (np.isfinite(label[inside]).all() and np.isfinite(prediction[inside]).all()):
            raise ValueError(f"lead {lead} has NaN or infinite values in its own time")
        powers.append(lead_powers(label[inside], prediction[inside], fs))
    return powers


def image_snr(labels: np.ndarray, predictions: np.ndarray, fs: float, cap: float | None = CAP) -> float:
    """The linear ratio of a page, see page_powers; with a cap of None it is unlimited."""
    return ratio_of(page_powers(labels, predictions, fs), cap)


@overload
def to_db(ratio: float | np.floating) -> float: ...
@overload
def to_db(ratio: Ratios) -> Ratios: ...
def to_db(ratio):
    """A linear ratio of powers in dB; -inf for 0."""
    with np.errstate(divide="ignore"):
        return 10 * np.log10(ratio)


def score(solution: pd.DataFrame, submission: pd.DataFrame) -> float:
    """The competition's score in dB.

    `solution` has the columns id, fs (Hz) and value (mV), `submission` id and value; an id is
    {image}_{row}_{lead}, in any order. Raises ValueError when a column, id or lead is missing, an id or lead
    is superfluous, a value is not finite, an image has more than one fs, or lead II is not ten seconds.
    """
    for name, frame, columns in (
        ("solution", solution, ("id", "fs", "value")),
        ("submission", submission, ("id", "value")),
    ):
        check_table(name, frame, columns)
    label = solution["value"].to_numpy(np.float64)
    ids = id_array(solution)
    prediction = submission["value"].to_numpy(np.float64)[match_ids(ids, id_array(submission))]
    fs = solution["fs"].to_numpy()
    ratios = []
    for image, leads in find_signals(ids).items():
        if set(leads) != set(LEADS):
            raise ValueError(f"{image}: leads {', '.join(sorted(leads))}; expected {', '.join(LEADS)}")
        rate = page_rate(image, fs[np.concatenate(list(leads.values()))], len(leads[RHYTHM_LEAD]))
        ratios.append(ratio_of([lead_powers(label[at], prediction[at], rate) for at in leads.values()], CAP))
    return float(to_db(np.mean(ratios)))


def check_table(name: str, table: pd.DataFrame, columns: tuple[str, ...]) -> None:
    for column in columns:
        if column not in table.columns:
            raise ValueError(f"{name}: no column {column}")
    if not len(table):
        raise ValueError(f"{name}: empty")
    if not np.isfinite(pd.to_numeric(table["value"], errors="coerce")).all():
        raise ValueError(f"{name}: NaN or infinite values")


def id_array(table: pd.DataFrame) -> pa.Array:
    return pa.array(table["id"].astype(str).to_numpy(object), pa.large_string())


def match_ids(wanted: pa.Array, given: pa.Array) -> np.ndarray:
    """The position (n,) of each wanted id among the given ones. Raises ValueError when the sets differ."""
    if wanted.equals(given):
        return np.arange(len(wanted))
    for what, ids in (
        ("missing from the submission", wanted.filter(pc.invert(pc.is_in(wanted, given)))),
        ("not in the solution", given.filter(pc.invert(pc.is_in(given, wanted)))),
    ):
        if len(ids):
            raise ValueError(f"{len(ids)} ids {what}, the first is {ids[0]}")
    if len(given) != len(wanted):
        raise ValueError(
            f"{len(given)} ids in the submission and {len(wanted)} in the solution: some are twice"
        )
    return pc.index_in(wanted, given).to_numpy()


def find_signals(ids: pa.Array) -> dict[str, dict[str, np.ndarray]]:
    """For each image and lead the positions (n,) of its samples among the ids, ordered by row.

    Raises ValueError for an id that is not {image}_{row}_{lead}, and when the rows of a lead do not count
    from 0.
    """
    parts = pc.split_pattern(ids, "_", max_splits=2, reverse=True)
    malformed = ids.filter(pc.not_equal(pc.list_value_length(parts), 3))
    if len(malformed):
        raise ValueError(f"id {malformed[0]} is not {{image}}_{{row}}_{{lead}}")
    images, leads = (pc.list_element(parts, place).dictionary_encode() for place in (0, 2))
    row = pc.cast(pc.list_element(parts, 1), pa.int64()).to_numpy()
    signal = images.indices.to_numpy().astype(np.int64) * len(leads.dictionary) + leads.indices.to_numpy()
    order = np.lexsort((row, signal))
    starts = np.flatnonzero(np.diff(signal[order], prepend=-1))
    signals: dict[str, dict[str, np.ndarray]] = {}
    for places in np.split(order, starts[1:]):
        image, lead = divmod(int(signal[places[0]]), len(leads.dictionary))
        image, lead = images.dictionary[image].as_py(), leads.dictionary[lead].as_py()
        if not np.array_equal(row[places], np.arange(len(places))):
            raise ValueError(f"{image}, {lead}: rows do not count from 0 to {len(places) - 1}")
        signals.setdefault(image, {})[lead] = places
    return signals


def page_rate(image: str, rates: np.ndarray, samples: int) -> float:
    """A page's sampling rate in Hz. Raises ValueError if it is not unique or does not fit `samples`."""
    if not (rates[0] > 0 and (rates == rates[0]).all()):
        raise ValueError(f"{image}: fs has to be one number above 0, is {pd.unique(rates).tolist()}")
    if samples // DURATION_S != rates[0]:  # the worked examples have 12 samples at 1 Hz
        seconds = f"{DURATION_S:g} s at {rates[0]} Hz"
        raise ValueError(f"{image}: lead {RHYTHM_LEAD} has {samples} samples, not {seconds}")
    return rates[0]
