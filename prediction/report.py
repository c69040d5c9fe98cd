"""The report of a run: one HTML file that holds everything it shows, for any browser and any width."""

import base64
import heapq
import tempfile
from collections import Counter
from html import escape
from pathlib import Path

import numpy as np

from configs.page import LEADS
from digitization.digitizer import UNSURE_LEAD, Digitized
from digitization.overlay import shrink
from prediction.paper import DEFINITIONS, draw_paper
from prediction.results import PageResult, ReportEntry
from utils.files import atomic_write
from utils.images import encode_jpeg
from utils.kaggle_metric import to_db

HERE = Path(__file__).parent
THUMBNAIL_WIDTH, OVERLAY_WIDTH = 144, 1280  # px
THUMBNAIL_QUALITY, ENTRY_QUALITY = 70, 72  # of JPEG
GOOD_CONFIDENCE = 0.85  # from here on a lead's bar is green
OUTCOMES = ("failed", "doubtful", "done")
MIRRORED = 4


def data_url(image: np.ndarray, width: int, quality: int) -> str:
    encoded = base64.b64encode(encode_jpeg(shrink(image, width), quality)).decode()
    return f"data:image/jpeg;base64,{encoded}"


def decibels(ratio: float | None) -> str:
    if ratio is None:
        return ""
    return f"{to_db(ratio):.1f} dB" if ratio > 0 else "none"


def draw_entry(
    image: np.ndarray, drawn: np.ndarray, digitized: Digitized, result: PageResult, truth: np.ndarray | None
) -> ReportEntry:
    """The entry of a page that was read: `drawn` is the photo (H, W, 3) uint8 RGB with its traces."""
    confidence = digitized.confidence
    unsure = frozenset(lead for lead, value in zip(LEADS, confidence, strict=True) if value < UNSURE_LEAD)
    title = f"traces of {result.page.name}"
    paper = draw_paper(digitized.leads, digitized.fs, truth, digitized.gaps, unsure, title, digitized.imputed)
    legend = "black: read; blue: truth; " if truth is not None else ""
    legend += "shaded: hardly seen; hatched: completed from other beats; "
    body = (
        f'<div class="columns"><figure>{picture(drawn, "the page with its traces")}'
        "<figcaption>As read, rows in blue, green, purple, orange; hardly seen in red</figcaption></figure>"
        f"<div>{list_facts(digitized, result)}{list_leads(confidence, result.lead_ratios)}</div></div>"
        f'<figure><div class="paper-scroll">{paper}</div>'
        f"<figcaption>{legend}red: unsure, below {UNSURE_LEAD:g}</figcaption></figure>"
    )
    return ReportEntry(data_url(image, THUMBNAIL_WIDTH, THUMBNAIL_QUALITY), body)


def draw_failed_entry(image: np.ndarray | None) -> ReportEntry:
    """The entry of a page that could not be read; the image too may be unreadable."""
    if image is None:
        return ReportEntry("", "")
    return ReportEntry(
        data_url(image, THUMBNAIL_WIDTH, THUMBNAIL_QUALITY), f"<figure>{picture(image, 'the image')}</figure>"
    )


def picture(image: np.ndarray, what: str) -> str:
    return f'<img loading="lazy" src="{data_url(image, OVERLAY_WIDTH, ENTRY_QUALITY)}" alt="{what}">'


def list_facts(digitized: Digitized, result: PageResult) -> str:
    rectified = digitized.rectified
    turn = 90 * (rectified.orientation % MIRRORED)
    facts = {
        "score": decibels(result.ratio),
        "page score": f"{rectified.page_score:.2f}",
        "limb leads differ by": f"{1000 * digitized.limb_residual:.0f} µV rms (Einthoven, Goldberger)",
        "hardly seen": f"{result.gap_seconds:.2f} s",
        "completed from other beats": f"{result.imputed_seconds or 0:.2f} s",
        "turned by": f"{turn}°" + (", mirrored" if rectified.orientation >= MIRRORED else ""),
        "sampling rate": f"{digitized.fs} Hz",
        "squares": f"{rectified.calibration.aspect:.2f} times as tall as wide",
    }
    rows = (f"<dt>{name}</dt><dd>{value}</dd>" for name, value in facts.items() if value)
    return f"<dl>{''.join(rows)}</dl>"


def list_leads(confidence: np.ndarray, ratios: np.ndarray | None) -> str:
    """Each lead's confidence as a bar, and its score where there is one."""
    parts = ['<span>lead</span><span class="th">confidence</span><span></span>']
    parts.append(f'<span class="th right">{"" if ratios is None else "score"}</span>')
    for index, lead in enumerate(LEADS):
        value = confidence[index]
        level = " low" if value < UNSURE_LEAD else " middle" if value < GOOD_CONFIDENCE else ""
        score = decibels(None if ratios is None else ratios[index])
        parts.append(
            f'<span>{lead}</span><span class="bar{level}"><i style="width:{100 * value:.0f}%"></i></span>'
            f'<span class="right">{value:.2f}</span><span class="right">{score}</span>'
        )
    return f'<div class="leads">{"".join(parts)}</div>'


class Report:
    """Collects a run's pages and writes report.html: all of them in a table, the worst `most` in full.

    As a context it is written at the end. The entries wait in a file of their own, so that a run may be of
    any length.
    """

    def __init__(self, path: Path, title: str, facts: str, most: int):
        self.path, self.title, self.facts, self.most = path, title, facts, most
        self.spool = tempfile.TemporaryFile(dir=path.parent, prefix=".report.")  # noqa: SIM115
        self.rows: list[tuple] = []

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, error: type | None, *_) -> None:
        if error is None:
            self.write()
        self.spool.close()

    def add(self, result: PageResult) -> None:
        entry = result.entry or ReportEntry("", "")
        places = []
        for text in (entry.thumbnail, entry.body):
            start = self.spool.seek(0, 2)
            places.append((start, self.spool.write(text.encode())))
        result.entry = None
        self.rows.append((severity(result), len(self.rows), result, *places))

    def read(self, place: tuple[int, int]) -> str:
        self.spool.seek(place[0])
        return self.spool.read(place[1]).decode()

    def write(self) -> None:
        """Put everything together; atomically."""
        rows = sorted(self.rows, key=lambda row: row[:2])
        shown = {row[1] for row in heapq.nsmallest(self.most, rows, key=lambda row: row[:2])}
        scored = any(row[2].ratio is not None for row in rows)
        with (
            atomic_write(self.path) as partial,
            partial.open("w", encoding="utf-8", errors="backslashreplace") as file,
        ):
            page = (HERE / "report.html").read_text(encoding="utf-8")
            file.write(
                page.format(
                    title=escape(self.title),
                    definitions=DEFINITIONS,
                    facts=escape(self.facts),
                    counts=self.count(scored),
                    header=table_header(scored),
                )
            )
            for _, number, result, thumbnail, _ in rows:
                picture = self.read(thumbnail) if number in shown else ""
                file.write(table_row(result, f"p{number}" if number in shown else "", picture, scored))
            file.write("</tbody></table></div>")
            if len(shown) < len(rows):
                file.write(f'<p class="soft">In full below: the {len(shown)} worst of {len(rows)} pages.</p>')
            file.write("</section>\n<main>")
            for _, number, result, _, body in rows:
                if number in shown:
                    file.write(article(result, f"p{number}", self.read(body)))
            script = (HERE / "report.js").read_text(encoding="utf-8")
            file.write(f"</main>\n<script>\n{script}</script>\n</body>\n</html>\n")

    def count(self, scored: bool) -> str:
        outcomes = Counter(result.outcome for _, _, result, *_ in self.rows)
        figures = [(str(len(self.rows)), "pages", "")]
        figures += [(str(outcomes[name]), name, name) for name in reversed(OUTCOMES)]
        if scored:
            ratios = [result.ratio for _, _, result, *_ in self.rows if result.ratio is not None]
            figures.append((decibels(float(np.mean(ratios))), "score", ""))
        return "".join(f'<li><b class="{kind}">{value}</b>{name}</li>' for value, name, kind in figures)


def severity(result: PageResult) -> tuple[int, float]:
    """The worse a page, the smaller: failed ones first, then by what is surest of being wrong."""
    score = 0.0 if result.page_score is None else result.page_score
    confidence = 0.0 if result.confidence is None else float(result.confidence.min())
    return OUTCOMES.index(result.outcome), min(score, confidence)


def table_header(scored: bool) -> str:
    cells = ["<th></th><th>page</th><th>outcome</th>"]
    names = [*(["score dB"] if scored else []), "page score", "confidence", "weakest lead", "limb leads µV"]
    cells += [f'<th class="number">{name}</th>' for name in names]
    return "".join([*cells, "<th>warnings</th>"])


def table_row(result: PageResult, anchor: str, thumbnail: str, scored: bool) -> str:
    name = escape(result.page.name)
    link = f'<a href="#{anchor}">{name}</a>' if anchor else name
    image = f'<img loading="lazy" src="{thumbnail}" alt="">' if thumbnail else ""
    confidence = result.confidence
    numbers = [
        "" if result.page_score is None else f"{result.page_score:.2f}",
        "" if confidence is None else f"{confidence.mean():.2f}",
        "" if confidence is None else f"{confidence.min():.2f}",
        "" if result.limb_residual is None else f"{1000 * result.limb_residual:.0f}",
    ]
    if scored:
        ratio = result.ratio
        numbers.insert(0, "" if ratio is None else f"{to_db(ratio):.1f}" if ratio > 0 else "none")
    cells = "".join(f'<td class="number">{number}</td>' for number in numbers)
    return (
        f'<tr data-outcome="{result.outcome}" data-name="{name.lower()}"><td data-value="">{image}</td>'
        f'<td class="name">{link}</td><td class="{result.outcome}">{result.outcome}</td>{cells}'
        f'<td class="why">{escape("; ".join(result.warnings))}</td></tr>\n'
    )


def article(result: PageResult, anchor: str, body: str) -> str:
    name, outcome = escape(result.page.name), result.outcome
    warnings = "".join(f"<li>{escape(warning)}</li>" for warning in result.warnings)
    listed = f'<ul class="warnings">{warnings}</ul>' if warnings else ""
    return (
        f'<article id="{anchor}" data-outcome="{outcome}" data-name="{name.lower()}"><div class="head">'
        f'<h2>{name}</h2><span class="badge {outcome}">{outcome}</span>'
        f'<span class="soft">{escape(str(result.page.path))}</span></div>{listed}{body}</article>\n'
    )
