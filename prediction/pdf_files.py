"""PDF files: pages read by the curves that they hold, or as pictures by the networks; and all other files."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from digitization.digitizer import Digitizer
from digitization.layout.page import NOTHING_KNOWN, Known
from digitization.vector.document import PdfPart, split_pdf
from digitization.vector.record import VectorRecord, stack
from prediction.pages import Reading, finish_page, process_page
from prediction.results import VECTOR, OutputOptions, Page, PageResult
from utils.command import describe_error, log
from utils.images import read_rgb
from utils.pdf import PDF_DPI, PDF_SUFFIX, render_pdf_page

SHOWN_DPI = 150.0  # resolution of the pages in overlays and reports


def process_file(digitizer: Digitizer, page: Page, outputs: OutputOptions) -> list[PageResult]:
    """The results of a file: one of an image, of a PDF one for each record or page, its first page's last.

    Who finds the row of the first page so finds the others. Where there is a truth, or the signals themselves
    are asked for, only the first page that may show an ECG counts.
    """
    if page.path.suffix.lower() != PDF_SUFFIX:
        return [process_page(digitizer, page, outputs)]
    try:
        parts = split_pdf(page.path, known=digitizer.known)
    except Exception as error:  # of a file that cannot be read the whole fails, but for what is kept
        if page.kept:
            log.warning(f"warning: {page.path}: {describe_error(error)}; its pages are left as they were")
            return []
        reason = error
        return [finish_page(page, outputs, digitizer.known, lambda *_: fail(reason), lambda: None)]
    several = parts[-1].numbers[-1] > 0
    if page.truth is not None or outputs.leads:
        parts = [next((part for part in parts if part.record or part.dpi), parts[0])]
        named = [(page, parts[0])]
    else:
        named = [(name_part(page, part), part) for part in parts]
        named = [(own, part) for own, part in named if own.name not in page.kept]
    return [process_part(digitizer, own, part, outputs, several) for own, part in reversed(named)]


def fail(error: Exception) -> Reading:
    raise error


def name_part(page: Page, part: PdfPart) -> Page:
    """The page with the name of a part's results: that of the file, from the second page on with -pN."""
    first = part.numbers[0]
    return page if first == 0 else replace(page, name=f"{page.name}-p{first + 1}")


def process_part(
    digitizer: Digitizer, page: Page, part: PdfPart, outputs: OutputOptions, several: bool
) -> PageResult:
    """Read a part of a PDF and write what `outputs` names; whatever goes wrong becomes its outcome."""

    def show() -> np.ndarray | None:
        try:
            return render_pdf_page(page.path, part.numbers[0], SHOWN_DPI)
        except ValueError:
            return None

    def read(fs: int, result: PageResult) -> Reading:
        if several:
            result.pdf_pages = "-".join(
                str(number + 1) for number in sorted({part.numbers[0], part.numbers[-1]})
            )
        return read_part(digitizer, page, part, fs)

    return finish_page(page, outputs, digitizer.known, read, show)


def read_page_image(path: Path, number: int = 0, known: Known = NOTHING_KNOWN) -> np.ndarray:
    """What the networks see of a page: an image, or a page of a PDF, numbered from 0; (H, W, 3) uint8 RGB.

    `known` is what was known when the PDF was split. Raises ValueError for a file that cannot be read, or a
    page that is no picture.
    """
    if path.suffix.lower() != PDF_SUFFIX:
        return read_rgb(path)
    part = next((part for part in split_pdf(path, known=known) if part.numbers[0] == number), None)
    if part is None or part.dpi is None:
        raise ValueError("holds no picture of an ECG" if part is None or not part.reason else part.reason)
    return render_pdf_page(path, number, part.dpi)


def read_part(digitizer: Digitizer, page: Page, part: PdfPart, fs: int) -> Reading:
    """The curves of a part, or its picture where there are none, or where they are doubtful and it is not."""
    record = None if part.record is None else replace(part.record, fs=fs)
    if record is None:
        if part.dpi is None:
            raise ValueError(part.reason or "holds neither curves nor a picture of an ECG")
        doubts = (f"read as a picture, as its curves are not: {part.reason}",) if part.reason else ()
        return read_picture(digitizer, page, part, fs, doubts)
    if record.doubts and len(part.numbers) == 1 and part.dpi is not None:
        doubts = (f"read as a picture, as the curves in the file are doubtful: {'; '.join(record.doubts)}",)
        try:
            picture = read_picture(digitizer, page, part, fs, doubts)
        except ValueError:
            pass
        else:
            if not picture.digitized.doubts:
                return picture
    return Reading(record, lambda: show_record(page, part, record), VECTOR)


def read_picture(
    digitizer: Digitizer, page: Page, part: PdfPart, fs: int, doubts: tuple[str, ...]
) -> Reading:
    """A page of a PDF by the networks. Raises ValueError, PageNotFound among them."""
    image = render_pdf_page(page.path, part.numbers[0], part.dpi or PDF_DPI)
    digitized = digitizer(image, fs)
    return Reading(digitized, lambda: (image, digitized.draw_overlay(image)), doubts=doubts)


def show_record(page: Page, part: PdfPart, record: VectorRecord) -> tuple[np.ndarray, np.ndarray]:
    """The pages of a record, and the same with the curves drawn on them."""
    images = [
        np.rot90(render_pdf_page(page.path, vector.pdf.number, SHOWN_DPI), vector.turns)
        for vector in record.pages
    ]
    return stack(images), record.draw_overlay(images)
