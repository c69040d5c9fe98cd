"""Twelve leads as files: the CSV of the competition, and WFDB records, the format of PhysioNet.

WFDB headers are described at https://physionet.org/physiotools/wag/header-5.htm.
"""

import re
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from configs.layouts import check_shape
from configs.page import DURATION_S, LEADS
from utils.files import as_utf8, atomic_write

DECIMALS = 5  # decimal places of the values in a CSV, mV
GAIN = 1000.0  # digital units per mV: steps of 1 uV
ANNOTATOR = "imp"  # suffix of the annotation file that marks the imputed samples
LIMIT_MV = 32.7  # mV, largest absolute value that 16 bits hold at this gain
FORMAT = "16"  # WFDB storage format; -32768 marks an unknown sample, which is read back as NaN


def write_record(path: Path, leads: np.ndarray, fs: int, duration_s: float = DURATION_S) -> None:
    """Write leads (12, duration_s * fs) mV in the order of LEADS as a CSV, blank where NaN.

    Raises ValueError for another shape or infinite values.
    """
    check_shape(leads, len(LEADS))
    if abs(leads.shape[1] - duration_s * fs) > 1:
        raise ValueError(f"{path}: {leads.shape[1]} samples, not {duration_s:g} s at {fs} Hz")
    if np.isinf(leads).any():
        raise ValueError(f"{path}: infinite values")
    table = pd.DataFrame(leads.T.astype(np.float64), columns=list(LEADS))
    with atomic_write(Path(path)) as partial:
        table.to_csv(partial, index=False, float_format=f"%.{DECIMALS}f")


def record_name(name: str) -> str:
    """A name that WFDB allows, of letters, digits, - and _; a changed one ends in a hash of the original."""
    allowed = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return name if name == allowed else f"{allowed}-{zlib.crc32(as_utf8(name)):08x}"


def write_wfdb(
    path: Path,
    leads: np.ndarray,
    fs: int,
    comments: Iterable[str] = (),
    imputed: np.ndarray | None = None,
) -> Path:
    """Write leads (12, L) mV in the order of LEADS as <path>.hea and <path>.dat; returns the header's path.

    Every lead keeps its own time on the page; wfdb.rdrecord reads NaN back as NaN. `imputed`
    (12, L) bool becomes the annotation file <path>.imp: in the channel of a lead, "(imputed" marks the first
    and "imputed)" the last sample of each imputed run; without imputed samples there is no such file.
    The name of the file is changed to one that WFDB allows. The header is written last, so it exists only
    once the record is complete. Raises ValueError for values beyond LIMIT_MV.
    """
    import wfdb  # slow to import, and not needed by the competition's notebook

    if np.nanmax(np.abs(leads)) > LIMIT_MV:
        raise ValueError(f"{path}: {np.nanmax(np.abs(leads)):.1f} mV do not fit into a WFDB record")
    name = record_name(path.name)
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=".wfdb.") as folder:
        wfdb.wrsamp(
            name,
            fs=fs,
            units=["mV"] * len(LEADS),
            sig_name=list(LEADS),
            p_signal=leads.T.astype(np.float64),
            fmt=[FORMAT] * len(LEADS),
            adc_gain=[GAIN] * len(LEADS),
            baseline=[0] * len(LEADS),
            comments=[as_utf8(" ".join(comment.split())).decode() for comment in comments],
            write_dir=folder,
        )
        path.with_name(f"{name}.{ANNOTATOR}").unlink(missing_ok=True)
        suffixes = [".dat", ".hea"]
        if imputed is not None and imputed.any():
            annotate(name, imputed, folder)
            suffixes.insert(0, f".{ANNOTATOR}")
        for suffix in suffixes:
            (Path(folder) / f"{name}{suffix}").replace(path.with_name(f"{name}{suffix}"))
    return path.with_name(f"{name}.hea")


def annotate(name: str, imputed: np.ndarray, folder: str) -> None:
    """Write the runs of True in `imputed` (12, L) bool as the annotation file of a record in a folder.

    The sampling rate is left to the header: in the annotation file wfdb keeps it at sample 0 and then ignores
    other annotations there.
    """
    import wfdb

    edges = np.diff(np.pad(imputed, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    lead, sample = np.nonzero(edges)
    begins = edges[lead, sample] > 0
    sample = np.where(begins, sample, sample - 1)
    order = np.lexsort((~begins, sample))
    wfdb.wrann(
        name,
        ANNOTATOR,
        sample[order],
        symbol=["="] * len(order),  # "=" is a measurement; comments at sample 0 would be read as definitions
        chan=lead[order],
        aux_note=["(imputed" if begin else "imputed)" for begin in begins[order]],
        write_dir=folder,
    )
