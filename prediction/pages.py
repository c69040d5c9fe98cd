"""One page from its file to everything that `outputs` names, and the row that says how it went."""

import time
from pathlib import Path

import numpy as np

from configs.page import DURATION_S, LEADS
from datasets.labels import grid_errors, read_labels, read_truth
from digitization.digitizer import Digitized, Digitizer
from digitization.overlay import draw_on_photo
from digitization.record_files import record_name, write_record, write_wfdb
from prediction.report import draw_entry, draw_failed_entry
from prediction.results import DONE, DOUBTFUL, FAILED, OutputOptions, Page, PageResult
from utils.command import describe_error
from utils.files import atomic_write
from utils.images import encode_jpeg, read_rgb
from utils.kaggle_metric import CAP, page_powers, ratio_of

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
    rectified = digitized.rectified
    result.page_score = rectified.page_score
    result.orientation = rectified.orientation
    result.aspect = rectified.calibration.aspect
    result.slip = rectified.slip
    result.confidence, result.gaps = digitized.confidence, digitized.gaps
    result.imputed_seconds = digitized.imputed_seconds
    result.limb_residual = digitized.limb_residual
    result.warnings += digitized.doubts
    if truth is not None:
        result.ratio, result.lead_ratios = score_leads(truth, digitized)
    if labels is not None:
        errors = grid_errors(rectified.gridpoint_xy, *labels, image.shape[:2])
        result.grid_median, result.grid_p95 = np.median(errors), np.percentile(errors, 95)
    result.outcome = DOUBTFUL if result.warnings else DONE
    if outputs.leads:
        result.leads = digitized.leads
    drawn = (
        draw_on_photo(image, rectified, digitized.trace_result) if outputs.overlay or outputs.entry else image
    )
    if outputs.entry:
        result.entry = draw_entry(image, drawn, digitized, result, truth)
    if outputs.overlay:
        with atomic_write(overlay_path(page, outputs)) as partial:
            partial.write_bytes(encode_jpeg(drawn, OVERLAY_QUALITY))
    if outputs.wfdb:
        comments = [f"image: {page.path.name}", f"page score: {rectified.page_score:.3f}"]
        comments += [f"doubt: {warning}" for warning in result.warnings]
        write_wfdb(wfdb_path(page, outputs), digitized.leads, fs, comments, digitized.imputed)
    if outputs.signals:  # last: who finds it finds the rest
        write_record(signals_path(page, outputs), digitized.leads, fs)


def score_leads(truth: np.ndarray, digitized: Digitized) -> tuple[float, np.ndarray]:
    """The competition's ratio of a page, and that of each lead by itself, (12,)."""
    powers = page_powers(truth, digitized.leads, digitized.fs)
    return ratio_of(powers, CAP), np.array([ratio_of([power], None) for power in powers])
