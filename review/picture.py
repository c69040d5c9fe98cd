"""What the browser draws of an open page, as plain values, and its pictures.

Places on the straightened page are (x, y) in squares of 5 mm, right of and below its grid's first crossing.
"""

from typing import Any

import cv2
import numpy as np

from configs.layouts import RowGroup
from configs.page import LEADS, RECTIFIED
from digitization.digitizer import UNSURE_LEAD, Digitized
from digitization.geometry.orientation import undo_orientation
from digitization.geometry.straight_paper import straighten_paper
from digitization.geometry.straighten import RectifiedPage
from digitization.overlay import GAP_COLUMNS, shrink
from digitization.signal.decode import MAX_CONFIDENCE_IMPUTED, signal_columns
from digitization.signal.path import runs
from prediction.paper import draw_paper
from review.places import FoundPage
from review.reading import PageReader
from review.rows import as_layout_page
from review.session import OpenPage
from review.store import is_finished
from review.traces import paper_places
from utils.images import encode_jpeg

SHEET_PX_PER_SQUARE = 44.0  # px per square of the straightened page's picture: a pixel is 0.11 mm
PHOTO_PX = 2600  # px, longer side of the photo's picture
QUALITY = 85  # of these JPEG
EVERY = 2  # columns of a trace per point that is drawn: 5 ms
DECIMALS = 3  # decimal places of squares: 5 um


def picture_key(page: OpenPage) -> str:
    """A text that is the same for the same pictures of a page."""
    if page.shown is None:
        return f"o{page.orientation}"
    found = page.shown.page
    return f"o{found.orientation}-{hash(found.gridpoint_xy.tobytes()) & 0xFFFFFFFF:08x}"


def sheet_of(page: OpenPage) -> tuple[bytes, list[float]]:
    """The straightened page as a JPEG, and its (x, y, width, height) in squares; drawn once for a grid."""
    shown = page.shown
    assert shown is not None
    return page.pictures.get(picture_key(page), lambda: draw_sheet(page.reader, shown.page))


def draw_sheet(reader: PageReader, page: FoundPage) -> tuple[bytes, list[float]]:
    """As `sheet_of`, always drawn."""
    if isinstance(page, RectifiedPage):
        across, down = RECTIFIED.square_width, RECTIFIED.square_height
        box = [-0.5 / across, -0.5 / down, RECTIFIED.width / across, RECTIFIED.height / down]
        size = round(box[2] * SHEET_PX_PER_SQUARE), round(box[3] * SHEET_PX_PER_SQUARE)
        image = cv2.resize(page.rect, size, interpolation=cv2.INTER_AREA)
    else:
        paper = straighten_paper(reader.upright(page.orientation), page.gridpoint_xy, SHEET_PX_PER_SQUARE)
        image, corner = paper.image, paper.corner - 0.5 / SHEET_PX_PER_SQUARE
        box = [*corner.tolist(), *(side / SHEET_PX_PER_SQUARE for side in image.shape[1::-1])]
    return encode_jpeg(image, QUALITY), [round(value, 4) for value in box]


def draw_photo(page: OpenPage) -> bytes:
    """The upright photo as a JPEG."""
    return encode_jpeg(shrink(undo_orientation(page.image, page.orientation), PHOTO_PX), QUALITY)


def describe_page(page: OpenPage) -> dict[str, Any]:
    """All that the browser shows of an open page but its pictures."""
    upright = undo_orientation(page.image[::, ::, 0], page.orientation).shape
    record = page.entry.record
    state: dict[str, Any] = {
        "status": "ready",
        "revision": page.revision,
        "pictures": picture_key(page),
        "photo": [upright[1], upright[0]],
        "readable": page.shown is not None,
        "reason": page.reason,
        "seconds": round(page.seconds, 2),
        "corrections": page.corrections.describe(),
        "moved": page.reader.papers.nodes_dragged(page.corrections),
        "undo": bool(page.undone),
        "saved": page.is_saved,
        "kept": page.is_kept,
        "accepted": is_finished(page.entry.row) and page.is_saved,
        "history": [dict(note) for note in record.history[-5:]],
    }
    if page.shown is None:
        return state
    found = page.shown
    doubts_before = [] if page.before is None else page.before.doubts
    return state | {
        "sheet": sheet_of(page)[1],
        "doubts": found.doubts,
        "settled": [doubt for doubt in doubts_before if doubt not in found.doubts],
        "layout": describe_layout(found),
        "rows": [describe_row(found, row) for row in range(len(found.trace_result.y))],
        "leads": draw_leads(found, page.before),
        "facts": list_facts(found, page.before),
    }


def describe_layout(found: Digitized) -> dict[str, Any]:
    """The layout and where its rows, leads and boundaries are."""
    page, layout = found.page, found.layout
    placed = as_layout_page(page) if isinstance(page, RectifiedPage) else page
    shares = layout.boundaries or tuple(np.arange(1, layout.columns) / layout.columns)
    cells = []
    for segment in layout.segments:
        first, last = (edge / 1000 for edge in segment.bounds(1000))
        x = placed.starts[segment.row] + first * placed.width
        cells.append(
            {
                "row": segment.row,
                "column": segment.column if segment.columns > 1 else 0,
                "lead": ("-" if segment.sign < 0 else "") + segment.lead,
                "x": round(float(x), DECIMALS),
                "width": round(float((last - first) * placed.width), DECIMALS),
            }
        )
    return {
        "name": layout.name,
        "speed": layout.mm_per_second,
        "gain": layout.mm_per_mv,
        "speedSource": placed.speed.source,
        "gainSource": placed.gain.source,
        "seconds": layout.duration_s,
        "start": round(float(placed.start), DECIMALS),
        "width": round(float(placed.width), DECIMALS),
        "slant": float(placed.slant),
        "middle": round(float(placed.zero_lines.mean()), DECIMALS),
        "boundaries": [round(float(placed.start + share * placed.width), DECIMALS) for share in shares],
        "zeroLines": [round(float(y), DECIMALS) for y in placed.zero_lines],
        "cells": cells,
    }


def describe_row(found: Digitized, row: int) -> dict[str, Any]:
    """The trace of a row, every so many columns, null where it is unknown; and its stretches by kind."""
    result = found.trace_result
    y = result.y[row]
    confidence = result.confidence[row]
    inside = signal_columns(RowGroup(found.layout, tuple(range(found.layout.row_count))))
    columns = np.arange(inside.start, inside.stop, EVERY)
    squares = paper_places(found.page, row, np.stack([columns, np.nan_to_num(y[columns])], axis=1))
    known, in_signal = np.isfinite(y), np.zeros(len(y), bool)
    in_signal[inside] = True
    spans = []
    for kind, flags in (
        ("unsure", known & (confidence <= MAX_CONFIDENCE_IMPUTED)),
        ("imputed", result.imputed[row]),
        ("unreadable", in_signal & ~known),
    ):
        for start, stop in runs(flags):
            if stop - start >= GAP_COLUMNS:
                ends = np.array([[start, 0.0], [stop, 0.0]])
                left, right = paper_places(found.page, row, ends)[:, 0]
                spans.append([kind, round(float(left), DECIMALS), round(float(right), DECIMALS)])
    return {
        "x": round(float(squares[0, 0]), DECIMALS),
        "step": round(float(squares[1, 0] - squares[0, 0]), 6) if len(squares) > 1 else 0,
        "y": [
            round(float(value), DECIMALS) if seen else None
            for value, seen in zip(squares[:, 1], known[columns], strict=True)
        ],
        "spans": spans,
    }


def draw_leads(found: Digitized, before: Digitized | None) -> str:
    """The leads on ECG paper as SVG, with those before the last change beneath where they last as long."""
    unsure = frozenset(
        lead for lead, value in zip(LEADS, found.confidence, strict=True) if value < UNSURE_LEAD
    )
    other = None
    if before is not None and before is not found and before.leads.shape == found.leads.shape:
        other = before.leads
    return draw_paper(
        found.leads, found.fs, found.layout, other, found.gaps, unsure, "the leads as read", found.imputed
    )


def list_facts(found: Digitized, before: Digitized | None) -> list[list[str]]:
    """Name, value, and value before the last change of what tells how well a page is read."""

    def values(each: Digitized | None) -> dict[str, str]:
        if each is None:
            return {}
        layout, residual = each.layout, each.limb_residual
        return {
            "layout": f"{layout.name}, {layout.duration_s:g} s",
            "scale": f"{layout.mm_per_second:g} mm/s, {layout.mm_per_mv:g} mm/mV",
            "limb leads differ by": "" if np.isnan(residual) else f"{1000 * residual:.0f} µV rms",
            "mean confidence": f"{np.nanmean(each.confidence):.2f}",
            "hardly visible": f"{sum(b - a for spans in each.gaps.values() for a, b in spans):.2f} s",
            "imputed from other beats": f"{each.imputed_seconds:.2f} s",
        }

    now, then = values(found), values(before)
    return [[name, value, then.get(name, "")] for name, value in now.items()]


def list_grid(page: OpenPage) -> list:
    """The lattice in px of the upright photo, a list of rows of (x, y); empty where there is none."""
    if page.shown is None:
        return []
    return np.round(page.shown.page.gridpoint_xy.astype(np.float64), 1).tolist()
