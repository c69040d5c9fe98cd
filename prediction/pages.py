"""One page from its file to everything that `outputs` names, and the row that says how it went."""

import time
from pathlib import Path

import numpy as np

from configs.layouts import COMPETITION
from configs.page import DURATION_S, LEADS
from datasets.labels import grid_errors, read_labels, read_truth
from digitization.digitizer import Digitized, Digitizer
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.page import Known, LayoutPage
from digitization.layout.scales import GIVEN
from digitization.overlay import draw_on_photo
from digitization.record_files import record_name, write_record, write_wfdb
from prediction.report import draw_entry, draw_failed_entry
from prediction.results import DONE, DOUBTFUL, FAILED, LayoutFacts, OutputOptions, Page, PageResult
from utils.command import describe_error
from utils.files import atomic_write
from utils.images import encode_jpeg, read_rgb
from utils.kaggle_metric import CAP, page_powers, ratio_of

COMPETITION_PAGE = "the competition's page"  # how the layout of such a page is known
OVERLAY_QUALITY = 90  # of JPEG


def process_page(digitizer: Digitizer, page: Page, outputs: OutputOptions) -> PageResult:
    """Digitize a page and write what `outputs` names. Whatever goes wrong becomes its outcome."""
    started = time.monotonic()
    result = PageResult(page, FAILED)
    try:
        digitize(digitizer, page, outputs, result)
    except Exception as error:  # one page never stops the others
        result.outcome = FAILED
        result.warnings.append(explain(error, page.path))
        if outputs.signals:
            write_unknown(page, outputs, result)
        if outputs.entry:
            result.entry = draw_failed_entry(read_if_possible(page.path))
    result.seconds = time.monotonic() - started
    return result


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


def digitize(digitizer: Digitizer, page: Page, outputs: OutputOptions, result: PageResult) -> None:
    """Fill in the result of a page as far as it comes; raises what stopped it."""
    truth, fs = (None, page.fs) if page.truth is None else read_truth(page.truth)
    labels = None if page.labels is None else read_labels(page.labels)
    if truth is not None:
        result.ratio = 0.0  # unless the page can be read
    image = read_rgb(page.path)
    digitized = digitizer(image, fs)
    found = digitized.page
    describe(digitized, digitizer.known, result)
    if truth is not None:
        result.ratio, result.lead_ratios = score_leads(truth, digitized)
    if labels is not None and isinstance(found, RectifiedPage):
        errors = grid_errors(found.gridpoint_xy, *labels, image.shape[:2])
        result.grid_median, result.grid_p95 = np.median(errors), np.percentile(errors, 95)
    if outputs.leads:
        result.leads = digitized.leads
    drawn = draw_on_photo(image, found, digitized.trace_result) if outputs.overlay or outputs.entry else image
    if outputs.entry:
        result.entry = draw_entry(image, drawn, digitized, result, truth)
    write_files(page, outputs, result, digitized, drawn)


def describe(digitized: Digitized, known: Known, result: PageResult) -> None:
    """Fill in all of a page's result that follows from its reading; `known` is what was known of the page."""
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
    page: Page, outputs: OutputOptions, result: PageResult, digitized: Digitized, drawn: np.ndarray
) -> None:
    """Write what `outputs` names of a page, each file atomically; `drawn` (H, W, 3) uint8 is its overlay."""
    if outputs.overlay:
        with atomic_write(overlay_path(page, outputs)) as partial:
            partial.write_bytes(encode_jpeg(drawn, OVERLAY_QUALITY))
    if outputs.wfdb:
        comments = [f"image: {page.path.name}", f"page score: {digitized.page.page_score:.3f}"]
        comments.append(f"layout: {digitized.layout.name}")
        comments += [f"doubt: {warning}" for warning in result.warnings]
        write_wfdb(wfdb_path(page, outputs), digitized.leads, digitized.fs, comments, digitized.imputed)
    if outputs.signals:  # last: who finds it finds the rest
        write_record(signals_path(page, outputs), digitized.leads, digitized.fs, digitized.layout.duration_s)


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


def score_leads(truth: np.ndarray, digitized: Digitized) -> tuple[float, np.ndarray]:
    """The competition's ratio of a page, and that of each lead by itself, (12,).

    Where the page shows less than the truth the signal counts as 0.
    """
    leads = digitized.leads
    if digitized.layout != COMPETITION:
        leads = np.nan_to_num(np.pad(leads, ((0, 0), (0, truth.shape[1] - leads.shape[1]))))
    powers = page_powers(truth, leads, digitized.fs)
    return ratio_of(powers, CAP), np.array([ratio_of([power], None) for power in powers])
