"""Which samples of a record belong to which lead of the page."""

import numpy as np

from configs.page import LEADS, RHYTHM_LEAD, ROWS


def quarter_bounds(length: int) -> tuple[tuple[int, int], ...]:
    """(start, stop) samples of the four columns of leads in a record of `length` samples: int(k L / 4)."""
    edges = [k * length // 4 for k in range(5)]
    return tuple(zip(edges[:-1], edges[1:], strict=True))


def rows_from_leads(leads: np.ndarray) -> np.ndarray:
    """(12, L) mV to the page's four rows (4, L) mV: three of four quarters each, then II."""
    rows = np.empty((len(ROWS) + 1, leads.shape[1]), leads.dtype)
    for row, names in zip(rows, ROWS, strict=False):
        for name, (start, stop) in zip(names, quarter_bounds(leads.shape[1]), strict=True):
            row[start:stop] = leads[LEADS.index(name), start:stop]
    rows[-1] = leads[LEADS.index(RHYTHM_LEAD)]
    return rows


def leads_from_rows(rows: np.ndarray) -> np.ndarray:
    """The page's four rows (4, L) mV to (12, L) mV, NaN outside a lead's quarter; II from the rhythm strip."""
    leads = np.full((len(LEADS), rows.shape[1]), np.nan, np.float32)
    for row, names in zip(rows, ROWS, strict=False):
        for name, (start, stop) in zip(names, quarter_bounds(rows.shape[1]), strict=True):
            leads[LEADS.index(name), start:stop] = row[start:stop]
    leads[LEADS.index(RHYTHM_LEAD)] = rows[-1]
    return leads
