"""A page of a PDF that holds the curves of its leads: what they are, and reasons to doubt them."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from configs.layouts import COMPETITION, LIMB_LEADS, Layout, Segment
from configs.page import LEADS
from digitization.layout.page import Known
from digitization.signal.limb_leads import solve, zero_lines
from digitization.vector.arrangement import (
    NOMINAL_SECONDS,
    Arrangement,
    CurvesUnread,
    Piece,
    PlacedPiece,
    arrange,
    cut_rows,
    split_strips,
)
from digitization.vector.curves import PrintedPulse, Trace, find_curves
from digitization.vector.grid_lines import find_grid
from digitization.vector.lead_names import Label, find_labels, match_labels
from digitization.vector.print_scales import PrintScales, find_print_scales
from digitization.vector.sampling import Curve, make_curve
from digitization.vector.strip_names import name_strips
from utils.pdf import PdfPage

MAX_FOOT_MV = 0.5  # from the middle of its row to the foot of a pulse that gives the row's zero line
LIMB_HZ = 500  # rate at which the limb leads are compared
STRIP_SHIFTS_S = np.arange(-6, 7) * 0.004  # ecgtizer's fourth column is 0.024 s beside its strip
MAX_TRACES, MAX_LABELS = 100, 200  # of a page, beyond which it is no ECG's; names stand in tables too
MIN_ROW_S = 2.0  # of a whole row: shorter ones are averaged beats
MAX_PIECES = 40  # leads on a page with their copies
MAX_BESIDE_MM = 15.0  # beyond the curves' bounds, within which a name without a curve is noticed


class NoCurves(ValueError):
    """There are no curves on a page that could be those of leads."""


class OtherLeads(ValueError):
    """A page shows leads, and none of the twelve; `leads` are their names."""

    def __init__(self, leads: tuple[str, ...]):
        super().__init__(f"shows {', '.join(leads)}, none of the twelve leads")
        self.leads = leads


@dataclass(frozen=True)
class PrintedLead:
    """A lead as printed: where, from which second of the record, and its curve, upright."""

    segment: Segment
    first_s: float
    curve: Curve
    points: np.ndarray


@dataclass(frozen=True)
class VectorPage:
    """A page read by its curves.

    layout: with speed, gain and duration. leads: every lead printed, strips included. scales: how speed and
    gain are known. left_out: leads beside the twelve. turns: quarter turns clockwise from upright.
    """

    pdf: PdfPage
    layout: Layout
    leads: tuple[PrintedLead, ...]
    scales: PrintScales
    left_out: tuple[str, ...]
    turns: int
    doubts: tuple[str, ...]

    def lead_signals(self, fs: int) -> np.ndarray:
        """The leads (12, L) float32 mV at `fs` Hz, NaN where not printed; of two copies the longer."""
        length = round(self.layout.duration_s * fs)
        signals = np.full((len(LEADS), length), np.nan, np.float32)
        for lead, segment in self.layout.longest.items():
            printed = next(printed for printed in self.leads if printed.segment == segment)
            span = segment.span(length)
            first = span.start / fs - printed.first_s
            signals[LEADS.index(lead), span] = printed.curve.sample(fs, span.stop - span.start, first)
        return signals

    @property
    def native_hz(self) -> float | None:
        """The rate of the points of the curves, in Hz; None where they follow no rate."""
        rates = [printed.curve.native_hz for printed in self.leads]
        known = [rate for rate in rates if rate is not None]
        return float(np.median(known)) if 2 * len(known) > len(rates) else None

    @cached_property
    def limb_residual(self) -> float:
        """Deviation of the limb leads from Einthoven's and Goldberger's relations, mV rms; NaN if unknown."""
        squares = [self.limb_squares(column) for column in range(self.layout.columns)]
        known = np.concatenate([np.array([]), *squares])
        return float(np.sqrt(known.mean())) if len(known) else float("nan")

    def limb_squares(self, column: int) -> np.ndarray:
        """The squared deviations of the limb leads printed together in a column, (n,) mV².

        Strips are printed a few ms beside the columns by some makers: of such shifts the best one counts.
        """
        own = [
            printed
            for printed in self.leads
            if printed.segment.lead in LIMB_LEADS
            and (self.is_strip(printed) or printed.segment.column == column)
        ]
        if len(own) < 3:
            return np.array([])
        times = np.arange(round(self.layout.duration_s / self.layout.columns * LIMB_HZ)) / LIMB_HZ
        times += column * self.layout.duration_s / self.layout.columns
        relation = np.array([LIMB_LEADS[printed.segment.lead] for printed in own])
        best = np.array([])
        for shift in STRIP_SHIFTS_S if any(map(self.is_strip, own)) and self.layout.columns > 1 else (0.0,):
            starts = [p.first_s - (shift if self.is_strip(p) else 0.0) for p in own]
            readings = np.stack([p.curve.at(times - s) for p, s in zip(own, starts, strict=True)])
            readings = readings[:, np.isfinite(readings).all(axis=0)]
            if not readings.size:
                continue
            readings = readings - zero_lines(relation, readings)
            squares = ((readings - solve(relation, np.ones_like(readings), readings)) ** 2).ravel()
            if not len(best) or squares.mean() < best.mean():
                best = squares
        return best

    def is_strip(self, printed: PrintedLead) -> bool:
        return printed.segment.row >= len(self.layout.rows)


def read_vector_page(page: PdfPage, known: Known) -> VectorPage:
    """The leads of a page by its curves. `known` is what is known of it beforehand.

    Raises NoCurves for a page without any, CurvesUnread where names and curves do not tell the leads, and
    OtherLeads where they are none of the twelve.
    """
    page, turns = turn_upright(page)
    traces, pulses = find_curves(page)
    labels = find_labels(page.texts)
    if not traces:
        raise NoCurves("no curves")
    if len(traces) > MAX_TRACES or len(labels) > MAX_LABELS:
        raise CurvesUnread(f"{len(traces)} curves and {len(labels)} names of leads are too many for an ECG")
    if page.is_mirrored:
        raise CurvesUnread("the page is mirrored")
    if not labels:
        raise CurvesUnread("no names of leads are found beside the curves")
    matched = match_labels(labels, traces)
    styles = {trace.style for trace, own in zip(traces, matched, strict=True) if own}
    kept = [(trace, own) for trace, own in zip(traces, matched, strict=True) if trace.style in styles]
    if not kept:
        raise CurvesUnread("no names of leads are found beside the curves")
    traces, matched = [trace for trace, _ in kept], [own for _, own in kept]
    scales = find_print_scales(
        page.texts,
        find_grid(page, bounds_of(traces)),
        pulses,
        quarter_of(traces, matched),
        known.speed,
        known.gain,
    )
    pieces = cut_rows(traces, matched, scales.mm_per_second)
    left_out = tuple(piece.lead for piece in pieces if piece.lead and piece.lead not in LEADS)
    pieces = [piece for piece in pieces if piece.lead in LEADS or not piece.lead]
    if not any(piece.lead for piece in pieces):
        raise OtherLeads(left_out)
    if len(pieces) > MAX_PIECES:
        raise CurvesUnread(f"{len(pieces)} curves are too many for an ECG")
    columns, strips = split_strips(pieces)
    strips, strip_doubts = name_strips(columns, strips)
    arrangement = arrange(columns, strips, scales.mm_per_second, scales.speed.value, scales.gain.value)
    doubts = [*scales.doubts, *strip_doubts, *unmatched_names(labels, matched, traces)]
    doubts += doubts_of_known(arrangement.layout, known) + doubts_of_duration(arrangement.layout, scales)
    leads = print_leads(arrangement, pulses, scales)
    return VectorPage(page, arrangement.layout, leads, scales, left_out, turns, tuple(doubts))


def turn_upright(page: PdfPage) -> tuple[PdfPage, int]:
    """The page turned so that most names of leads are upright, and the quarter turns clockwise it was off."""
    counts = [
        len(find_labels([replace(text, turns=0) for text in page.texts if text.turns == turns]))
        for turns in range(4)
    ]
    turns = int(np.argmax(counts))
    return (page, 0) if counts[turns] == counts[0] else (page.turned_back(turns), turns)


def quarter_of(traces: Sequence[Trace], matched: Sequence[Sequence[Label]]) -> float | None:
    """The width of a lead in mm if the rows have four, by the beginnings of traces or of whole rows."""
    rows = [trace.width / 4 for trace, own in zip(traces, matched, strict=True) if len(own) == 4]
    if rows:
        return float(np.median(rows))
    narrowest = min(trace.width for trace in traces)
    starts = np.sort([trace.start for trace in traces if trace.width < 1.5 * narrowest])
    starts = starts[np.concatenate([[True], np.diff(starts) > 0.3 * narrowest])]
    return float(np.diff(starts).mean()) if len(starts) == 4 else None


def unmatched_names(
    labels: Sequence[Label], matched: Sequence[Sequence[Label]], traces: Sequence[Trace]
) -> list[str]:
    """A doubt for names of the twelve leads among the curves that belong to none of them."""
    used = {label.lead for own in matched for label in own}
    (left, top), (right, bottom) = bounds_of(traces) + np.array([[-MAX_BESIDE_MM], [MAX_BESIDE_MM]])
    lost = [
        label.lead
        for label in labels
        if label.lead not in used and not label.is_other
        and left <= label.x <= right and top <= label.y <= bottom
    ]  # fmt: skip
    return [f"no curve is found for the names {', '.join(dict.fromkeys(lost))}"] if lost else []


def bounds_of(traces: Sequence[Trace]) -> np.ndarray:
    """The top left and the bottom right corner of the area of all traces, (2, 2) mm."""
    corners = np.array([[trace.points.min(axis=0), trace.points.max(axis=0)] for trace in traces])
    return np.stack([corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)])


def doubts_of_known(layout: Layout, known: Known) -> list[str]:
    """A doubt where the page has another layout than the user says."""
    given = COMPETITION if known.competition else known.layout
    if given is None or (given.rows, given.rhythm) == (layout.rows, layout.rhythm):
        return []
    return [f"layout {layout.name} by the names on the page, but {given.name} is given"]


def doubts_of_duration(layout: Layout, scales: PrintScales) -> list[str]:
    """Doubts for durations that no device prints: the page is printed smaller or larger than it says.

    Or what it shows are averaged beats.
    """
    seconds = layout.duration_s
    if layout.columns == 1 and seconds < MIN_ROW_S:
        return [f"rows of {seconds:.2f} s, which may be averaged beats"]
    if scales.source or seconds in NOMINAL_SECONDS:
        return []
    return [f"rows of {seconds:.2f} s, and neither grid nor pulses say how large the page is printed"]


def print_leads(
    arrangement: Arrangement, pulses: Sequence[PrintedPulse], scales: PrintScales
) -> tuple[PrintedLead, ...]:
    """The leads with their curves in mV, about the foot of their row's pulse if every row has one.

    Else each lead runs about its own middle, as nothing tells where 0 mV is.
    """
    layout = arrangement.layout
    feet = [foot_of(row, arrangement.pieces, pulses, scales) for row in range(layout.row_count)]
    segments = {(segment.row, segment.column): segment for segment in layout.segments}
    leads = []
    for placed in arrangement.pieces:
        piece, foot = placed.piece, feet[placed.row]
        zero = foot if foot is not None and None not in feet else own_middle(piece)
        times = (piece.points[:, 0] - piece.begin) / scales.mm_per_second
        values = piece.sign * (zero - piece.points[:, 1]) / scales.mm_per_mv
        try:
            curve = make_curve(times, values)
        except ValueError as error:
            raise CurvesUnread(f"lead {piece.lead}: {error}") from None
        segment = segments[placed.row, placed.column]
        leads.append(PrintedLead(segment, placed.first_s, curve, piece.points))
    return tuple(leads)


def foot_of(
    row: int, pieces: Sequence[PlacedPiece], pulses: Sequence[PrintedPulse], scales: PrintScales
) -> float | None:
    """y of the foot of the pulse on a row in mm, None where there is none."""
    middle = float(np.median([placed.piece.middle for placed in pieces if placed.row == row]))
    near = [pulse.foot for pulse in pulses if abs(pulse.foot - middle) <= MAX_FOOT_MV * scales.mm_per_mv]
    return min(near, key=lambda foot: abs(foot - middle)) if near else None


def own_middle(piece: Piece) -> float:
    """y about which a piece runs, in mm: its median over its length."""
    return Trace(piece.points, ()).middle
