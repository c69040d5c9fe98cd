"""A PDF file as what its pages are: records that their curves hold, pictures of pages, and neither."""

from dataclasses import dataclass, replace
from pathlib import Path

from digitization.layout.page import NOTHING_KNOWN, Known
from digitization.vector.arrangement import CurvesUnread
from digitization.vector.page import NoCurves, OtherLeads, VectorPage, read_vector_page
from digitization.vector.record import VectorRecord, carries_on
from utils.pdf import PDF_DPI, PdfPage, Picture, read_pdf_pages

MIN_PICTURE_SHARE = 0.1  # share of the page that a picture covers which may be an ECG's; logos are smaller
MIN_DRAWN_POINTS = 400  # points of all lines of a page that may draw an ECG without holding it as curves
DPI_RANGE = (100.0, 600.0)  # resolutions at which pictures are rendered, whatever theirs
MIN_LEADS_ON_SCAN = 6  # leads as curves on a picture of the page, its grid; fewer are lines on a scan
WHOLE_PICTURE_SHARE = 0.5  # share of the page from which a picture is the page itself


@dataclass(frozen=True)
class PdfPart:
    """One or several pages of a PDF that are read together.

    numbers: the pages, from 0. record: by their curves, if they have any that are read. dpi: resolution at
    which the page is rendered for the networks, None if it is no picture. reason: why no curves are read, ""
    where the page has none.
    """

    numbers: tuple[int, ...]
    record: VectorRecord | None = None
    dpi: float | None = None
    reason: str = ""


def split_pdf(path: Path, fs: int = 500, known: Known = NOTHING_KNOWN) -> list[PdfPart]:
    """The parts of a PDF in the order of its pages. Raises ValueError for a file that cannot be read."""
    parts: list[PdfPart] = []
    for page in read_pdf_pages(Path(path)):
        last = parts[-1].record if parts else None
        dpi = picture_dpi(page)
        try:
            found = read_vector_page(page, known)
            if shows_scan(page) and len(found.layout.longest) < MIN_LEADS_ON_SCAN:
                raise CurvesUnread("lines on a scan")
        except OtherLeads as error:
            if last:
                parts[-1] = with_page(parts[-1], page.number, other_leads=error.leads)
            else:
                parts.append(PdfPart((page.number,), reason=str(error)))
        except CurvesUnread as error:  # a scan may have been signed or marked with lines
            reason = "" if shows_scan(page) else str(error)
            parts.append(PdfPart((page.number,), dpi=dpi, reason=reason))
        except NoCurves:
            parts.append(PdfPart((page.number,), dpi=dpi))
        else:
            if last and carries_on(last.pages, found):
                parts[-1] = with_page(parts[-1], page.number, found)
            else:
                parts.append(PdfPart((page.number,), VectorRecord((found,), fs), dpi))
    return parts


def with_page(
    part: PdfPart, number: int, page: VectorPage | None = None, other_leads: tuple[str, ...] = ()
) -> PdfPart:
    """The part with one more page: its leads, or the names of leads that are left out."""
    assert part.record is not None
    pages = part.record.pages if page is None else (*part.record.pages, page)
    record = VectorRecord(pages, part.record.fs, (*part.record.other_leads, *other_leads))
    return replace(part, numbers=(*part.numbers, number), record=record)


def picture_dpi(page: PdfPage) -> float | None:
    """The resolution for a page that shows an ECG as a picture, or may draw one; None for any other.

    A picture of the whole page has its own, within DPI_RANGE.
    """
    largest = largest_picture(page)
    if largest is not None and largest.area >= MIN_PICTURE_SHARE * page.width * page.height:
        if not shows_scan(page):
            return PDF_DPI
        left, top, right, bottom = largest.box
        longer = max(right - left, bottom - top) / 25.4
        return min(max(max(largest.pixels) / longer, DPI_RANGE[0]), DPI_RANGE[1])
    drawn = sum(len(line.points) for line in page.lines)
    return PDF_DPI if drawn >= MIN_DRAWN_POINTS else None


def largest_picture(page: PdfPage) -> Picture | None:
    return max(page.pictures, key=lambda picture: picture.area, default=None)


def shows_scan(page: PdfPage) -> bool:
    """Whether a picture covers most of the page."""
    largest = largest_picture(page)
    return largest is not None and largest.area >= WHOLE_PICTURE_SHARE * page.width * page.height
