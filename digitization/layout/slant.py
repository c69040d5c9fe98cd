"""The slant of a print on its paper: every row begins a little to the left or right of the one above.

Recorders print all rows at once, but their print head is not always square to the preprinted grid: 1 to 2
degrees are 20 to 60 ms from the first row to the last. The leads tell: at the right slant the limb leads obey
Einthoven's and Goldberger's relations, and rhythm strips repeat the leads of the rows.
"""

import numpy as np

from configs.layouts import Layout

SLANTS = np.arange(-0.06, 0.0601, 0.002)  # squares to the right per square down; 0.06 is 3.4 degrees
MIN_GAIN = 0.7  # share of the contradiction that remains at a slant that is believed
END_S = 0.1  # seconds at the ends of a lead that are not compared, as they are shifted


def find_slant(rows: np.ndarray, layout: Layout, zero_lines: np.ndarray, squares_per_second: float) -> float:
    """The slant of rows (R, L) mV that were read as if there were none; 0 where none is evident.

    `zero_lines` (R,) are their heights in squares.
    """
    down = np.asarray(zero_lines) - np.mean(zero_lines)
    per_second = rows.shape[1] / layout.duration_s
    contradictions = np.array(
        [contradiction(rows, layout, slant * down / squares_per_second * per_second) for slant in SLANTS]
    )
    best = int(contradictions.argmin())
    at_rest = contradictions[np.abs(SLANTS).argmin()]
    if best in (0, len(SLANTS) - 1) or contradictions[best] > MIN_GAIN * at_rest:
        return 0.0
    before, least, after = contradictions[best - 1 : best + 2]
    curvature = before - 2 * least + after
    part = 0.5 * (before - after) / curvature if curvature > 0 else 0.0
    return float(SLANTS[best] + part * (SLANTS[1] - SLANTS[0]))


def contradiction(rows: np.ndarray, layout: Layout, shifts: np.ndarray) -> float:
    """The power by which simultaneous leads contradict each other, rows moved left by shifts (R,) samples.

    Infinite for a layout that has no leads to compare.
    """
    samples = np.arange(rows.shape[1])
    moved = np.stack(
        [np.interp(samples + shift, samples, row) for row, shift in zip(rows, shifts, strict=True)]
    )
    ends = round(END_S * rows.shape[1] / layout.duration_s)
    total = 0.0
    compared = False
    for part, segments, relation in layout.limb_groups():
        start, stop = part.bounds(rows.shape[1])
        readings = moved[[segment.row for segment in segments], start + ends : stop - ends]
        readings = readings - readings.mean(axis=1, keepdims=True)
        total += float(((readings - relation @ (np.linalg.pinv(relation) @ readings)) ** 2).sum())
        compared = True
    for strip in range(len(layout.rows), layout.row_count):
        lead = layout.row_segments(strip)[0].lead
        for cell in layout.segments:
            if cell.lead == lead and cell.row < len(layout.rows):
                start, stop = cell.bounds(rows.shape[1])
                inside = slice(start + ends, stop - ends)
                off = cell.sign * moved[cell.row, inside] - moved[strip, inside]
                total += float(((off - off.mean()) ** 2).sum()) / 2
                compared = True
    return total if compared else np.inf
