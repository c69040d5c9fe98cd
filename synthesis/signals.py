"""Twelve-lead records: reading or generating them, and augmenting their signals."""

import re
import zlib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
import scipy  # scipy.signal is loaded at its first use, which takes seconds
import torch

from configs.page import DURATION_S, LEADS, ROWS

INDEPENDENT_LEADS = ("I", "II", "V1", "V2", "V3", "V4", "V5", "V6")  # III, aVR, aVL and aVF follow from them
HELDOUT_MODULUS = 10  # one record in ten is never trained on
DEEPFAKE_LENGTH = 5000  # samples that the network generates
DEEPFAKE_MV = 6.0  # mV of the network's output 1.0
OVERLAP_MV = (2.5, 6.0)  # range of peak amplitudes that reach neighbouring rows, which are 3 to 4 mV away
MAX_GAIN = 4.0  # greatest gain of `overlap_rows`; more would mainly amplify noise
TIME_SHIFT_SHARE = 0.6  # share of records shifted in time, because PTB-XL's last 0.1 s is flat
CUT_QRS_SHARE = 0.6  # share of these in which a lead begins or ends inside a QRS
CUT_QRS_S = 0.04  # greatest distance from the middle of that QRS to the boundary
LEAD_BOUNDARIES_S = tuple(k * DURATION_S / len(ROWS[0]) for k in range(len(ROWS[0])))
BOUNDARY_SHARES = (0.4, 0.2, 0.2, 0.2)  # probabilities; 0 s is also the end at 10 s, the hardest places
QRS_SMOOTHING_S = 0.04  # width of the smoothing that makes each QRS a single peak of steepness
REFRACTORY_S = 0.28  # least distance between two QRS complexes
PACED_SHARE = 0.06  # share of records with pacing spikes; of a hospital's ECGs 1 to 3 % are paced
PACING_PER_MINUTE = (50.0, 110.0)  # range of the pacing rate
SPIKE_S = (0.0005, 0.002)  # range of a pacing pulse's width
SPIKE_MV = (0.3, 5.0)  # range of a spike's height in the lead where it is tallest: bipolar to unipolar pacing
AV_DELAY_S = (0.12, 0.22)  # range of the time between the atrial and the ventricular spike
SPIKE_BEFORE_QRS_S = (0.03, 0.06)  # range of the time from a spike to the middle of the QRS that it triggers


def _lead_transform() -> np.ndarray:
    """The matrix (12, 8) from INDEPENDENT_LEADS to LEADS, by Einthoven's and Goldberger's relations."""
    limbs = {"III": (-1, 1), "aVR": (-0.5, -0.5), "aVL": (1, -0.5), "aVF": (-0.5, 1)}  # of I and II
    matrix = np.zeros((len(LEADS), len(INDEPENDENT_LEADS)), np.float32)
    for row, lead in enumerate(LEADS):
        if lead in limbs:
            matrix[row, :2] = limbs[lead]
        else:
            matrix[row, INDEPENDENT_LEADS.index(lead)] = 1
    return matrix


LEAD_TRANSFORM = _lead_transform()
MILLIVOLTS = {"mv": 1.0, "uv": 1e-3, "\u00b5v": 1e-3, "v": 1e3, "nv": 1e-6}  # mV in one unit


@dataclass(frozen=True)
class Record:
    """Ten seconds of twelve leads: `leads` (12, 10 * fs) float32 mV in the order of LEADS, `fs` in Hz."""

    id: str
    leads: np.ndarray
    fs: int


def find_records(folder: Path) -> list[Path]:
    """All WFDB headers (*.hea) below `folder`, sorted. Raises ValueError when there are none.

    PTB-XL holds each record twice; the 100 Hz copy, N_lr, is left out where N_hr exists.
    """
    if not (paths := sorted(Path(folder).rglob("*.hea"))):
        raise ValueError(f"{folder}: no WFDB records (*.hea)")
    names = {path.stem for path in paths}
    return [path for path in paths if not (path.stem.endswith("_lr") and f"{path.stem[:-3]}_hr" in names)]


def is_heldout(record_id: str) -> bool:
    """Whether a record is held out from training: one in ten, by a hash of its id.

    PTB-XL's two copies of a record, <id>_hr and <id>_lr at 500 and 100 Hz, stay together.
    """
    return zlib.crc32(re.sub("_lr$", "_hr", record_id).encode()) % HELDOUT_MODULUS == 0


def read_record(path: Path) -> Record:
    """The first ten seconds of a WFDB record, given the path of its header.

    Raises ValueError naming the file when it is unreadable, lacks one of the twelve standard leads, has an
    unknown unit or a fractional sampling rate, is shorter than ten seconds or holds non-finite values.
    """
    path = Path(path)
    import wfdb  # slow to import

    try:
        content = wfdb.rdrecord(str(path.with_suffix("")))
    except Exception as error:  # wfdb raises exceptions of many types
        raise ValueError(f"{path}: not a readable WFDB record ({error})") from error
    if content.p_signal is None or not content.n_sig:
        raise ValueError(f"{path}: the record has no signals")
    columns = {name.strip().lower(): column for column, name in enumerate(content.sig_name)}
    missing = [lead for lead in LEADS if lead.lower() not in columns]
    if missing:
        raise ValueError(f"{path}: leads missing: {', '.join(missing)}")
    fs = round(content.fs)
    if fs < 1 or fs != content.fs:
        raise ValueError(f"{path}: a sampling rate of {content.fs} Hz is not a whole number")
    length = round(DURATION_S * fs)
    if content.sig_len < length:
        raise ValueError(
            f"{path}: the record of {content.sig_len / fs:.2f} s is shorter than {DURATION_S:g} s"
        )
    order = [columns[lead.lower()] for lead in LEADS]
    units = [content.units[column].strip().lower() for column in order]
    if unknown := sorted(set(units) - set(MILLIVOLTS)):
        raise ValueError(f"{path}: units {', '.join(unknown)} are not among {', '.join(MILLIVOLTS)}")
    millivolts = np.array([[MILLIVOLTS[unit]] for unit in units])
    leads = (content.p_signal[:length, order].T * millivolts).astype(np.float32)
    if not np.isfinite(leads).all():
        raise ValueError(f"{path}: the signals hold values that are not finite")
    return Record(path.stem, np.ascontiguousarray(leads), fs)


@cache
def _deepfake_generator() -> torch.nn.Module:
    try:
        import deepfakeecg
    except ImportError as error:
        raise ImportError("simulated ECGs need the package deepfake-ecg: pip install deepfake-ecg") from error
    weights = Path(deepfakeecg.__file__).parent / "checkpoints" / "g_stat.pt"
    generator = deepfakeecg.Generator()
    generator.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True)["stat_dict"])
    return generator.eval()


@torch.inference_mode()
def deepfake_record(rng: np.random.Generator) -> Record:
    """A simulated ECG of ten seconds at 500 Hz from the generator of Thambawita et al. 2021.

    Source: doi 10.1038/s41598-021-01295-2, package deepfake-ecg. Its eight leads are band-limited to 100 Hz,
    the other four derived from them. Raises ImportError when the package is missing.
    """
    generator = _deepfake_generator()
    noise = rng.uniform(-1, 1, (1, len(INDEPENDENT_LEADS), DEEPFAKE_LENGTH)).astype(np.float32)
    independent = generator(torch.from_numpy(noise))[0].numpy() * DEEPFAKE_MV
    fs = round(DEEPFAKE_LENGTH / DURATION_S)
    leads = LEAD_TRANSFORM @ scipy.signal.sosfiltfilt(_low_pass(100, fs), independent, axis=1)
    return Record(f"deepfake_{rng.integers(10**9):09}", leads.astype(np.float32), fs)


def resample(leads: np.ndarray, fs: int, new_fs: int) -> np.ndarray:
    """Resample (N, 10 * fs) to (N, 10 * new_fs) float32, band-limited, with odd reflection at the ends."""
    length = round(DURATION_S * new_fs)
    if fs == new_fs:
        return leads.astype(np.float32)
    padding = fs  # one second, a whole number of samples at both rates
    padded = np.pad(leads.astype(np.float64), ((0, 0), (padding, padding)), "reflect", reflect_type="odd")
    resampled = scipy.signal.resample(padded, round((DURATION_S + 2) * new_fs), axis=1)
    return resampled[:, new_fs : new_fs + length].astype(np.float32)


def vary(record: Record, rng: np.random.Generator, paced: float = PACED_SHARE) -> Record:
    """Augment a record as if by another patient, electrode or device; `paced` is the share with spikes.

    All leads undergo the same linear operations, and noise is added to the independent leads only, so that
    I + III = II and aVR + aVL + aVF = 0 hold as well as before.
    """
    leads, fs = record.leads.astype(np.float64), record.fs
    if rng.random() < TIME_SHIFT_SHARE:
        leads = shift_in_time(leads, fs, rng)
    if rng.random() < 0.65:
        leads = _add_disturbances(leads, fs, rng)
    varied = replace(record, leads=leads.astype(np.float32))
    # Spikes are added after the filters, as ECG devices print them.
    return pace(varied, rng) if rng.random() < paced else varied


def pace(record: Record, rng: np.random.Generator) -> Record:
    """Add a pacemaker's spikes to a record."""
    spikes = pacing_spikes(record.leads, record.fs, rng)
    return replace(record, leads=(record.leads + LEAD_TRANSFORM @ spikes).astype(np.float32))


def _add_disturbances(leads: np.ndarray, fs: int, rng: np.random.Generator) -> np.ndarray:
    """Apply random gain, baseline wander, motion, mains hum, muscle noise and filters to (12, T) mV."""
    if rng.random() < 0.6:
        leads = leads * rng.uniform(0.6, 1.8)
    disturbance = np.zeros((len(INDEPENDENT_LEADS), leads.shape[1]))
    seconds = np.arange(leads.shape[1]) / fs
    if rng.random() < 0.3:
        disturbance += _baseline_wander(seconds, rng)
    if rng.random() < 0.08:
        disturbance += _motion_artefact(seconds, rng)
    if rng.random() < 0.15:
        phase = rng.uniform(0, 2 * np.pi, len(disturbance))[:, None]
        size = rng.uniform(0.003, 0.04) * rng.uniform(0.2, 1, len(disturbance))[:, None]
        disturbance += size * np.sin(2 * np.pi * rng.choice([50, 60]) * seconds + phase)
    if rng.random() < 0.2:
        muscle = rng.normal(0, rng.uniform(0.003, 0.05), disturbance.shape)
        burst = np.clip(np.sin(2 * np.pi * rng.uniform(0.02, 0.4) * seconds + rng.uniform(0, 6)), 0.1, 1)
        disturbance += muscle * burst
    leads = leads + LEAD_TRANSFORM @ disturbance
    if rng.random() < 0.4:
        leads = scipy.signal.sosfiltfilt(_low_pass(int(rng.choice([40, 100, 150])), fs), leads, axis=1)
    if rng.random() < 0.25:
        high_pass = scipy.signal.butter(1, rng.uniform(0.05, 0.5), "high", fs=fs, output="sos")
        leads = scipy.signal.sosfiltfilt(high_pass, leads, axis=1)
    return leads


def overlap_rows(record: Record, rng: np.random.Generator) -> Record:
    """Amplify some leads of a record so much that they reach the rows above and below.

    Such overlap is rare and hard to resolve, so training shows it more often. I + III = II still holds.
    """
    independent = record.leads[[LEADS.index(lead) for lead in INDEPENDENT_LEADS]]
    chosen = rng.random(len(independent)) < rng.uniform(0.1, 0.9)
    if not chosen.any():
        return record
    heights = chosen[:, None] * (independent - np.median(independent, axis=1, keepdims=True))
    gain = np.clip(rng.uniform(*OVERLAP_MV) / max(np.abs(heights).max(), 1e-3), 1, MAX_GAIN)
    taller = LEAD_TRANSFORM @ ((gain - 1) * heights)
    return replace(record, leads=(record.leads + taller).astype(np.float32))


def shift_in_time(leads: np.ndarray, fs: int, rng: np.random.Generator) -> np.ndarray:
    """Shift (12, T) mV circularly by a random time, after removing the step between both ends.

    In CUT_QRS_SHARE of all cases the boundary of a lead falls inside a QRS.
    """
    length = leads.shape[1]
    drift = np.linspace(-0.5, 0.5, length) * (leads[:, -1:] - leads[:, :1])
    shift = int(rng.integers(length))
    if rng.random() < CUT_QRS_SHARE and len(found := find_qrs(leads, fs)):
        boundary = rng.choice(LEAD_BOUNDARIES_S, p=BOUNDARY_SHARES) + rng.uniform(-CUT_QRS_S, CUT_QRS_S)
        shift = round(boundary * fs) - int(rng.choice(found))
    return np.roll(leads - drift, shift, axis=1)


def find_qrs(leads: np.ndarray, fs: int) -> np.ndarray:
    """The samples (n,) at which the QRS complexes of (12, T) mV are steepest; n may be 0."""
    steepness = np.abs(np.diff(leads, axis=1)).sum(axis=0)
    window = np.hanning(max(round(QRS_SMOOTHING_S * fs), 1) + 2)
    activity = np.convolve(steepness, window, mode="same")
    distance = max(round(REFRACTORY_S * fs), 1)
    return scipy.signal.find_peaks(activity, height=0.4 * activity.max(), distance=distance)[0]


def pacing_spikes(leads: np.ndarray, fs: int, rng: np.random.Generator) -> np.ndarray:
    """The pacing spikes (8, T) mV to be added to the independent leads of (12, T) mV.

    They pace the atrium, the ventricle or both, before the record's QRS complexes or at a rate of their own,
    with a height and polarity for each lead. A pulse shorter than a sample is a proportionally lower sample.
    """
    length = leads.shape[1]
    found = find_qrs(leads, fs)
    if len(found) and rng.random() < 0.5:
        times = found / fs - rng.uniform(*SPIKE_BEFORE_QRS_S)
    else:
        period = 60 / rng.uniform(*PACING_PER_MINUTE)
        times = np.arange(rng.uniform(0, period), DURATION_S, period)
    chambers = [(0.0,), (rng.uniform(*AV_DELAY_S),), (0.0, rng.uniform(*AV_DELAY_S))]
    # One second more than needed, so that no spike is cut.
    spikes = np.zeros((len(INDEPENDENT_LEADS), length + fs))
    for before in chambers[rng.integers(len(chambers))]:
        shape = _spike_shape(fs, rng)
        sizes = rng.uniform(0.1, 1, len(INDEPENDENT_LEADS)) * rng.choice([-1, 1], len(INDEPENDENT_LEADS))
        sizes *= rng.uniform(*SPIKE_MV) / np.abs(sizes).max()
        samples = np.round((times - before) * fs).astype(int)
        for sample in samples[(samples >= 0) & (samples < length)]:
            sampled = rng.uniform(0.75, 1)  # share of the height that asynchronous sampling records
            spikes[:, sample : sample + len(shape)] += sampled * np.outer(sizes, shape)
    return spikes[:, :length]


def _spike_shape(fs: int, rng: np.random.Generator) -> np.ndarray:
    """A pacing pulse (n,) of height 1 at `fs` Hz; half have a second phase of equal, opposite charge."""
    width = rng.uniform(*SPIKE_S) * fs  # samples
    pulse = np.clip(width - np.arange(int(np.ceil(width))), 0, 1)
    if rng.random() < 0.5:
        return pulse
    longer = int(rng.integers(1, 4))
    return np.concatenate([pulse, np.repeat(-pulse / longer, longer)])


def _low_pass(cutoff: float, fs: int) -> np.ndarray:
    return scipy.signal.butter(2, min(cutoff, 0.45 * fs), "low", fs=fs, output="sos")


def _baseline_wander(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Baseline wander of the independent leads by breathing and drift: (8, T) mV."""
    count = (len(INDEPENDENT_LEADS), 1)
    breath = np.sin(2 * np.pi * rng.uniform(0.15, 0.4) * seconds + rng.uniform(0, 2 * np.pi))
    drift = np.sin(2 * np.pi * rng.uniform(0.02, 0.12, count) * seconds + rng.uniform(0, 2 * np.pi, count))
    size = rng.uniform(0.02, 0.3)
    return size * (rng.normal(0, 0.5, count) * breath + rng.normal(0, 0.7, count) * drift)


def _motion_artefact(seconds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """A patient's movement, by which all leads leave the zero line for some seconds: (8, T) mV."""
    start, rise = rng.uniform(-1, DURATION_S), rng.uniform(0.2, 3)
    course = np.clip((seconds - start) / rise, 0, 1) ** rng.uniform(1, 3)
    back = start + rise + rng.uniform(0, 3)
    course *= np.clip(1 - (seconds - back) / rng.uniform(0.2, 3), 0, 1)
    common, own = rng.uniform(-2.5, 2.5), rng.normal(0, 0.4, (len(INDEPENDENT_LEADS), 1))
    return (common * rng.uniform(0.3, 1, (len(INDEPENDENT_LEADS), 1)) + own) * course
