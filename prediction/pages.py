"""One page from its file to everything that `outputs` names, and the row that says how it went."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from configs.layouts import COMPETITION
from configs.page import DURATION_S, LEADS
from datasets.labels import grid_errors, read_labels, read_truth
from digitization.digitizer import Digitized, Digitizer
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.page import Known, LayoutPage
from digitization.layout.scales import GIVEN, TEXT
from digitization.record_files import record_name, write_record, write_wfdb
from digitization.vector.record import VectorRecord
from prediction.report import draw_entry, draw_failed_entry
from prediction.results import (
    DONE,
    DOUBTFUL,
    FAILED,
    IMAGE,
    VECTOR,
    LayoutFacts,
    OutputOptions,
    Page,
    PageResult,
)
from utils.command import describe_error
from utils.files import atomic_write
from utils.images import encode_jpeg, read_rgb
from utils.kaggle_metric import CAP, page_powers, ratio_of

COMPETITION_PAGE = "the competition's page"  # how the layout of such a page is known
OVERLAY_QUALITY = 90  # of JPEG


@dataclass(frozen=True)
class Reading:
    """What was read of a page; `show` gives the page and the page with its traces, (H, W, 3) uint8 RGB each.

    source: VECTOR or IMAGE; doubts: those that come before the digitized page's own.
    """

    digitized: Digitized | VectorRecord
    show: Callable[[], tuple[np.ndarray, np.ndarray]]
    source: str = IMAGE
    doubts: tuple[str, ...] = ()


Read = Callable[[int, PageResult], Reading]  # of a sampling rate; may fill in the result


def process_page(digitizer: Digitizer, page: Page, outputs: OutputOptions) -> PageResult:
    """Digitize an image and write what `outputs` names. Whatever goes wrong becomes its outcome."""
    return finish_page(
        page,
        outputs,
        digitizer.known,
        lambda fs, result: read_image(digitizer, page, fs, result),
        lambda: read_if_possible(page.path),
    )


def finish_page(
    page: Page, outputs: OutputOptions, known: Known, read: Read, show: Callable[[], np.ndarray | None]
) -> PageResult:
    """Write what `outputs` names of what `read` reads; `show` is for the report of a page that fails."""
    started = time.monotonic()
    result = PageResult(page, FAILED)
    try:
        digitize(page, outputs, known, read, result)
    except Exception as error:  # one page never stops the others
        result.outcome = FAILED
        result.warnings.append(explain(error, page.path))
        if outputs.signals:
            write_unknown(page, outputs, result)
        if outputs.entry:
            result.entry = draw_failed_entry(show())
    result.seconds = time.monotonic() - started
    return result


def read_image(digitizer: Digitizer, page: Page, fs: int, result: PageResult) -> Reading:
    """An image by the networks; the result gets the errors of its grid where the page has labels."""
    labels = None if page.labels is None else read_labels(page.labels)
    image = read_rgb(page.path)
    digitized = digitizer(image, fs)
    found = digitized.page
    if labels is not None and isinstance(found, RectifiedPage):
        errors = grid_errors(found.gridpoint_xy, *labels, image.shape[:2])
        result.grid_median, result.grid_p95 = np.median(errors), np.percentile(errors, 95)
    return Reading(digitized, lambda: (image, digitized.draw_overlay(image)))


def read_if_possible(path: Path) -> np.ndarray | None:
    try:
        return read_rgb(path)
    except ValueError:
        return None


def explain(error: Exception, path: Path) -> str:
    """What went wrong as one line, without the file's name."""
    text = describe_error(error).removeprefix(f"{path}: ")
    text = " ".join(text.split())
    return text if isinstance(error, (ValueError, OSError)) and text else f"{type(error).__name__}: {text}"


def write_unknown(page: Page, outputs: OutputOptions, result: PageResult) -> None:
    """Zeros in place of the signals of a page that could not be read."""
    try:
        write_record(signals_path(page, outputs), unknown_leads(page.fs), page.fs)
    except OSError as error:
        reason = explain(error, page.path)
        if reason not in result.warnings:
            result.warnings.append(reason)


def unknown_leads(fs: int) -> np.ndarray:
    return np.zeros((len(LEADS), int(DURATION_S * fs)), np.float32)


def signals_path(page: Page, outputs: OutputOptions) -> Path:
    return outputs.folder / f"{page.name}.csv"


def overlay_path(page: Page, outputs: OutputOptions) -> Path:
    return outputs.folder / f"{page.name}.overlay.jpg"


def wfdb_path(page: Page, outputs: OutputOptions) -> Path:
    """Without the suffix, and as WFDB allows names."""
    path = outputs.folder / "wfdb" / page.name
    return path.with_name(record_name(path.name))


def output_files(page: Page, outputs: OutputOptions) -> list[Path]:
    """What a page leaves in the folder."""
    files = [signals_path(page, outputs)] if outputs.signals else []
    files += [overlay_path(page, outputs)] if outputs.overlay else []
    return files + ([Path(f"{wfdb_path(page, outputs)}.hea")] if outputs.wfdb else [])


def digitize(page: Page, outputs: OutputOptions, known: Known, read: Read, result: PageResult) -> None:
    """Fill in the result of a page as far as it comes; raises what stopped it."""
    truth, fs = (None, page.fs) if page.truth is None else read_truth(page.truth)
    if truth is not None:
        result.ratio = 0.0  # unless the page can be read
    reading = read(fs, result)
    digitized = reading.digitized
    result.source = reading.source
    result.warnings += reading.doubts
    describe(digitized, known, result)
    if truth is not None:
        result.ratio, result.lead_ratios = score_leads(truth, digitized)
    if outputs.leads:
        result.leads = digitized.leads
    drawn = None
    if outputs.entry or outputs.overlay:
        image, drawn = reading.show()
        if outputs.entry:
            result.entry = draw_entry(image, drawn, digitized, result, truth)
    write_files(page, outputs, result, digitized, drawn)


def describe(digitized: Digitized | VectorRecord, known: Known, result: PageResult) -> None:
    """Fill in all of a page's result that follows from its reading; `known` is what was known of the page."""
    if isinstance(digitized, VectorRecord):
        describe_record(digitized, result)
    else:
        found = digitized.page
        result.page_score, result.orientation = found.page_score, found.orientation
        result.aspect, result.slip = found.aspect, found.slip
        result.layout = describe_layout(known, found)
    result.confidence, result.gaps = digitized.confidence, digitized.gaps
    result.imputed_seconds = digitized.imputed_seconds
    result.limb_residual = digitized.limb_residual
    result.warnings += digitized.doubts
    result.outcome = DOUBTFUL if result.warnings else DONE


def write_files(
    page: Page,
    outputs: OutputOptions,
    result: PageResult,
    digitized: Digitized | VectorRecord,
    drawn: np.ndarray | None,
) -> None:
    """Write what `outputs` names of a page, each file atomically; `drawn` (H, W, 3) uint8 is its overlay."""
    if outputs.overlay and drawn is not None:
        with atomic_write(overlay_path(page, outputs)) as partial:
            partial.write_bytes(encode_jpeg(drawn, OVERLAY_QUALITY))
    if outputs.wfdb:
        comments = list_comments(result, digitized)
        write_wfdb(wfdb_path(page, outputs), digitized.leads, digitized.fs, comments, digitized.imputed)
    if outputs.signals:  # last: who finds it finds the rest
        write_record(signals_path(page, outputs), digitized.leads, digitized.fs, digitized.layout.duration_s)


def list_comments(result: PageResult, digitized: Digitized | VectorRecord) -> list[str]:
    """The comments of a page's WFDB record."""
    comments = [f"image: {result.page.path.name}", f"page score: {result.page_score:.3f}"]
    comments.append(f"layout: {digitized.layout.name}")
    if result.pdf_pages:
        comments.append(f"pages of the file: {result.pdf_pages}")
    if result.source == VECTOR:
        rate = "of no regular rate" if result.native_hz is None else f"at {result.native_hz:.1f} Hz"
        comments.append(f"source: the curves in the file, points {rate}")
    comments += result.notes
    return comments + [f"doubt: {warning}" for warning in result.warnings]


def describe_record(record: VectorRecord, result: PageResult) -> None:
    """Fill in what is known of a page, or several, that was read by its curves."""
    first, layout = record.pages[0], record.layout
    result.page_score, result.orientation = record.page_score, first.turns
    result.native_hz = record.native_hz
    if record.left_out:
        result.notes.append(f"left out: {', '.join(record.left_out)}, none of the twelve leads")
    speed, gain = first.scales.speed, first.scales.gain
    result.layout = LayoutFacts(layout.name, None, TEXT, speed.value, speed.source, gain.value, gain.source)


def describe_layout(known: Known, page: RectifiedPage | LayoutPage) -> LayoutFacts:
    """The layout of a page, its speed and its gain, with how each is known."""
    layout = page.layout
    if isinstance(page, LayoutPage):
        source = "seen" if known.layout is None else GIVEN
        facts = (
            page.score,
            source,
            layout.mm_per_second,
            page.speed.source,
            layout.mm_per_mv,
            page.gain.source,
        )
        return LayoutFacts(layout.name, *facts)
    source = GIVEN if known.competition else COMPETITION_PAGE
    return LayoutFacts(layout.name, None, source, layout.mm_per_second, source, layout.mm_per_mv, source)


def score_leads(truth: np.ndarray, digitized: Digitized | VectorRecord) -> tuple[float, np.ndarray]:
    """The competition's ratio of a page, and that of each lead by itself, (12,).

    Where the page shows less than the truth the signal counts as 0.
    """
    leads = digitized.leads[:, : truth.shape[1]]
    if digitized.layout != COMPETITION or isinstance(digitized, VectorRecord):
        leads = np.nan_to_num(np.pad(leads, ((0, 0), (0, truth.shape[1] - leads.shape[1]))))
    powers = page_powers(truth, leads, digitized.fs)
    return ratio_of(powers, CAP), np.array([ratio_of([power], None) for power in powers])
