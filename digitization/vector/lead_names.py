"""Which lead each trace of a PDF page shows, by the texts beside it."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from configs.page import LEADS
from digitization.vector.curves import Trace
from utils.pdf import Text

NAMES = {lead.lower(): lead for lead in LEADS}
OTHER_LEAD = re.compile(r"V([7-9]|[1-9]R)|X|Y|Z", re.IGNORECASE)  # which a record of twelve leads cannot hold
FRANK_LEADS = ("X", "Y", "Z")  # which are printed together
MINUS = "-\u2010\u2011\u2012\u2013\u2212"  # hyphens, dashes and the minus sign before Cabrera's aVR
BEFORE_MM = 25.0  # how far left of its trace a name may stand: beside the calibration pulse
MAX_INTO = 0.75  # share of a trace up to which a name above or below it may stand
ROW_TOLERANCE = 0.3  # share of the distance of rows by which a name may be off its place beside its row
SHIFT_STEP_MM, MAX_SHIFT_MM = 0.5, 40.0  # distances above or below its row at which a name may stand
LONE_ROW_MM = 25.0  # distance of rows that is assumed for a single one
SAME_PLACE_MM = 5.0  # distance along the row within which two names cannot both be right


@dataclass(frozen=True)
class Label:
    """A lead's name at (x, y), its left end and the middle of its height, in mm; a sign of -1 for "-aVR"."""

    lead: str
    sign: int
    x: float
    y: float

    @property
    def is_other(self) -> bool:
        """Whether it names a lead beside the twelve."""
        return self.lead not in LEADS


def find_labels(texts: Sequence[Text]) -> list[Label]:
    """The upright texts that are the name of a lead."""
    labels = []
    for text in texts:
        name = re.sub(r"\s+", " ", text.text).strip(" :.,|")
        sign = -1 if name[:1] in MINUS and name[1:] else 1
        name = name[1:].strip() if sign < 0 else name
        name = re.sub(r"^(lead|abl\.?|ableitung)\s+", "", name, flags=re.IGNORECASE)
        lead = NAMES.get(name.lower()) if not re.fullmatch("i+", name) else None
        if lead is None and OTHER_LEAD.fullmatch(name):
            lead = name
        if lead is not None and text.turns == 0:
            labels.append(Label(lead, sign, text.x, text.y - 0.35 * text.height))
    if {label.lead for label in labels} >= set(FRANK_LEADS):
        return labels
    return [label for label in labels if label.lead.upper() not in FRANK_LEADS]  # a letter of another text


def match_labels(labels: Sequence[Label], traces: Sequence[Trace]) -> list[list[Label]]:
    """The labels of each trace from left to right; a trace that shows a whole row has several.

    On a page all names stand as far above or below the row that they name. Of all such distances the one that
    the most names agree with is taken.
    """
    reach = ROW_TOLERANCE * row_distance(traces)
    pairs = [
        (index, number, label.y - trace.middle, cost)
        for index, label in enumerate(labels)
        for number, trace in enumerate(traces)
        if (cost := distance_along(label, trace)) is not None
    ]
    best: tuple[float, ...] = (0, 0.0, 0.0)
    matched: list[list[Label]] = [[] for _ in traces]
    shifts = {
        round(pair[2] / SHIFT_STEP_MM) * SHIFT_STEP_MM for pair in pairs if abs(pair[2]) <= MAX_SHIFT_MM
    }
    for shift in sorted(shifts, key=abs):
        found: dict[int, tuple[float, int]] = {}
        deviation = 0.0
        for index, number, offset, cost in pairs:
            off = abs(offset - shift)
            if off <= reach and (index not in found or cost < found[index][0]):
                found[index] = (cost, number)
        names = [
            [labels[index] for index in found if found[index][1] == number] for number in range(len(traces))
        ]
        deviation = sum(
            abs(label.y - trace.middle - shift)
            for own, trace in zip(names, traces, strict=True)
            for label in own
        )
        named = sum(bool(own) for own in names)
        rating = (len(found) + named, -round(abs(shift) / reach), -deviation)
        if found and (not best[0] or rating > best):
            best, matched = rating, names
    return [drop_doubles(sorted(own, key=lambda label: label.x), trace)
            for own, trace in zip(matched, traces, strict=True)]  # fmt: skip


def distance_along(label: Label, trace: Trace) -> float | None:
    """How far a label stands from the beginning of a trace in mm; None where it cannot belong to it."""
    ahead = label.x - trace.start
    if not -BEFORE_MM <= ahead <= trace.width:
        return None
    return ahead if ahead >= 0 else -2 * ahead  # names stand rather above their trace than before it


def row_distance(traces: Sequence[Trace]) -> float:
    """The usual distance in mm from a trace to the next one below it that is printed at the same time."""
    steps = []
    for trace in traces:
        below = [
            other.middle - trace.middle
            for other in traces
            if other.middle > trace.middle + 1 and other.start < trace.end and other.end > trace.start
        ]
        steps += [min(below)] if below else []
    return float(np.median(steps)) if steps else LONE_ROW_MM


def drop_doubles(labels: list[Label], trace: Trace) -> list[Label]:
    """Labels of one trace without those that stand where another does, and repeat it."""
    kept: list[Label] = []
    for label in labels:
        if kept and label.lead == kept[-1].lead and label.x - kept[-1].x <= SAME_PLACE_MM:
            continue
        kept.append(label)
    return kept
