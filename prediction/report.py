"""The report of a run: one HTML file that holds everything it shows, for any browser and any width."""

import base64
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from markupsafe import Markup

from configs.page import LEADS
from digitization.digitizer import UNSURE_LEAD, Digitized
from digitization.geometry.orientation import MIRRORED
from digitization.overlay import shrink
from digitization.vector.record import VectorRecord
from prediction.paper import draw_paper
from prediction.results import DONE, DOUBTFUL, FAILED, VECTOR, LayoutFacts, PageResult, ReportEntry
from prediction.templates import environment
from utils.files import as_utf8, atomic_write
from utils.images import encode_jpeg
from utils.kaggle_metric import to_db

THUMBNAIL_WIDTH, PICTURE_WIDTH = 144, 1280  # px, of the pictures in the table and in an entry
THUMBNAIL_QUALITY, PICTURE_QUALITY = 70, 72  # JPEG quality of these
GOOD_CONFIDENCE = 0.85  # confidence from which on a lead's bar is green
WORST_FIRST = (FAILED, DOUBTFUL, DONE)


def data_url(image: np.ndarray, width: int, quality: int) -> str:
    """An image (H, W, 3) uint8 RGB, `width` px wide at most, as the text that an HTML file holds."""
    encoded = base64.b64encode(encode_jpeg(shrink(image, width), quality)).decode()
    return f"data:image/jpeg;base64,{encoded}"


def draw_entry(
    image: np.ndarray,
    drawn: np.ndarray,
    digitized: Digitized | VectorRecord,
    result: PageResult,
    truth: np.ndarray | None,
) -> ReportEntry:
    """The entry of a page that was read: `drawn` is the photo (H, W, 3) uint8 RGB with its traces."""
    confidence, ratios = digitized.confidence, result.lead_ratios
    unsure = frozenset(lead for lead, value in zip(LEADS, confidence, strict=True) if value < UNSURE_LEAD)
    title = f"traces of {result.page.name}"
    paper = draw_paper(
        digitized.leads,
        digitized.fs,
        digitized.layout,
        truth,
        digitized.gaps,
        unsure,
        title,
        digitized.imputed,
    )
    body = (
        environment()
        .get_template("entry.html")
        .render(
            read=True,
            url=data_url(drawn, PICTURE_WIDTH, PICTURE_QUALITY),
            facts=list_facts(digitized, result),
            leads=[
                (lead, confidence[index], None if ratios is None else ratios[index])
                for index, lead in enumerate(LEADS)
                if lead in digitized.layout.longest
            ],
            ratios=ratios,
            level=confidence_level,
            paper=Markup(paper),
            has_truth=truth is not None,
            min_confidence=UNSURE_LEAD,
        )
    )
    return ReportEntry(data_url(image, THUMBNAIL_WIDTH, THUMBNAIL_QUALITY), body)


def draw_failed_entry(image: np.ndarray | None) -> ReportEntry:
    """The entry of a page that could not be read; the image too may be unreadable."""
    if image is None:
        return ReportEntry("", "")
    url = data_url(image, PICTURE_WIDTH, PICTURE_QUALITY)
    body = environment().get_template("entry.html").render(read=False, url=url)
    return ReportEntry(data_url(image, THUMBNAIL_WIDTH, THUMBNAIL_QUALITY), body)


def list_facts(digitized: Digitized | VectorRecord, result: PageResult) -> dict[str, str]:
    """What is known of a page as a whole, in the order in which the report lists it; blank where unknown."""
    layout, orientation = result.layout, result.orientation or 0
    angle = 90 * (orientation % MIRRORED)
    score = "" if result.ratio is None else "none" if result.ratio <= 0 else f"{to_db(result.ratio):.1f} dB"
    return {
        "score": score,
        "read from": describe_source(result),
        "page score": f"{result.page_score or 0:.2f}",
        "layout": "" if layout is None else describe_facts(layout),
        "limb leads differ by": ""
        if np.isnan(digitized.limb_residual)
        else f"{1000 * digitized.limb_residual:.0f} µV rms (Einthoven, Goldberger)",
        "hardly visible": f"{result.gap_seconds:.2f} s",
        "imputed from other beats": f"{result.imputed_seconds or 0:.2f} s",
        "rotated by": f"{angle}°" + (", mirrored" if orientation >= MIRRORED else ""),
        "sampling rate": f"{digitized.fs} Hz",
        "squares": "" if result.aspect is None else f"{result.aspect:.2f} times as tall as wide",
        "notes": "; ".join(result.notes),
    }


def describe_source(result: PageResult) -> str:
    """Where the curves of a PDF come from; blank for an image, which speaks for itself."""
    pages = f", page {result.pdf_pages}" if result.pdf_pages else ""
    if result.source != VECTOR:
        return f"the picture of the page{pages}" if pages else ""
    rate = "" if result.native_hz is None else f", {result.native_hz:.0f} points per second"
    return f"the curves in the file{rate}{pages}"


def describe_facts(layout: LayoutFacts) -> str:
    """A layout with its score, speed and gain, and how each is known."""
    score = "" if layout.score is None else f", score {layout.score:.2f}"
    speed = f"{layout.speed:g} mm/s ({layout.speed_source})"
    return f"{layout.name} ({layout.source}{score}), {speed}, {layout.gain:g} mm/mV ({layout.gain_source})"


def confidence_level(confidence: float) -> str:
    """The class of a lead's bar."""
    return "low" if confidence < UNSURE_LEAD else "middle" if confidence < GOOD_CONFIDENCE else ""


class Report:
    """Collects a run's pages and writes report.html: all of them in a table, the worst `most` in full.

    As a context it is written at the end. The entries wait in a temporary file, so that a run may be of any
    length.
    """

    def __init__(self, path: Path, title: str, facts: str, most: int):
        self.path, self.title, self.facts, self.most = path, title, facts, most
        self.spool = tempfile.TemporaryFile(dir=path.parent, prefix=".report.")  # noqa: SIM115
        self.results: list[PageResult] = []
        self.places: list[tuple[tuple[int, int], tuple[int, int]]] = []  # thumbnail and body in the spool

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, error: type | None, *_) -> None:
        if error is None:
            self.write()
        self.spool.close()

    def add(self, result: PageResult) -> None:
        """Take a page's result; its entry is moved to the temporary file."""
        entry = result.entry or ReportEntry("", "")
        self.places.append((self.keep(entry.thumbnail), self.keep(entry.body)))
        self.results.append(result)
        result.entry = None

    def keep(self, text: str) -> tuple[int, int]:
        """Append a text to the temporary file: where it starts, and its length in bytes."""
        return self.spool.seek(0, 2), self.spool.write(as_utf8(text))

    def read(self, place: tuple[int, int]) -> str:
        self.spool.seek(place[0])
        return self.spool.read(place[1]).decode()

    def write(self) -> None:
        """Put everything together; atomically."""
        order = sorted(range(len(self.results)), key=lambda number: (severity(self.results[number]), number))
        shown = set(order[: self.most])
        ratios = [result.ratio for result in self.results if result.ratio is not None]

        def rows() -> Iterator[tuple[str, PageResult, str]]:
            for number in order:
                name = f"p{number}" if number in shown else ""
                yield name, self.results[number], self.read(self.places[number][0]) if name else ""

        def articles() -> Iterator[tuple[str, PageResult, Markup]]:
            for number in order:
                if number in shown:
                    yield f"p{number}", self.results[number], Markup(self.read(self.places[number][1]))

        page = (
            environment()
            .get_template("report.html")
            .generate(
                title=self.title,
                facts=self.facts,
                pages=len(order),
                shown=len(shown),
                outcomes=WORST_FIRST[::-1],
                counts=Counter(result.outcome for result in self.results),
                mean_ratio=float(np.mean(ratios)) if ratios else None,
                rows=rows(),
                articles=articles(),
            )
        )
        with (
            atomic_write(self.path) as partial,
            partial.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            file.writelines(page)


def severity(result: PageResult) -> tuple[int, float]:
    """The worse a page, the smaller: failed ones first, then those of the lowest score or confidence."""
    score = 0.0 if result.page_score is None else result.page_score
    confidence = 0.0 if result.confidence is None else float(np.nanmin(result.confidence))
    return WORST_FIRST.index(result.outcome), min(score, confidence)
