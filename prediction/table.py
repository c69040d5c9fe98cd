"""pages.csv: a row for each page of a run, which says how it went."""

from pathlib import Path

import numpy as np

from configs.page import LEADS
from prediction.results import PageResult
from utils.journal import Journal
from utils.kaggle_metric import to_db

LAYOUT_COLUMNS = (
    *("layout", "layout_score", "layout_source"),
    *("speed", "speed_source", "gain", "gain_source"),
)
COLUMNS = (
    *("name", "image", "type", "fs", "outcome", "page_score", "orientation", "aspect", "confidence"),
    *LAYOUT_COLUMNS,
    *("unseen_s", "imputed_s", "limb_residual_mv", "score_db", "grid_median_px", "grid_p95_px", "seconds"),
    *(f"confidence_{lead}" for lead in LEADS),
    *(f"snr_db_{lead}" for lead in LEADS),
    *("slip", "networks", "source", "native_hz", "pdf_pages", "reviewed", "warnings"),
)

NEWER_COLUMNS = (
    "imputed_s",
    "slip",
    "networks",
    "source",
    "native_hz",
    "pdf_pages",
    "reviewed",
    *LAYOUT_COLUMNS,
)  # which version 0.2.0 did not write


def page_journal(path: Path) -> Journal:
    """pages.csv, a row for each page as it is done. Raises ValueError for another program's file."""
    return Journal(path, COLUMNS, NEWER_COLUMNS)


def as_row(result: PageResult) -> dict[str, object]:
    """A PageResult as a row of pages.csv but for `networks`, blank where nothing was measured."""

    def number(value, digits: int = 4):
        return "" if value is None or np.isnan(value) else round(float(value), digits)

    layout = result.layout
    row: dict[str, object] = {
        "name": result.page.name,
        "image": str(result.page.path),
        "type": result.page.type,
        "fs": result.page.fs,
        "outcome": result.outcome,
        "page_score": number(result.page_score),
        "orientation": "" if result.orientation is None else result.orientation,
        "aspect": number(result.aspect),
        "confidence": number(None if result.confidence is None else np.nanmean(result.confidence)),
        "layout": "" if layout is None else layout.name,
        "layout_score": number(None if layout is None else layout.score),
        "layout_source": "" if layout is None else layout.source,
        "speed": number(None if layout is None else layout.speed),
        "speed_source": "" if layout is None else layout.speed_source,
        "gain": number(None if layout is None else layout.gain),
        "gain_source": "" if layout is None else layout.gain_source,
        "unseen_s": number(None if result.confidence is None else result.gap_seconds, 2),
        "imputed_s": number(result.imputed_seconds, 2),
        "limb_residual_mv": number(result.limb_residual),
        "score_db": number(None if result.ratio is None else to_db(result.ratio), 3),
        "grid_median_px": number(result.grid_median),
        "grid_p95_px": number(result.grid_p95),
        "seconds": number(result.seconds, 2),
        "slip": "" if result.slip is None else str(result.slip),
        "source": result.source or "",
        "native_hz": number(result.native_hz, 1),
        "pdf_pages": result.pdf_pages,
        "reviewed": result.reviewed,
        "warnings": "; ".join(result.warnings),
    }
    for index, lead in enumerate(LEADS):
        row[f"confidence_{lead}"] = number(
            result.confidence[index] if result.confidence is not None else None
        )
        ratio = None if result.lead_ratios is None else to_db(result.lead_ratios[index])
        row[f"snr_db_{lead}"] = number(ratio, 3)
    return row
