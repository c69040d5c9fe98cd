"""What to write of a page and what became of it, as values."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from digitization.geometry.slip import Slip

DONE, DOUBTFUL, FAILED = "done", "doubtful", "failed"
VECTOR, IMAGE = "vector", "image"  # whether a page was read by the curves in its file, or by its picture


@dataclass(frozen=True)
class ReportEntry:
    """A page's part of the report: a picture for the table, and HTML without the outermost element."""

    thumbnail: str
    body: str


@dataclass(frozen=True)
class Page:
    """An image to digitize; its results are called `name`. `truth` is a record's CSV, to score it by.

    `labels` is the .npz of synthesize.py, which says where the grid is; `type` the competition's image type;
    `kept` names results of the file, a PDF, that are left as they are.
    """

    name: str
    path: Path
    fs: int = 500
    truth: Path | None = None
    labels: Path | None = None
    type: str = ""
    kept: tuple[str, ...] = ()


@dataclass(frozen=True)
class LayoutFacts:
    """What a page shows: a layout, how well it agrees with what is seen (0..1), speed mm/s and gain mm/mV.

    Each `source` says how it is known; `score` is None for the competition's page.
    """

    name: str
    score: float | None
    source: str
    speed: float
    speed_source: str
    gain: float
    gain_source: str


@dataclass(frozen=True)
class OutputOptions:
    """What to write for each page to `folder`, and what to send back."""

    folder: Path = Path()
    signals: bool = False  # <name>.csv
    wfdb: bool = False  # wfdb/<name>.hea, .dat
    overlay: bool = False  # <name>.overlay.jpg
    entry: bool = False  # the page's part of the report, sent back
    leads: bool = False  # the signals themselves, sent back


@dataclass
class PageResult:
    """How a page went. What was not measured is None; `leads` (12, L) mV and `entry` only when asked for.

    `pdf_pages` says which pages of a PDF of several it is, "2" or "1-2"; `notes` are no doubts.
    """

    page: Page
    outcome: str
    warnings: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    source: str | None = None  # VECTOR or IMAGE
    native_hz: float | None = None  # rate of the curves in the file
    pdf_pages: str = ""
    page_score: float | None = None
    orientation: int | None = None
    aspect: float | None = None
    slip: Slip | None = None  # of the paper in the scanner
    layout: LayoutFacts | None = None
    confidence: np.ndarray | None = None
    gaps: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    imputed_seconds: float | None = None  # of all leads together
    limb_residual: float | None = None
    ratio: float | None = None  # of the competition, linear and capped; 0 for a page that cannot be read
    lead_ratios: np.ndarray | None = None  # (12,), linear, not capped
    grid_median: float | None = None  # px of a 200 dpi page
    grid_p95: float | None = None
    leads: np.ndarray | None = None
    entry: ReportEntry | None = None
    reviewed: str = ""  # what a person made of the page, one of review.store's marks

    @property
    def gap_seconds(self) -> float:
        return sum(stop - start for spans in self.gaps.values() for start, stop in spans)
