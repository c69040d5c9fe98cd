"""The twelve leads, the four printed rows, and the quarters of ten seconds that they share.

Signals are in mV. A page's leads are (12, L) in the order of configs.page.LEADS, its rows (4, L): three rows
of four leads, a quarter of the time each, then the rhythm strip. L is ten seconds of samples.
"""

from itertools import pairwise

import numpy as np

from configs.page import LEADS, RHYTHM_LEAD, ROWS

QUARTERS = len(ROWS[0])  # number of leads side by side in a row


def quarter_bounds(length: int) -> tuple[tuple[int, int], ...]:
    """The (start, stop) of the quarters of `length` samples, at int(k * L / 4) as in the competition."""
    edges = [k * length // QUARTERS for k in range(QUARTERS + 1)]
    return tuple(pairwise(edges))


def lead_place(lead: str) -> tuple[int, int]:
    """The (row, quarter) in which a lead is printed; for II that of its short copy. ValueError if unknown."""
    for row, names in enumerate(ROWS):
        if lead in names:
            return row, names.index(lead)
    raise ValueError(f"{lead!r} is not one of the leads {', '.join(LEADS)}")


def lead_slice(lead: str, length: int) -> slice:
    """The samples, of `length` in ten seconds, in which a lead is printed: its quarter, or all for II."""
    quarter = lead_place(lead)[1]
    return slice(0, length) if lead == RHYTHM_LEAD else slice(*quarter_bounds(length)[quarter])


def rows_from_leads(leads: np.ndarray) -> np.ndarray:
    """Leads (12, L) to rows (4, L): the quarters of the leads of each row joined, last the rhythm lead."""
    check_shape(leads, len(LEADS))
    rows = np.empty((len(ROWS) + 1, leads.shape[1]), leads.dtype)
    for row, names in enumerate(ROWS):
        for lead, (start, stop) in zip(names, quarter_bounds(leads.shape[1]), strict=True):
            rows[row, start:stop] = leads[LEADS.index(lead), start:stop]
    rows[-1] = leads[LEADS.index(RHYTHM_LEAD)]
    return rows


def split_rows(rows: np.ndarray) -> dict[str, np.ndarray]:
    """Rows (4, L) to lead -> (n,), the signal of its quarter; for the rhythm lead that of the whole strip."""
    check_shape(rows, len(ROWS) + 1)
    signals = {}
    for lead in LEADS:
        row = len(ROWS) if lead == RHYTHM_LEAD else lead_place(lead)[0]
        signals[lead] = rows[row, lead_slice(lead, rows.shape[1])]
    return signals


def leads_from_rows(rows: np.ndarray) -> np.ndarray:
    """Rows (4, L) to leads (12, L) float32, NaN outside a lead's own time; II is the rhythm strip."""
    leads = np.full((len(LEADS), rows.shape[1]), np.nan, np.float32)
    for lead, signal in split_rows(rows).items():
        leads[LEADS.index(lead), lead_slice(lead, rows.shape[1])] = signal
    return leads


def mask_to_quarters(leads: np.ndarray) -> np.ndarray:
    """A copy of leads (12, L) float with NaN outside each lead's own time."""
    check_shape(leads, len(LEADS))
    masked = np.full_like(leads, np.nan)
    for index, lead in enumerate(LEADS):
        inside = lead_slice(lead, leads.shape[1])
        masked[index, inside] = leads[index, inside]
    return masked


def check_shape(signals: np.ndarray, count: int) -> None:
    """Raise ValueError unless the signals are (count, L)."""
    if signals.ndim != 2 or len(signals) != count:
        raise ValueError(f"signals of shape {signals.shape}, expected ({count}, L)")
