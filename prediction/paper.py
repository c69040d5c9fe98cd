"""Signals drawn as ECG paper shows them, 25 mm/s and 10 mm/mV, in SVG."""

from html import escape

import numpy as np

from configs.leads import QUARTERS, lead_place, lead_slice
from configs.page import DURATION_S, LEADS, MM_PER_MV, MM_PER_SECOND, RHYTHM_LEAD, ROW_PITCH_MM, ROWS
from digitization.signal.path import runs

UNIT = 10  # SVG units a mm
MARGIN_MM = 7.5  # about the signals
LEAST_EDGE_MM = 20.0  # from the first zero line to the top, from the last to the bottom
POINTS_PER_SECOND = int(MM_PER_SECOND * UNIT)  # one a unit
NAME_ABOVE_MM = 9.0  # a lead's name over its zero line
WIDTH = round((2 * MARGIN_MM + DURATION_S * MM_PER_SECOND) * UNIT)

# Once in a document, for all its papers.
DEFINITIONS = """<svg class="defs" width="0" height="0" aria-hidden="true"><defs>
<pattern id="mm" width="10" height="10" patternUnits="userSpaceOnUse">
<path d="M10 0H0V10" fill="none" stroke="#f7d6d3" stroke-width="1"/></pattern>
<pattern id="squares" width="50" height="50" patternUnits="userSpaceOnUse">
<rect width="50" height="50" fill="url(#mm)"/>
<path d="M50 0H0V50" fill="none" stroke="#e9a19b" stroke-width="2"/>
</pattern>
<pattern id="hatch" width="16" height="16" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">
<path d="M0 0V16" stroke="#5b5bd6" stroke-width="5"/></pattern></defs></svg>"""


def lead_row(lead: str) -> tuple[int, int]:
    """(row, quarter) of a lead's own time; the rhythm lead has the last row."""
    return (len(ROWS), 0) if lead == RHYTHM_LEAD else lead_place(lead)


def trace_path(x: float, y: float, signal: np.ndarray, fs: int) -> str:
    """The `d` of a path through a signal (n,) mV whose zero line begins at (x, y), in whole SVG units.

    Each step is relative to the last.
    """
    count = max(int(len(signal) / fs * POINTS_PER_SECOND), 2)
    values = np.interp(np.arange(count) / POINTS_PER_SECOND, np.arange(len(signal)) / fs, signal)
    heights = np.round(y - values * MM_PER_MV * UNIT).astype(int)
    steps = " ".join(f"1 {step}" for step in np.diff(heights).tolist()).replace(" -", "-")
    return f"M{round(x)} {heights[0]}l{steps}"


def edge_mm(signals: list[np.ndarray]) -> float:
    """How far the paper reaches beyond a zero line so that signals (n,) mV, upwards, stay on it."""
    return max(LEAST_EDGE_MM, MARGIN_MM + max(float(signal.max()) for signal in signals) * MM_PER_MV)


def draw_paper(
    leads: np.ndarray,
    fs: int,
    truth: np.ndarray | None = None,
    gaps: dict[str, list[tuple[float, float]]] | None = None,
    unsure: frozenset[str] = frozenset(),
    title: str = "",
    imputed: np.ndarray | None = None,
) -> str:
    """Leads (12, L) mV of ten seconds as an SVG in the layout of the page; DEFINITIONS must be in the
    document.

    `truth` (12, L) mV at the same fs is drawn beneath; `gaps`, lead -> [(start, stop)] s of the ten seconds,
    are shaded, samples `imputed` (12, L) bool hatched, and the names of `unsure` leads marked. The short copy
    of II is drawn in grey.
    """
    own = {lead: lead_slice(lead, leads.shape[1]) for lead in LEADS}
    signals = {lead: leads[LEADS.index(lead), own[lead]] for lead in LEADS}
    top = edge_mm([signals[lead] for lead in ROWS[0]])
    height = round((top + len(ROWS) * ROW_PITCH_MM + edge_mm([-signals[RHYTHM_LEAD]])) * UNIT)

    def start(row: int, quarter: int) -> tuple[float, float]:
        x = MARGIN_MM + quarter * DURATION_S / QUARTERS * MM_PER_SECOND
        return x * UNIT, (top + row * ROW_PITCH_MM) * UNIT

    parts = [
        f'<svg class="paper" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{escape(title)}">',
        f'<rect width="{WIDTH}" height="{height}" fill="#fffdfc"/>',
        f'<rect width="{WIDTH}" height="{height}" fill="url(#squares)"/>',
    ]
    for lead in LEADS:
        x, y = start(*lead_row(lead))
        mark = " unsure" if lead in unsure else ""
        parts.append(f'<path class="start" d="M{x:.0f} {y - 40:.0f}v80"/>')
        parts.append(
            f'<text class="lead-name{mark}" x="{x + 8:.0f}" y="{y - NAME_ABOVE_MM * UNIT:.0f}">{lead}</text>'
        )
    for lead in LEADS:
        x, y = start(*lead_row(lead))
        spans = [("gap", *span) for span in (gaps or {}).get(lead, ())]
        if imputed is not None:
            spans += [("imputed", a / fs, b / fs) for a, b in runs(imputed[LEADS.index(lead)])]
        for kind, begin, end in spans:
            left = x + (begin - own[lead].start / fs) * POINTS_PER_SECOND
            width = (end - begin) * POINTS_PER_SECOND
            parts.append(
                f'<rect class="{kind}" x="{left:.0f}" y="{y - 150:.0f}" width="{width:.0f}" height="300"/>'
            )
        if truth is not None:
            true = trace_path(x, y, truth[LEADS.index(lead), own[lead]], fs)
            parts.append(f'<path class="truth" d="{true}"/>')
        parts.append(f'<path class="trace" d="{trace_path(x, y, signals[lead], fs)}"/>')
    short = signals[RHYTHM_LEAD][: leads.shape[1] // QUARTERS]
    parts.append(f'<path class="trace copy" d="{trace_path(*start(*lead_place(RHYTHM_LEAD)), short, fs)}"/>')
    foot = f"{MM_PER_SECOND:g} mm/s, {MM_PER_MV:g} mm/mV"
    parts.append(f'<text class="foot" x="{WIDTH - 20}" y="{height - 20}">{foot}</text></svg>')
    return "".join(parts)
