"""One page from its file to everything that is wanted of it, and the row that says how it went."""

import csv
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from configs.page import DURATION_S, LEADS
from datasets.competition import write_record
from datasets.labels import grid_errors, read_labels, read_truth
from prediction.digitizer import Digitized, Digitizer
from prediction.report import Card, draw_card, draw_failed_card
from prediction.wfdb_records import record_name, write_wfdb
from utils.command import describe
from utils.files import open_text, replacing
from utils.images import encode_jpeg, read_rgb
from utils.kaggle_metric import CAP, page_powers, ratio_of, to_db
from utils.slip import Slip
from utils.visualization import draw_on_photo

DONE, DOUBTFUL, FAILED = "done", "doubtful", "failed"
OVERLAY_QUALITY = 90  # of JPEG


@dataclass(frozen=True)
class Page:
    """An image to digitize; its results are called `name`. `truth` is a record's CSV, to score it by.

    `labels` is the .npz of synthesize.py, which says where the grid is; `type` the competition's image type.
    """

    name: str
    path: Path
    fs: int = 500
    truth: Path | None = None
    labels: Path | None = None
    type: str = ""


@dataclass(frozen=True)
class Wanted:
    """What to write for each page to `folder`, and what to send back."""

    folder: Path = Path()
    signals: bool = False  # <name>.csv
    wfdb: bool = False  # wfdb/<name>.hea, .dat
    overlay: bool = False  # <name>.overlay.jpg
    card: bool = False  # the page's part of the report, sent back
    leads: bool = False  # the signals themselves, sent back


@dataclass
class PageResult:
    """How a page went. What was not measured is None; `leads` (12, L) mV and `card` only when wanted."""

    page: Page
    outcome: str
    warnings: list[str] = field(default_factory=list)
    seconds: float = 0.0
    page_score: float | None = None
    orientation: int | None = None
    aspect: float | None = None
    slip: Slip | None = None  # of the paper in the scanner
    confidence: np.ndarray | None = None
    gaps: dict[str, list[tuple[float, float]]] = field(default_factory=dict)
    imputed_seconds: float | None = None  # of all leads together
    limb_residual: float | None = None
    ratio: float | None = None  # of the competition, linear and capped; 0 for a page that cannot be read
    lead_ratios: np.ndarray | None = None  # (12,), linear, not capped
    grid_median: float | None = None  # px of a 200 dpi page
    grid_p95: float | None = None
    leads: np.ndarray | None = None
    card: Card | None = None

    @property
    def gap_seconds(self) -> float:
        return sum(stop - start for spans in self.gaps.values() for start, stop in spans)


COLUMNS = (
    *("name", "image", "type", "fs", "outcome", "page_score", "orientation", "aspect", "confidence"),
    *("unseen_s", "imputed_s", "limb_residual_mv", "score_db", "grid_median_px", "grid_p95_px", "seconds"),
    *(f"confidence_{lead}" for lead in LEADS),
    *(f"snr_db_{lead}" for lead in LEADS),
    *("slip", "networks", "warnings"),
)
NEWER_COLUMNS = ("imputed_s", "slip", "networks")  # which version 0.2.0 did not write


class PageTable:
    """pages.csv: a row for each page as it is done, so that a run which was killed can go on.

    `rows` are those that an earlier run left there; those of `names`, the pages of this run, are replaced.
    `networks` tells what reads them from what others read, see prediction.engine.Setup.
    """

    def __init__(self, path: Path, rows: dict[str, dict], names: Iterable[str], networks: str):
        again, self.networks = set(names), networks
        self.path, self.rows = path, {name: row for name, row in rows.items() if name not in again}
        self.write()
        self.file = open_text(path, "a")
        self.writer = csv.DictWriter(self.file, COLUMNS, lineterminator="\n")

    def __enter__(self) -> "PageTable":
        return self

    def __exit__(self, *_) -> None:
        self.file.close()
        self.write()

    def write(self) -> None:
        with replacing(self.path) as partial, open_text(partial) as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows.values())

    def add(self, result: PageResult) -> None:
        row = as_row(result) | {"networks": self.networks}
        self.rows[result.page.name] = row
        self.writer.writerow(row)
        self.file.flush()


def read_page_rows(path: Path) -> dict[str, dict]:
    """The last whole row of each page in pages.csv, by name; ValueError when its columns are others."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if {*(reader.fieldnames or ()), *NEWER_COLUMNS} == set(COLUMNS):
                whole = [row for row in reader if None not in row and None not in row.values()]
                return {row["name"]: dict.fromkeys(NEWER_COLUMNS, "") | row for row in whole}
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    raise ValueError(f"{path}: not a pages.csv of this program; choose another --output")


def as_row(result: PageResult) -> dict[str, object]:
    """A PageResult as a row of pages.csv, blank where nothing was measured."""

    def number(value, digits: int = 4):
        return "" if value is None else round(float(value), digits)

    row: dict[str, object] = {
        "name": result.page.name,
        "image": str(result.page.path),
        "type": result.page.type,
        "fs": result.page.fs,
        "outcome": result.outcome,
        "page_score": number(result.page_score),
        "orientation": "" if result.orientation is None else result.orientation,
        "aspect": number(result.aspect),
        "confidence": number(None if result.confidence is None else result.confidence.mean()),
        "unseen_s": number(None if result.confidence is None else result.gap_seconds, 2),
        "imputed_s": number(result.imputed_seconds, 2),
        "limb_residual_mv": number(result.limb_residual),
        "score_db": number(None if result.ratio is None else to_db(result.ratio), 3),
        "grid_median_px": number(result.grid_median),
        "grid_p95_px": number(result.grid_p95),
        "seconds": number(result.seconds, 2),
        "slip": "" if result.slip is None else str(result.slip),
        "warnings": "; ".join(result.warnings),
    }
    for index, lead in enumerate(LEADS):
        row[f"confidence_{lead}"] = number(
            result.confidence[index] if result.confidence is not None else None
        )
        ratio = None if result.lead_ratios is None else to_db(result.lead_ratios[index])
        row[f"snr_db_{lead}"] = number(ratio, 3)
    return row


def process_page(digitizer: Digitizer, page: Page, wanted: Wanted = Wanted()) -> PageResult:
    """Digitize a page and write what is wanted of it. Whatever goes wrong becomes its outcome."""
    started = time.monotonic()
    result = PageResult(page, FAILED)
    try:
        digitize(digitizer, page, wanted, result)
    except Exception as error:  # one page never stops the others
        result.outcome = FAILED
        result.warnings.append(explain(error, page.path))
        if wanted.signals:
            write_unknown(page, wanted, result)
        if wanted.card:
            result.card = draw_failed_card(read_if_possible(page.path))
    result.seconds = time.monotonic() - started
    return result


def read_if_possible(path: Path) -> np.ndarray | None:
    try:
        return read_rgb(path)
    except ValueError:
        return None


def explain(error: Exception, path: Path) -> str:
    """What went wrong as one line, without the file's name."""
    text = describe(error).removeprefix(f"{path}: ")
    text = " ".join(text.split())
    return text if isinstance(error, (ValueError, OSError)) and text else f"{type(error).__name__}: {text}"


def write_unknown(page: Page, wanted: Wanted, result: PageResult) -> None:
    """Zeros in place of the signals of a page that could not be read."""
    try:
        write_record(signals_path(page, wanted), unknown_leads(page.fs), page.fs)
    except OSError as error:
        reason = explain(error, page.path)
        if reason not in result.warnings:
            result.warnings.append(reason)


def unknown_leads(fs: int) -> np.ndarray:
    return np.zeros((len(LEADS), int(DURATION_S * fs)), np.float32)


def signals_path(page: Page, wanted: Wanted) -> Path:
    return wanted.folder / f"{page.name}.csv"


def overlay_path(page: Page, wanted: Wanted) -> Path:
    return wanted.folder / f"{page.name}.overlay.jpg"


def wfdb_path(page: Page, wanted: Wanted) -> Path:
    """Without the suffix, and as WFDB allows names."""
    path = wanted.folder / "wfdb" / page.name
    return path.with_name(record_name(path.name))


def wanted_files(page: Page, wanted: Wanted) -> list[Path]:
    """What a page leaves in the folder."""
    files = [signals_path(page, wanted)] if wanted.signals else []
    files += [overlay_path(page, wanted)] if wanted.overlay else []
    return files + ([Path(f"{wfdb_path(page, wanted)}.hea")] if wanted.wfdb else [])


def digitize(digitizer: Digitizer, page: Page, wanted: Wanted, result: PageResult) -> None:
    """Fill in the result of a page as far as it comes; raises what stopped it."""
    truth, fs = (None, page.fs) if page.truth is None else read_truth(page.truth)
    labels = None if page.labels is None else read_labels(page.labels)
    if truth is not None:
        result.ratio = 0.0  # unless the page can be read
    image = read_rgb(page.path)
    digitized = digitizer(image, fs)
    straightened = digitized.straightened
    result.page_score = straightened.page_score
    result.orientation = straightened.orientation
    result.aspect = straightened.calibration.aspect
    result.slip = straightened.slip
    result.confidence, result.gaps = digitized.confidence, digitized.gaps
    result.imputed_seconds = digitized.imputed_seconds
    result.limb_residual = digitized.limb_residual
    result.warnings += digitized.doubts
    if truth is not None:
        result.ratio, result.lead_ratios = score_leads(truth, digitized)
    if labels is not None:
        errors = grid_errors(straightened.gridpoint_xy, *labels, image.shape[:2])
        result.grid_median, result.grid_p95 = np.median(errors), np.percentile(errors, 95)
    result.outcome = DOUBTFUL if result.warnings else DONE
    if wanted.leads:
        result.leads = digitized.leads
    drawn = draw_on_photo(image, straightened, digitized.traced) if wanted.overlay or wanted.card else image
    if wanted.card:
        result.card = draw_card(image, drawn, digitized, result, truth)
    if wanted.overlay:
        with replacing(overlay_path(page, wanted)) as partial:
            partial.write_bytes(encode_jpeg(drawn, OVERLAY_QUALITY))
    if wanted.wfdb:
        comments = [f"image: {page.path.name}", f"page score: {straightened.page_score:.3f}"]
        comments += [f"doubt: {warning}" for warning in result.warnings]
        write_wfdb(wfdb_path(page, wanted), digitized.leads, fs, comments, digitized.imputed)
    if wanted.signals:  # last: who finds it finds the rest
        write_record(signals_path(page, wanted), digitized.leads, fs)


def score_leads(truth: np.ndarray, digitized: Digitized) -> tuple[float, np.ndarray]:
    """The competition's ratio of a page, and that of each lead by itself, (12,)."""
    powers = page_powers(truth, digitized.leads, digitized.fs)
    return ratio_of(powers, CAP), np.array([ratio_of([power], None) for power in powers])


class Step:
    """process_page with what is wanted, for other processes to be sent."""

    def __init__(self, wanted: Wanted):
        self.wanted = wanted

    def __call__(self, digitizer: Digitizer, page: Page) -> PageResult:
        return process_page(digitizer, page, self.wanted)
