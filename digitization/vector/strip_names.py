"""Which leads the rhythm strips of a PDF page show: by the curves above them, which they repeat."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from digitization.layout.strips import MIN_RATIO
from digitization.vector.arrangement import Piece

MAX_DIFFERENCE = 0.01  # of a copy; those of the shared files differ by 0.0001, other leads by 0.04 and more
STEP_MM = 0.1  # at which two curves are compared
MAX_LAG_MM = 2.5  # 0.1 s at 25 mm/s, by which a copy may be printed beside the strip


def name_strips(columns: Sequence[Sequence[Piece]], strips: Sequence[Piece]) -> tuple[list[Piece], list[str]]:
    """The strips that have a name or repeat a lead of the columns, with their names; and doubts."""
    found, doubts = [], []
    cells = [cell for column in columns for cell in column]
    for number, strip in enumerate(strips, start=1):
        differences = {cell.lead: difference(strip, cell) for cell in cells}
        ranked = sorted(differences, key=lambda lead: differences[lead])
        best, second = ranked[0], ranked[1] if len(ranked) > 1 else ranked[0]
        is_clear = differences[best] <= MAX_DIFFERENCE and (
            best == second or differences[second] >= MIN_RATIO * differences[best]
        )
        if strip.lead:
            if differences.get(strip.lead, 0.0) > MAX_DIFFERENCE:
                shown = f", but shows the trace of {best}" if is_clear else ", but shows another trace"
                doubts.append(f"strip {number} is named {strip.lead}{shown}")
            found.append(strip)
        elif is_clear and best not in [other.lead for other in strips]:
            found.append(replace(strip, lead=best))
        else:
            doubts.append(f"strip {number} has no name and repeats none of the leads: it is left out")
    return found, doubts


def difference(strip: Piece, cell: Piece) -> float:
    """The power of the difference of a strip and a lead where both are printed, over their powers: 0..2."""
    x = np.arange(cell.points[0, 0], cell.points[-1, 0], STEP_MM)
    own = cell.sign * np.interp(x, *cell.points.T)
    own -= own.mean()
    least = 2.0
    for lag in np.arange(-MAX_LAG_MM, MAX_LAG_MM + STEP_MM / 2, STEP_MM):
        other = strip.sign * np.interp(x + lag, *strip.points.T)
        other -= other.mean()
        power = float((own**2).sum() + (other**2).sum())
        if power > 0:
            least = min(least, float(((own - other) ** 2).sum()) / power)
    return least
