"""The curves among the lines of a PDF page: traces of leads and calibration pulses, in mm of the page."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from utils.pdf import Line, PdfPage

TOUCHING_MM = 0.02  # mm within which one line ends where the next begins, or x runs back
MIN_TRACE_POINTS = 30  # points of a trace: boxes, arrows and pulses have fewer, or are shorter
MIN_TRACE_MM = 15.0  # length of a trace along the page: 0.6 s at 25 mm/s, an averaged beat
MAX_PULSE_MM = 16.0  # length of a pulse with its feet: 10 mm at 50 mm/s, and twice 2.5 mm
PULSE_HEIGHTS_MM = (1.5, 45.0)  # 1 mV at 2.5 mm/mV on a small print, and at 40 mm/mV
LEVEL_SHARE = 0.02  # share of a pulse's height within which its points lie at its foot or on its top
MIN_TOP_MM = 1.0  # length of a pulse's top, which is flat; a QRS complex or a pacing spike has none such


@dataclass(frozen=True)
class Trace:
    """A curve from left to right through points (N, 2) mm, drawn in the style of its line."""

    points: np.ndarray
    style: tuple

    @property
    def start(self) -> float:
        return float(self.points[0, 0])

    @property
    def end(self) -> float:
        return float(self.points[-1, 0])

    @property
    def width(self) -> float:
        return self.end - self.start

    @cached_property
    def middle(self) -> float:
        """y about which the curve runs: the median over its length, as flat stretches may have few points."""
        x = np.linspace(self.start, self.end, 2000)
        return float(np.median(np.interp(x, *self.points.T)))


@dataclass(frozen=True)
class PrintedPulse:
    """A calibration pulse: where it begins, y of its foot, its height, and the width of its top, in mm."""

    x: float
    foot: float
    height: float
    width: float


def find_curves(page: PdfPage) -> tuple[list[Trace], list[PrintedPulse]]:
    """The traces and the calibration pulses of a page, in the order of the file."""
    traces, pulses = [], []
    for line in join_lines(page.lines):
        points = left_to_right(line.points)
        if points is None or line.is_curved or not line.is_stroke or line.colour[3] == 0:
            continue
        if (pulse := as_pulse(points)) is not None:
            pulses.append(pulse)
        elif len(points) >= MIN_TRACE_POINTS and points[-1, 0] - points[0, 0] >= MIN_TRACE_MM:
            pulse, points = split_pulse(points)
            traces.append(Trace(points, line.style))
            pulses += [] if pulse is None else [pulse]
    return traces, pulses


def join_lines(lines: Sequence[Line]) -> list[Line]:
    """Lines, of which those that begin where the one before them ends, in the same style, become one.

    Some drivers break long paths, and some draw each step of a curve by itself.
    """
    joined: list[Line] = []
    parts: list[Line] = []

    def finish() -> None:
        if len(parts) > 1:
            points = np.concatenate([parts[0].points, *(part.points[1:] for part in parts[1:])])
            joined.append(replace(parts[0], points=points))
        else:
            joined.extend(parts)

    for line in lines:
        continues = (
            parts
            and line.style == parts[-1].style
            and not (line.is_curved or parts[-1].is_curved)
            and np.abs(line.points[0] - parts[-1].points[-1]).max() <= TOUCHING_MM
        )
        if not continues:
            finish()
            parts = []
        parts.append(line)
    finish()
    return joined


def left_to_right(points: np.ndarray) -> np.ndarray | None:
    """Points (N, 2) in the order of x, if they run in one direction; None for any other line."""
    if len(points) < 3 or not np.isfinite(points).all():
        return None
    steps = np.diff(points[:, 0])
    if (steps >= -TOUCHING_MM).all():
        return points
    return points[::-1] if (steps <= TOUCHING_MM).all() else None


def as_pulse(points: np.ndarray) -> PrintedPulse | None:
    """A line from left to right that is a calibration pulse and nothing else; None for any other."""
    if len(points) < 4 or points[-1, 0] - points[0, 0] > MAX_PULSE_MM:
        return None
    return measure_pulse(points)


def measure_pulse(points: np.ndarray) -> PrintedPulse | None:
    """Points (N, 2) that lie on two levels, of which the upper is reached and left once; None for others."""
    x, y = points.T
    foot, top = float(y.max()), float(y.min())
    height = foot - top
    if not PULSE_HEIGHTS_MM[0] <= height <= PULSE_HEIGHTS_MM[1]:
        return None
    above = y < (foot + top) / 2
    if np.abs(y - np.where(above, top, foot)).max() > LEVEL_SHARE * height:
        return None
    edges = np.flatnonzero(np.diff(above))
    if len(edges) != 2 or above[0]:
        return None
    rise, fall = ((x[edge] + x[edge + 1]) / 2 for edge in edges)
    if x[edges[1]] - x[edges[0] + 1] < MIN_TOP_MM:
        return None
    return PrintedPulse(float(rise), foot, height, float(fall - rise))


def split_pulse(points: np.ndarray) -> tuple[PrintedPulse | None, np.ndarray]:
    """The pulse with which a trace (N, 2) begins, if it does, and the points after it."""
    x, y = points.T
    reach = int(np.searchsorted(x, x[0] + MAX_PULSE_MM))
    risen = np.flatnonzero(y[0] - y[:reach] > PULSE_HEIGHTS_MM[0])
    if not len(risen):
        return None, points
    height = y[0] - y[risen[0]]
    back = np.flatnonzero(y[risen[0] : reach] > y[0] - LEVEL_SHARE * height)
    if not len(back):
        return None, points
    stop = risen[0] + back[0] + 1
    pulse = measure_pulse(points[:stop])
    return (None, points) if pulse is None else (pulse, points[stop - 1 :])
