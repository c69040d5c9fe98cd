"""PDF files that hold the curves of their leads: what is read of each, how exactly, and how fast.

    python benchmarks/vector_pdfs.py ../shared/samples/pdf [--pictures]

The table has for each record the leads, the source, the rate of its points, the score where a CSV of the same
name has the truth, the greatest distance in mm between the points of the file, as pypdfium2 lists them, and
the signal read at their times (where the points keep a rate that divides 500 Hz), and seconds per page.
--pictures has the networks read the same pages rendered at 200 dpi: their seconds per page, the median
lead in dB with the curve for the truth, and their doubts.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np
import pypdfium2
import pypdfium2.raw as pdfium

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.layouts import add_network_arguments, build_digitizer
from configs.page import LEADS, PAGE_DPI
from datasets.labels import read_truth
from digitization.digitizer import Digitizer
from digitization.vector.document import split_pdf
from digitization.vector.page import VectorPage
from digitization.vector.record import VectorRecord
from prediction.pages import score_leads
from utils.command import run_main
from utils.kaggle_metric import lead_snr, to_db
from utils.pdf import MM_PER_POINT, render_pdf_page

FS = 500
MIN_POINTS = 200  # of a path that may be a lead's
UNEVEN_MM = 0.02  # difference of the steps between points from which on some are left out
WHOLE_RATE = 1e-3  # share by which the rate of the points may be off a divisor of FS


def page_curves(path: Path, number: int) -> list[np.ndarray]:
    """The points (N, 2) mm of all long paths of an unrotated page without forms, y upwards."""
    with pypdfium2.PdfDocument(path) as document:
        curves = []
        for item in document[number].get_objects(filter=[pdfium.FPDF_PAGEOBJ_PATH]):
            count = pdfium.FPDFPath_CountSegments(item.raw)
            if count < MIN_POINTS:
                continue
            matrix, points = item.get_matrix(), []
            for index in range(count):
                x, y = pdfium.c_float(), pdfium.c_float()
                pdfium.FPDFPathSegment_GetPoint(pdfium.FPDFPath_GetPathSegment(item.raw, index), x, y)
                points.append(matrix.on_point(x.value, y.value))
            curves.append(np.array(points) * MM_PER_POINT)
    return curves


def greatest_distance(path: Path, page: VectorPage) -> float:
    """The greatest distance in mm between the points of a page's paths and the signals read at their times.

    NaN where the points have no rate that divides FS, or some are left out.
    """
    rate = page.native_hz or 0.0
    step = round(FS / rate) if rate else 0
    if not step or abs(step * rate / FS - 1) > WHOLE_RATE or page.turns:
        return float("nan")
    if any(np.ptp(np.diff(printed.points[:, 0])) > UNEVEN_MM for printed in page.leads):
        return float("nan")
    curves = page_curves(path, page.pdf.number)
    distances = []
    for printed in page.leads:
        count = len(printed.points)
        read = printed.curve.sample(FS, step * (count - 1) + 1)[::step] * page.scales.mm_per_mv
        read *= printed.segment.sign
        own = [curve for curve in curves if len(curve) == count]
        # The points of a lead and its signal may differ by the place of the zero line alone.
        offsets = [np.ptp(read + offset_of(curve)) for curve in own]
        distances.append(min(offsets, default=np.nan))
    return float(np.max(distances))


def offset_of(curve: np.ndarray) -> np.ndarray:
    """What a signal upwards, in mm, has to be added to for a constant: minus the curve's own height."""
    upright = np.ptp(curve[:, 0]) >= np.ptp(curve[:, 1])
    return -curve[:, 1] if upright else curve[:, 0]


def compare_picture(
    digitizer: Digitizer, path: Path, record: VectorRecord
) -> tuple[list[float], float, list[str]]:
    """The dB of each lead of the networks' reading against the curves, seconds per page, and doubts."""
    ratios, seconds, doubts = [], 0.0, []
    for page in record.pages:
        image = render_pdf_page(path, page.pdf.number, PAGE_DPI)
        started = time.monotonic()
        try:
            digitized = digitizer(image, FS)
        except ValueError as error:
            doubts.append(str(error))
            ratios += [float("-inf")] * len(page.layout.longest)
            continue
        finally:
            seconds += time.monotonic() - started
        doubts += digitized.doubts
        signals = page.lead_signals(FS)
        for lead in page.layout.longest:
            own, other = signals[LEADS.index(lead)], digitized.leads[LEADS.index(lead)]
            both = np.flatnonzero(np.isfinite(own[: len(other)]) & np.isfinite(other[: len(own)]))
            ratios.append(to_db(lead_snr(own[both], other[both], FS, None)) if len(both) else float("-inf"))
    return ratios, seconds / len(record.pages), doubts


def describe(path: Path, digitizer: Digitizer | None) -> list[str]:
    """A row of the table for each part of a file."""
    started = time.monotonic()
    parts = split_pdf(path, FS)
    for part in parts:
        _ = None if part.record is None else part.record.leads
    seconds = (time.monotonic() - started) / sum(len(part.numbers) for part in parts)
    rows = []
    for part in parts:
        pages = "-".join(str(number + 1) for number in sorted({part.numbers[0], part.numbers[-1]}))
        record = part.record
        if record is None:
            rows.append(f"| {path.name} | {pages} | {part.reason or 'no curves'} |")
            continue
        truth = path.with_suffix(".csv")
        score = f"{to_db(score_leads(read_truth(truth)[0], record)[0]):.2f}" if truth.exists() else ""
        distance = max(greatest_distance(path, page) for page in record.pages)
        cells = [
            path.name,
            pages,
            f"{len(record.layout.longest)}: {record.layout.name}",
            "vector",
            "" if record.native_hz is None else f"{record.native_hz:.1f}",
            score,
            "" if np.isnan(distance) else f"{distance:.4f}",
            "; ".join(record.doubts),
            f"{seconds:.2f}",
        ]
        if digitizer is not None:
            ratios, picture_seconds, doubts = compare_picture(digitizer, path, record)
            cells += [f"{picture_seconds:.1f}", f"{np.median(ratios):.1f}", f"{min(ratios):.1f}"]
            cells.append("; ".join(doubts))
        rows.append(f"| {' | '.join(cells)} |")
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder of PDF files, and of CSV files with their truth")
    parser.add_argument("--pictures", action="store_true", help="compare with the networks' reading")
    add_network_arguments(parser)
    args = parser.parse_args()
    digitizer = build_digitizer(args) if args.pictures else None
    heads = [
        "file",
        "pages",
        "leads",
        "source",
        "native Hz",
        "score dB",
        "greatest distance mm",
        "doubts",
        "s / page",
    ]
    heads += ["picture s / page", "median dB", "worst lead dB", "picture doubts"] if args.pictures else []
    print(f"| {' | '.join(heads)} |\n|{'---|' * len(heads)}")
    for path in sorted(args.folder.glob("*.pdf")):
        print("\n".join(describe(path, digitizer)), flush=True)


if __name__ == "__main__":
    run_main(main)
