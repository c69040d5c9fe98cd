"""Twelve leads as a WFDB record, the format of PhysioNet: https://physionet.org/physiotools/wag/header-5.htm"""

import re
import tempfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from configs.page import LEADS

GAIN = 1000.0  # steps a mV: of 1 uV
LIMIT_MV = 32.7  # of 16 bits at this gain
FORMAT = "16"  # of which -32768 stands for an unknown sample, read back as NaN


def record_name(name: str) -> str:
    """A name that WFDB allows, of letters, digits, - and _; if it had to change, with a hash of the old."""
    allowed = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return name if name == allowed else f"{allowed}-{zlib.crc32(name.encode()):08x}"


def write_wfdb(path: Path, leads: np.ndarray, fs: int, comments: Iterable[str] = ()) -> Path:
    """Write (12, L) mV in the order of LEADS as <path>.hea and <path>.dat; returns the header's path.

    Every lead lies at its own time of the ten seconds; NaN, unknown, comes back as NaN from wfdb.rdrecord.
    The file's name becomes one that WFDB allows. Atomic: the header, written last, is there once all is.
    Raises ValueError for values beyond LIMIT_MV.
    """
    import wfdb  # slow to import, and of no use to the competition's notebook

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
            comments=[" ".join(comment.split()) for comment in comments],
            write_dir=folder,
        )
        for suffix in (".dat", ".hea"):
            (Path(folder) / f"{name}{suffix}").replace(path.with_name(f"{name}{suffix}"))
    return path.with_name(f"{name}.hea")
