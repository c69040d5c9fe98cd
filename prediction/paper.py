"""Signals drawn as ECG paper shows them, 25 mm/s and 10 mm/mV, in SVG."""

import numpy as np

from configs.layouts import COMPETITION, Layout, Segment, lead_slice
from configs.page import LEADS, MM_PER_MV, MM_PER_SECOND, ROW_PITCH_MM
from digitization.signal.path import runs
from prediction.templates import environment

UNIT = 10  # SVG units per mm
MARGIN_MM = 7.5  # margin about the signals
LEAST_EDGE_MM = 20.0  # least distance from the first zero line to the top, from the last to the bottom
POINTS_PER_SECOND = int(MM_PER_SECOND * UNIT)  # points of a path: one per SVG unit
NAME_ABOVE_MM = 9.0  # height of a lead's label over its zero line


def trace_path(x: float, y: float, signal: np.ndarray, fs: int) -> str:
    """The `d` of a path through a signal (n,) mV whose zero line begins at (x, y), in whole SVG units.

    Each step is relative to the last. Where the signal is NaN the path is interrupted.
    """
    count = max(int(len(signal) / fs * POINTS_PER_SECOND), 2)
    values = np.interp(np.arange(count) / POINTS_PER_SECOND, np.arange(len(signal)) / fs, signal)
    path = ""
    for first, stop in runs(np.isfinite(values)):
        heights = np.round(y - values[first:stop] * MM_PER_MV * UNIT).astype(int)
        steps = " ".join(f"1 {step}" for step in np.diff(heights).tolist()).replace(" -", "-")
        path += f"M{round(x) + first} {heights[0]}l{steps or '0 0'}"
    return path


def edge_mm(signals: list[np.ndarray]) -> float:
    """How far the paper reaches beyond a zero line so that signals (n,) mV, upwards, stay on it."""
    return max(
        LEAST_EDGE_MM, MARGIN_MM + max(float(np.nanmax(signal, initial=0)) for signal in signals) * MM_PER_MV
    )


def draw_paper(
    leads: np.ndarray,
    fs: int,
    layout: Layout = COMPETITION,
    truth: np.ndarray | None = None,
    gaps: dict[str, list[tuple[float, float]]] | None = None,
    unsure: frozenset[str] = frozenset(),
    title: str = "",
    imputed: np.ndarray | None = None,
) -> str:
    """Leads (12, L) mV as an SVG in the layout of the page, all upright, at 25 mm/s and 10 mm/mV.

    The document that holds it needs the patterns of templates/definitions.svg. `truth` (12, L) mV at the same
    fs is drawn beneath; `gaps`, lead -> [(start, stop)] s on the page, are shaded, samples `imputed` (12, L)
    bool hatched, and the labels of `unsure` leads marked. Short copies of rhythm leads are drawn in grey.
    """
    own = {lead: lead_slice(lead, leads.shape[1], layout) for lead in layout.longest}
    signals = {lead: leads[LEADS.index(lead), own[lead]] for lead in own}
    first, last = ([s.lead for s in layout.row_segments(row)] for row in (0, layout.row_count - 1))
    top = edge_mm([signals[lead] for lead in first])
    below = edge_mm([-signals[lead] for lead in last])
    height = round((top + (layout.row_count - 1) * ROW_PITCH_MM + below) * UNIT)

    def start(segment: Segment) -> tuple[float, float]:
        x = MARGIN_MM + segment.bounds(leads.shape[1])[0] / fs * MM_PER_SECOND
        return x * UNIT, (top + segment.row * ROW_PITCH_MM) * UNIT

    def describe_lead(lead: str) -> dict:
        index, (x, y) = LEADS.index(lead), start(layout.segment_of(lead))
        spans = [("gap", *span) for span in (gaps or {}).get(lead, ())]
        if imputed is not None:
            spans += [("imputed", first / fs, last / fs) for first, last in runs(imputed[index])]
        begin_s = own[lead].start / fs
        return {
            "name": lead,
            "is_unsure": lead in unsure,
            "x": round(x),
            "y": round(y),
            "trace": trace_path(x, y, signals[lead], fs),
            "truth": "" if truth is None else trace_path(x, y, truth[index, own[lead]], fs),
            "spans": [
                {
                    "kind": kind,
                    "x": round(x + (first - begin_s) * POINTS_PER_SECOND),
                    "width": round((last - first) * POINTS_PER_SECOND),
                }
                for kind, first, last in spans
            ],
        }

    copies = [segment for segment in layout.segments if segment != layout.segment_of(segment.lead)]
    return (
        environment()
        .get_template("paper.svg")
        .render(
            width=round((2 * MARGIN_MM + layout.duration_s * MM_PER_SECOND) * UNIT),
            height=height,
            title=title,
            leads=[describe_lead(lead) for lead in own],
            copies=[
                trace_path(*start(segment), signals[segment.lead][segment.span(leads.shape[1])], fs)
                for segment in copies
            ],
            name_above=round(NAME_ABOVE_MM * UNIT),
            foot=f"{MM_PER_SECOND:g} mm/s, {MM_PER_MV:g} mm/mV",
        )
    )
