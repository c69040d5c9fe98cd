"""Which leads the rhythm strips of a page show, by their traces: each repeats a lead of the rows above.

The leads of a row and the strips below them are printed at the same time. So where the rows show the lead of
a strip, both show the same trace.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from configs.layouts import Layout, Segment

MAX_DIFFERENCE = 0.1  # squared difference of two copies of one trace at most, as a share of their powers
MIN_RATIO = 3.0  # how many times better a lead must fit a strip than any other to be the one that it shows
# Difference and ratio from which the trace is believed against a legible label: copies of one trace differ by
# 0.0001 to 0.02, neighbours such as V1 and V2 by 0.1.
SURE_DIFFERENCE, SURE_RATIO = 0.02, 8.0


def compare_strip(rows: np.ndarray, layout: Layout, strip: int) -> dict[str, float]:
    """The difference of a strip of rows (R, L) mV from each lead printed at the same time, lead -> 0..2."""
    cells = [segment for segment in layout.segments if segment.row < len(layout.rows)]
    return {cell.lead: difference(rows, cell, strip) for cell in cells}


def difference(rows: np.ndarray, cell: Segment, strip: int) -> float:
    """The power of the difference of a lead's trace from another row at the same time, over their powers."""
    inside = cell.span(rows.shape[1])
    own, other = cell.sign * rows[cell.row, inside], rows[strip, inside]
    own, other = own - own.mean(), other - other.mean()
    power = float((own**2).sum() + (other**2).sum())
    return float(((own - other) ** 2).sum()) / power if power > 0 else 2.0


@dataclass(frozen=True)
class StripName:
    """The lead of a rhythm strip, whether its trace confirms it, and another lead that it repeats, or ""."""

    lead: str
    is_confirmed: bool
    repeats: str = ""


def name_strips(rows: np.ndarray, layout: Layout, legible: Sequence[bool]) -> tuple[StripName, ...]:
    """The leads of the rhythm strips of rows (R, L) mV by label and trace.

    A strip that repeats the trace of another lead than its label says is taken for that lead where its label
    is not `legible` or the traces leave no doubt, unless another strip is taken for it.
    """
    names, found = list(layout.rhythm), []
    for index, is_legible in enumerate(legible):
        differences = compare_strip(rows, layout, len(layout.rows) + index)
        best = min(differences, key=lambda lead: differences[lead])
        own, other = differences.get(names[index], 2.0), ""
        if differences[best] <= MAX_DIFFERENCE and own > MIN_RATIO * differences[best]:
            is_sure = differences[best] <= SURE_DIFFERENCE and own >= SURE_RATIO * differences[best]
            if best in names or (is_legible and not is_sure):
                other = best
            else:
                names[index], own = best, differences[best]
        others = min(differences[lead] for lead in differences if lead != names[index])
        found.append(StripName(names[index], own <= MAX_DIFFERENCE and others >= MIN_RATIO * own, other))
    return tuple(found)
