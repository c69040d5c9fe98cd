"""The traces of a page of any layout, with calibration pulses and what separates the leads of a row."""

import numpy as np

from configs.layouts import Layout
from configs.page import LEADS, MM_PER_SECOND, PULSE_MV, PULSE_SECONDS
from synthesis.ink import put_ink, stroke
from synthesis.layouts.sheet import Print
from synthesis.style import POINT_PX

# What stands between two leads of a row: nothing, a bar, a tick, a tick above and one below, or a line from
# one row to the next.
SEPARATORS = ("none", "none", "bar", "tick", "ticks", "line")
PULSE_FLANK_MM = 1.0  # zero line printed on either side of a calibration pulse
NARROW_PULSE_SHARE = 0.3  # share of pages at 25 mm/s with pulses of half the usual width
JOINED_SHARE = 0.3  # share of pages on which one stroke runs through all leads of a row
COLOURED_SHARE = 0.12  # share of pages with traces in a dark colour
DARK_COLOURS = ((20, 20, 120), (110, 20, 20), (20, 70, 30), (60, 20, 90))  # RGB


def draw_rows(
    image: np.ndarray, leads: np.ndarray, fs: int, layout: Layout, place: Print, rng: np.random.Generator
) -> np.ndarray:
    """Draw each segment with pulses and separators, in place. `leads` (12, L) mV at `fs` Hz.

    Returns the corners of the pulses as LayoutPage has them.
    """
    ink = (float(rng.uniform(0, 70)),) * 3
    if rng.random() < COLOURED_SHARE:
        ink = DARK_COLOURS[rng.integers(len(DARK_COLOURS))]
    width, px_per_mv = rng.uniform(0.6, 1.3) * POINT_PX, layout.mm_per_mv * place.px_per_mm
    coverage = np.zeros(image.shape[:2], np.float32)
    seconds = np.arange(leads.shape[1]) / fs
    x = (place.start + seconds * layout.mm_per_second) * place.px_per_mm
    strokes: dict[int, list[np.ndarray]] = {}
    for segment in layout.segments:
        y0 = place.zero_lines[segment.row] * place.px_per_mm
        inside = segment.span(leads.shape[1])
        y = y0 - segment.sign * leads[LEADS.index(segment.lead), inside] * px_per_mv
        strokes.setdefault(segment.row, []).append(np.stack([x[inside], y], axis=1))
    joined = rng.random() < JOINED_SHARE
    for points in strokes.values():
        for part in [np.concatenate(points)] if joined else points:
            stroke(coverage, part, width)
    draw_separators(coverage, layout, place, width, rng)
    pulses = [] if place.pulse == "none" else draw_pulses(coverage, layout, place, width, rng)
    put_ink(image, coverage, ink)
    return np.array(pulses, np.float64).reshape(-1, 4, 2)


def draw_separators(
    coverage: np.ndarray, layout: Layout, place: Print, width: float, rng: np.random.Generator
) -> None:
    """Draw what separates the leads of a row, and sometimes ends it, into a coverage (H, W), in place."""
    kind = str(rng.choice(SEPARATORS))
    span_mm, pitch = layout.duration_s * layout.mm_per_second, place.pitch
    far, near = rng.uniform(4, 8), rng.uniform(1, 3)
    down, up = rng.uniform(0.4, 0.8) * pitch, rng.uniform(0.1, 0.6) * pitch
    strokes = {
        "none": (),
        "bar": ((-5.0, 5.0),),
        "tick": ((-1.5, 1.5),),
        "ticks": ((-far, -near), (near, far)),
        "line": ((-up, down),),
    }[kind]
    ends = kind in ("bar", "ticks") and rng.random() < 0.4
    thickness = width * rng.uniform(0.7, 1.6)
    for row in range(layout.row_count):
        columns = layout.columns if row < len(layout.rows) else 1
        for column in range(1, columns + int(ends)):
            at = (place.start + column / columns * span_mm) * place.px_per_mm
            for above, below in strokes:
                y = (place.zero_lines[row] + np.array([above, below])) * place.px_per_mm
                stroke(coverage, np.stack([np.full(2, at), y], axis=1), thickness)


def draw_pulses(
    coverage: np.ndarray, layout: Layout, place: Print, width: float, rng: np.random.Generator
) -> list[np.ndarray]:
    """Draw a calibration pulse at each row into a coverage (H, W), in place; their corners (4, 2) px."""
    narrow = rng.random() < NARROW_PULSE_SHARE and layout.mm_per_second == MM_PER_SECOND
    pulse_mm = PULSE_SECONDS * layout.mm_per_second * (0.5 if narrow else 1.0)
    before, after = PULSE_FLANK_MM * rng.uniform(0, 1.5, 2)
    edges = np.array([0.0, before, before, before + pulse_mm, before + pulse_mm, before + pulse_mm + after])
    x_mm = edges + place.start - edges[-1] - rng.choice([0.0, 0.0, 1.0, 2.0])
    if place.pulse == "right":
        x_mm = edges + place.start + layout.duration_s * layout.mm_per_second + rng.uniform(0, 1.5)
    height_mm = PULSE_MV * layout.mm_per_mv * np.array([0, 0, 1, 1, 0, 0])
    corners = []
    for zero_line in place.zero_lines:
        points = np.stack([x_mm, zero_line - height_mm], axis=1) * place.px_per_mm
        stroke(coverage, points, width)
        corners.append(points[1:5])
    return corners
