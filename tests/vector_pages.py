"""PDF pages that hold the curves of their leads, drawn in the manner of their makers."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from reportlab.pdfgen.canvas import Canvas

from configs.layouts import LIMB_LEADS
from configs.page import LEADS

POINT = 72 / 25.4  # points in a mm
BEAT_S = 0.83
ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
LIMB, CHEST = LEADS[:6], LEADS[6:]


def simulate(fs: int, seconds: float = 10.0) -> dict[str, np.ndarray]:
    """Twelve leads with beats, in mV: lead -> (n,), whose limb leads obey Einthoven and Goldberger."""
    times = np.arange(round(seconds * fs)) / fs

    def beats(sizes: Sequence[float]) -> np.ndarray:
        phase = (times + 0.3) % BEAT_S - 0.35
        shapes = ((-0.16, 0.03), (-0.03, 0.01), (0.0, 0.014), (0.035, 0.012), (0.24, 0.05))
        return sum(size * np.exp(-0.5 * ((phase - at) / wide) ** 2)
                   for size, (at, wide) in zip(sizes, shapes, strict=True))  # fmt: skip

    one, two = beats((0.08, -0.05, 0.7, -0.1, 0.2)), beats((0.12, -0.1, 1.1, -0.2, 0.3))
    leads = {lead: a * one + b * two for lead, (a, b) in LIMB_LEADS.items()}
    for number, lead in enumerate(CHEST):
        leads[lead] = beats(
            (0.08, 0.02 * number, 0.2 + 0.25 * number, -1.0 + 0.2 * number, 0.35 - 0.05 * number)
        )
    return leads


class Sheet:
    """A page in mm, right and down from its top left corner; `rotated` ones are portrait with /Rotate 90.

    `print_scale` shrinks everything, as a printer does that fits a page to its paper.
    """

    def __init__(self, path: Path, size=(279.4, 215.9), rotated: bool = False, print_scale: float = 1.0):
        self.size, self.rotated, self.scale = size, rotated, print_scale
        width, height = (side * POINT for side in size)
        self.canvas = Canvas(str(path), pagesize=(width, height), pageCompression=0)  # which is faster
        self.start_page()

    def start_page(self) -> None:
        if self.rotated:
            self.canvas.setPageRotation(90)

    def next_page(self) -> None:
        self.canvas.showPage()
        self.start_page()

    def place(self, x: float, y: float) -> tuple[float, float]:
        """A place on the page in points of the file."""
        x, y = x * self.scale * POINT, y * self.scale * POINT
        return (y, x) if self.rotated else (x, self.size[1] * POINT - y)

    def line(self, points: Iterable[Sequence[float]], colour=(0, 0, 0), width: float = 0.2) -> None:
        self.lines([points], colour, width)

    def lines(self, parts: Iterable[Iterable[Sequence[float]]], colour=(0, 0, 0), width: float = 0.2) -> None:
        """One path with a MoveTo for each of its parts."""
        path = self.canvas.beginPath()
        for points in parts:
            first, *others = points
            path.moveTo(*self.place(*first))
            for point in others:
                path.lineTo(*self.place(*point))
        self.canvas.setStrokeColorRGB(*colour)
        self.canvas.setLineWidth(width * POINT)
        self.canvas.drawPath(path)

    def text(self, x: float, y: float, text: str, size: float = 3.0) -> None:
        self.canvas.saveState()
        self.canvas.translate(*self.place(x, y))
        if self.rotated:
            self.canvas.rotate(90)
        self.canvas.setFont("Helvetica", size * self.scale * POINT)
        self.canvas.drawString(0, 0, text)
        self.canvas.restoreState()

    def grid(self, left: float, top: float, columns: int, rows: int) -> None:
        """Squares of 5 mm in two multi-move paths: lines of 1 mm, and above them those of 5 mm."""
        right, bottom = left + 5 * columns, top + 5 * rows
        for step, colour in ((1, (0.9, 0.7, 0.7)), (5, (0.85, 0.55, 0.55))):
            vertical = [((x, top), (x, bottom)) for x in np.arange(left, right + 0.1, step)]
            horizontal = [((left, y), (right, y)) for y in np.arange(top, bottom + 0.1, step)]
            self.lines([*vertical, *horizontal], colour, 0.1)

    def pulse(self, x: float, y: float, width: float = 5.0, height: float = 10.0, step: float = 0.1) -> None:
        """A calibration pulse in points `step` mm apart, its foot at y."""
        along = np.arange(0, width + 2, step)
        risen = (along >= 1) & (along < 1 + width - step / 2)
        self.line(np.stack([x + along, y - height * risen], axis=-1))

    def curve(self, x: float, y: float, signal: np.ndarray, step: float, mm_per_mv: float = 10.0) -> None:
        """A signal (n,) mV, a sample every `step` mm, about y."""
        self.line(np.stack([x + step * np.arange(len(signal)), y - mm_per_mv * signal], axis=-1))

    def save(self) -> None:
        self.canvas.save()


def draw_muse(
    path: Path,
    strips: Sequence[str] = ("V1", "II", "V5"),
    print_scale: float = 1.0,
    names: dict[str, str] | None = None,
    gain_text: str = "10mm/mV",
) -> dict[str, np.ndarray]:
    """3x4 and strips at 500 Hz on a rotated page, a pulse on every row, names below; leads of 1238 points."""
    leads, sheet = simulate(500), Sheet(path, rotated=True, print_scale=print_scale)
    sheet.grid(4.5, 58, 54, 28)
    for row, own in enumerate(ROWS):
        y = 68 + 24.6 * row
        sheet.pulse(4.5, y)
        for column, lead in enumerate(own):
            first = 1250 * column
            sheet.curve(10.8 + 62.5 * column, y, leads[lead][first : first + 1238], 0.05)
            sheet.text(10.8 + 62.5 * column, y + 6, (names or {}).get(lead, lead))
    for index, lead in enumerate(strips):
        y = 68 + 24.6 * (3 + index)
        sheet.pulse(4.5, y)
        sheet.curve(10.8, y, leads[lead], 0.05)
        sheet.text(10.8, y + 6, lead)
    sheet.text(4.3, 205, "25mm/s")
    sheet.text(19.6, 205, gain_text)
    sheet.text(119, 20, "NORMAL SINUS RHYTHM")
    sheet.save()
    return leads


def draw_cardiosoft(path: Path, further: Sequence[str] = ()) -> dict[str, np.ndarray]:
    """6x1 at 50 mm/s on two pages, points on the printer's dots, collinear ones left out, no pulse."""
    leads, sheet = simulate(500, 5.0), Sheet(path, rotated=True)
    dot = 25.4 / 600
    for page, names in enumerate((LIMB, CHEST, further)):
        if not names:
            continue
        if page:
            sheet.next_page()
            sheet.text(90, 36, "Fortsetzung ...")
        sheet.text(8, 204, "50mm/s 10mm/mV 0.01-20Hz 50Hz")
        sheet.line([(6.5, 28), (272, 28), (272, 195), (6.5, 195), (6.5, 28)], width=0.05)
        for row, lead in enumerate(names):
            y = 78 + 21.6 * row
            signal = leads.get(lead, leads["V1"])
            dots = np.round(np.stack([22.5 + 0.1 * np.arange(len(signal)), y - 10 * signal], axis=-1) / dot)
            sheet.line(drop_collinear(dots) * dot, width=0.19)
            sheet.text(24, y + 4.5, lead)
    sheet.save()
    return leads


def drop_collinear(points: np.ndarray) -> np.ndarray:
    """Points (N, 2) without those that lie on the way from the point before to the next."""
    before, after = points[1:-1] - points[:-2], points[2:] - points[1:-1]
    turns = np.abs(before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]) > 1e-9
    return points[np.concatenate([[True], turns, [True]])]


def draw_schiller(path: Path, second: dict[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """6x1 at 25 mm/s on two pages, points every 0.35 mm, one pulse of 0.1 s beside the rows, texts left.

    `second` are other leads for the page of the chest leads.
    """
    leads, sheet = simulate(1000), Sheet(path, size=(297.0, 210.0), rotated=True)
    for page, (names, own) in enumerate(((LIMB, leads), (CHEST, second or leads))):
        if page:
            sheet.next_page()
        sheet.grid(13.5, 50, 54, 30)
        sheet.line([(13.5, 130), (14.8, 130), (14.8, 120), (17.3, 120), (17.3, 130), (18.5, 130)], (0, 0, 1))
        for row, lead in enumerate(names):
            y = 66 + 23.3 * row
            sheet.curve(23.5, y, own[lead][: 714 * 14 + 1 : 14], 0.35)
            sheet.text(20, y - 4, lead)
        sheet.text(18, 198, "25\xa0mm/s, 10\xa0mm/mV")
    sheet.save()
    return leads


def draw_ecgtizer(path: Path) -> dict[str, np.ndarray]:
    """3x4 and a strip of II without a name, 125 Hz, leads of 312 points every 62 mm, names above, no text."""
    leads, sheet = simulate(125), Sheet(path, size=(297.0, 210.0))
    sheet.grid(8.5, 35, 56, 32)
    for row, own in enumerate(ROWS):
        y = 55 + 40 * row
        sheet.pulse(8.5, y, width=5.2, step=0.2)
        for column, lead in enumerate(own):
            sheet.curve(16.2 + 62 * column, y, leads[lead][312 * column : 312 * (column + 1)], 0.2)
            sheet.text(21.2 + 70 * column, y - 17.3, lead, 2.5)
    sheet.pulse(8.5, 175, width=5.2, step=0.2)
    sheet.curve(16.2, 175, leads["II"][:1249], 0.2)
    sheet.save()
    return leads


def draw_matplotlib(path: Path, simplify: bool = False) -> dict[str, np.ndarray]:
    """Rows of four leads end to end in one line each, and a strip of II; 5 mm squares; names in blue.

    With `simplify` points are left out, and others moved, where the line stays within a ninth of a point.
    """
    import matplotlib

    matplotlib.use("agg")
    with matplotlib.rc_context({"path.simplify": simplify}):
        return draw_figure(path)


def draw_figure(path: Path) -> dict[str, np.ndarray]:
    from matplotlib import pyplot

    leads = simulate(1000)
    figure = pyplot.figure(figsize=(297 / 25.4, 210 / 25.4))
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, 297)
    axes.set_ylim(210, 0)
    axes.axis("off")
    for x in np.arange(23.5, 273.6, 5):
        axes.plot([x, x], [30, 200], color=(0.8, 0.2, 0.1), linewidth=0.6)
    for y in np.arange(30, 200.1, 5):
        axes.plot([23.5, 273.5], [y, y], color=(0.8, 0.2, 0.1), linewidth=0.6)
    for row, own in enumerate((*ROWS, ("II",))):
        y, length = 50 + 40 * row, 10_000 // len(own)
        joined = np.concatenate([leads[lead][length * k : length * (k + 1)] for k, lead in enumerate(own)])
        axes.plot(23.5 + 0.025 * np.arange(10_000), y - 10 * joined, color="black", linewidth=0.6)
        for column, lead in enumerate(own):
            axes.text(25.8 + 62.5 * column, y - 14, lead, color="blue", fontsize=10)
    axes.text(200, 206, "25.0 mm/s | 10 mm/mV", fontsize=8)
    figure.savefig(path)
    pyplot.close(figure)
    return leads
