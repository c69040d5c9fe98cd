"""Which leads the rhythm strips of a page show, by their traces: each repeats a lead of the rows above.

The leads of a row and the strips below them are printed at the same time. So where the rows show the lead of
a strip, both show the same trace.
"""

from dataclasses import dataclass

import numpy as np

from configs.layouts import Layout, Segment

SURE_LIKENESS = 0.9  # correlation from which a strip shows the same trace as a lead
MIN_MARGIN = 0.06  # by how much the correlation with another lead must exceed that with the strip's own


@dataclass(frozen=True)
class StripLikeness:
    """The correlation of a strip with each lead of the rows, lead -> -1..1."""

    row: int
    correlation: dict[str, float]

    @property
    def likeliest(self) -> str:
        return max(self.correlation, key=lambda lead: self.correlation[lead])


def compare_strips(rows: np.ndarray, layout: Layout) -> list[StripLikeness]:
    """The correlation of each rhythm strip of rows (R, L) mV with the leads printed at the same time."""
    cells = [segment for segment in layout.segments if segment.row < len(layout.rows)]
    strips = range(len(layout.rows), layout.row_count)
    return [StripLikeness(row, {cell.lead: correlate(rows, cell, row) for cell in cells}) for row in strips]


def correlate(rows: np.ndarray, cell: Segment, row: int) -> float:
    """The correlation of a lead's trace with that of another row at the same time; 0 for flat ones."""
    inside = cell.span(rows.shape[1])
    own, other = cell.sign * rows[cell.row, inside], rows[row, inside]
    own, other = own - own.mean(), other - other.mean()
    power = float(np.sqrt((own**2).sum() * (other**2).sum()))
    return float((own * other).sum()) / power if power > 0 else 0.0


def name_strips(rows: np.ndarray, layout: Layout) -> tuple[tuple[str, ...], tuple[bool, ...]]:
    """The leads of the rhythm strips by label and trace, and whether each one's trace confirms it.

    A strip that is like another lead than the one it is labelled with, and clearly less like its own, is
    taken for that lead, unless another strip has it.
    """
    names, confirmed = list(layout.rhythm), [False] * len(layout.rhythm)
    for index, found in enumerate(compare_strips(rows, layout)):
        own = found.correlation.get(names[index], 0.0)
        best = found.likeliest
        surpasses = found.correlation[best] - own > MIN_MARGIN
        if found.correlation[best] >= SURE_LIKENESS and surpasses and best not in names:
            names[index], own = best, found.correlation[best]
        confirmed[index] = own >= SURE_LIKENESS and found.correlation[best] - own <= MIN_MARGIN
    return tuple(names), tuple(confirmed)
