"""submission.csv: one line for each sample that the test table asks for."""

from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from utils.files import atomic_write

DECIMALS = 5  # of a mV


def row_ids(test_table: pd.DataFrame) -> list[str]:
    """{image}_{row}_{lead} for each sample asked for, in the table's order (id, lead, number_of_rows)."""
    return [
        f"{request.id}_{row}_{request.lead}"
        for request in test_table.itertuples()
        for row in range(request.number_of_rows)
    ]


def write_submission(path: Path, test_table: pd.DataFrame, signals: dict[str, dict[str, np.ndarray]]) -> None:
    """Write the samples that a table of id, lead, number_of_rows asks for, in its order; atomically.

    `signals` is image -> lead -> (n,) mV from the start of the lead. A longer signal is cut, a shorter one
    goes on at its last value; images without signals get zeros. Raises ValueError, naming image and lead,
    for signals that are empty, not finite, of no lead asked for, or of images not in the table.
    """
    unknown = set(signals) - set(test_table["id"])
    if unknown:
        raise ValueError(f"{path}: signals of images that are not asked for: {', '.join(sorted(unknown))}")
    templates: dict[tuple[str, int], str] = {}
    with atomic_write(Path(path)) as partial, partial.open("w", newline="") as file:
        file.write("id,value\n")
        for request in test_table.itertuples():
            values = requested_samples(signals.get(request.id), request)
            write_lead(file, templates, request, values)


def write_lead(file: IO[str], templates: dict[tuple[str, int], str], request, values: np.ndarray) -> None:
    """Append one lead; its lines but for image and values are made once for each lead and length."""
    key = request.lead, len(values)
    if key not in templates:
        rows = range(request.number_of_rows)
        templates[key] = "".join(f"\0_{row}_{request.lead},%.{DECIMALS}f\n" for row in rows)
    lines = templates[key] % tuple(values.tolist())
    file.write(lines.replace("\0", request.id))


def requested_samples(leads: dict[str, np.ndarray] | None, request) -> np.ndarray:
    """(number_of_rows,) of the lead that a row of the test table asks for."""
    count = request.number_of_rows
    if leads is None:
        return np.zeros(count)
    signal = np.asarray(leads.get(request.lead, ()), np.float64)
    if signal.ndim != 1 or not len(signal) or not np.isfinite(signal).all():
        raise ValueError(f"{request.id}, lead {request.lead}: signal missing, empty, or with NaN or inf")
    return np.pad(signal[:count], (0, max(count - len(signal), 0)), mode="edge")
