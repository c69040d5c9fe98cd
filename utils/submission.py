"""submission.csv: one line for each sample that the test table requests."""

from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from utils.files import atomic_write

DECIMALS = 5  # decimal places of the values in mV


def row_ids(test_table: pd.DataFrame) -> list[str]:
    """The ids {image}_{row}_{lead} of all requested samples, in the order of the table's rows.

    The table has the columns id, lead and number_of_rows.
    """
    return [
        f"{request.id}_{row}_{request.lead}"
        for request in test_table.itertuples()
        for row in range(request.number_of_rows)
    ]


def write_submission(path: Path, test_table: pd.DataFrame, signals: dict[str, dict[str, np.ndarray]]) -> None:
    """Write the samples that a table (id, lead, number_of_rows) requests, in its order; atomically.

    `signals` maps image and lead to (n,) mV from the start of the lead. A longer signal is cut, a shorter one
    padded with its last value; images without signals get zeros. Raises ValueError, naming image and lead,
    when a requested lead is missing, empty or not finite, or when an image is not in the table.
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
    """Append one lead's lines; `templates` caches them, without image and values, by lead and length."""
    key = request.lead, len(values)
    if key not in templates:
        rows = range(request.number_of_rows)
        templates[key] = "".join(f"\0_{row}_{request.lead},%.{DECIMALS}f\n" for row in rows)
    lines = templates[key] % tuple(values.tolist())
    file.write(lines.replace("\0", request.id))


def requested_samples(leads: dict[str, np.ndarray] | None, request) -> np.ndarray:
    """The samples (number_of_rows,) mV of the lead that a row of the test table requests."""
    count = request.number_of_rows
    if leads is None:
        return np.zeros(count)
    signal = np.asarray(leads.get(request.lead, ()), np.float64)
    if signal.ndim != 1 or not len(signal) or not np.isfinite(signal).all():
        raise ValueError(f"{request.id}, lead {request.lead}: signal missing, empty, or with NaN or inf")
    return np.pad(signal[:count], (0, max(count - len(signal), 0)), mode="edge")
