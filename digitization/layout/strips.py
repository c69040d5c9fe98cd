"""Which leads the rhythm strips of a page show, by their traces: each repeats a lead of the rows above.

The leads of a row and the strips below them are printed at the same time. So where the rows show the lead of
a strip, both show the same trace.
"""

import numpy as np

from configs.layouts import Layout, Segment

MAX_DIFFERENCE = 0.1  # squared difference of two copies of one trace at most, as a share of their powers
MIN_RATIO = 3.0  # how many times better a lead must fit a strip than any other to be the one that it shows


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


def name_strips(rows: np.ndarray, layout: Layout) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The leads of the rhythm strips by label and trace, and whether each one's trace confirms it.

    A strip that repeats the trace of another lead than the one it is labelled with is taken for that lead,
    unless another strip is.
    """
    names, confirmed = list(layout.rhythm), [False] * len(layout.rhythm)
    for index in range(len(names)):
        differences = compare_strip(rows, layout, len(layout.rows) + index)
        best = min(differences, key=lambda lead: differences[lead])
        own = differences.get(names[index], 2.0)
        if differences[best] <= MAX_DIFFERENCE and own > MIN_RATIO * differences[best] and best not in names:
            names[index], own = best, differences[best]
        others = min(differences[lead] for lead in differences if lead != names[index])
        confirmed[index] = own <= MAX_DIFFERENCE and others >= MIN_RATIO * own
    return tuple(names), tuple(confirmed)
