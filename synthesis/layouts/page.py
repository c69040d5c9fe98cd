"""Pages of any layout, as hospitals, programs and teaching files print them, with exact labels.

The sheet has the size of the competition's page in px, but a scale of its own: what lies on it may be A4,
Letter or a folded strip. The grid may cover the sheet, or a box behind the traces alone, and the rows may be
anywhere.
"""

from dataclasses import dataclass

import numpy as np

from configs.layouts import Layout, Segment
from configs.page import LEADS, PULSE_MV, SQUARE_MM
from synthesis.ink import CAP_HEIGHT, font_names, put_ink, put_text, stroke
from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH, line_coverage
from synthesis.signals import Record
from synthesis.style import GREY_GRIDS, GRID_COLOURS, KIT_MAJOR, KIT_MINOR, POINT_PX

SMALL_MM = 1.0  # side of a small square
MAX_SHEET_MM = 450.0  # width of the widest sheet: at 200 dpi it has under 5 px per mm
MIN_PITCH_MM = 11.0  # least distance of two rows, that of twelve rows on Letter with a header
PITCH_MM = (18.0, 42.0)  # range of the distances of two rows where there is room
PULSE_MM_WIDE = 5.0  # width of the calibration pulse: 0.2 s at 25 mm/s
TEXT_MM = (2.4, 4.2)  # range of the height of letters
BOX_SHARE = 0.35  # share of pages whose grid is a box behind the traces alone
ALIGNED_SHARE = 0.3  # share of pages whose rows begin on crossings of 5 mm lines
# Where the calibration pulse is, as often as it is to be there.
PULSE_SIDES = ("left", "left", "left", "right", "none", "none")
SEPARATORS = ("none", "none", "bar", "tick")  # what stands between two leads of a row
GRIDS = ("lines", "lines", "lines", "lines", "major", "dots")  # how the grid is printed
# Where a lead's label stands, seen from the start of its trace.
LABEL_PLACES = ("above", "above", "over", "below", "left")
HEADER_SHARE = 0.6  # share of pages with a header where there is room

HEADER_WORDS = (
    *("Name:", "ID: 4711", "Male, 61 yrs", "HR 72 /min", "PR 160 ms", "QRS 92 ms", "QT/QTc 380/412 ms"),
    *("Axis 42", "Normal sinus rhythm", "Unconfirmed", "Dept: Cardiology", "P-R-T 50 30 45"),
)


@dataclass(frozen=True)
class Print:
    """Where things lie on the sheet. All lengths are mm from its top left corner unless said otherwise.

    px_per_mm: px of the sheet per mm of the paper.
    box: (left, top, right, bottom) of the grid.
    origin: (x, y) of one crossing of 5 mm lines.
    start: x at which the rows of leads begin.
    zero_lines: y of 0 mV of each row, from the top.
    pulse: "left", "right" or "none"; the calibration pulse beside each row.
    """

    px_per_mm: float
    box: tuple[float, float, float, float]
    origin: tuple[float, float]
    start: float
    zero_lines: tuple[float, ...]
    pulse: str


@dataclass(frozen=True)
class LayoutPage:
    """A drawn page of a layout.

    image: (1700, 2200, 3) uint8 RGB.
    gridpoint_xy: (R, C, 2) float32 px, the crossings of the 5 mm lines that are printed, top left first.
    zero_lines: (rows,) float64, y of 0 mV of each row in squares below the first row of grid points.
    start: x at which the rows begin, in squares right of the first column of grid points.
    labels: the leads whose labels are printed, with (x, y) px of the label's middle; "-aVR" has its sign.
    has_pulse: whether a calibration pulse is printed.
    """

    image: np.ndarray
    gridpoint_xy: np.ndarray
    layout: Layout
    zero_lines: np.ndarray
    start: float
    labels: tuple[tuple[str, float, float], ...]
    has_pulse: bool


def draw_layout_page(record: Record, layout: Layout, rng: np.random.Generator) -> LayoutPage:
    """Print the first `layout.duration_s` seconds of a record in a layout, in a random style.

    Raises ValueError for a layout that is too wide or too high for a sheet, or longer than the record.
    """
    length = round(layout.duration_s * record.fs)
    if length > record.leads.shape[1]:
        raise ValueError(f"layout {layout.name}: {layout.duration_s:g} s, longer than record {record.id}")
    place = choose_print(layout, rng)
    image = draw_sheet(place, rng)
    gridpoint_xy = crossings(place)
    ink = float(rng.uniform(0, 70))
    draw_rows(image, record.leads[:, :length], record.fs, layout, place, ink, rng)
    labels = write_labels(image, layout, place, rng)
    write_texts(image, layout, place, rng)
    squares = gridpoint_xy[0, 0].astype(np.float64) / place.px_per_mm  # mm of the first crossing
    return LayoutPage(
        image,
        gridpoint_xy,
        layout,
        (np.array(place.zero_lines) - squares[1]) / SQUARE_MM,
        float((place.start - squares[0]) / SQUARE_MM),
        labels,
        place.pulse != "none",
    )


def choose_print(layout: Layout, rng: np.random.Generator) -> Print:
    """A random place for a layout on the sheet; ValueError where it does not fit."""
    width = layout.duration_s * layout.mm_per_second
    pulse = str(rng.choice(PULSE_SIDES))
    narrow, wide = rng.uniform(0, 8), rng.uniform(7, 14)
    left, right = {"left": (wide, narrow), "right": (narrow, wide), "none": (narrow, narrow)}[pulse]
    margins = rng.uniform(2, 22, 2)
    sheet_width = width + left + right + margins.sum()
    rows_mm = MIN_PITCH_MM * (layout.row_count + 1)  # height that the rows need one below another
    needed = rows_mm * PAGE_WIDTH / PAGE_HEIGHT
    if needed > sheet_width:
        margins *= 1 + (needed - sheet_width) / margins.sum()
        sheet_width = needed
    if sheet_width > MAX_SHEET_MM:
        raise ValueError(f"layout {layout.name}: {layout.row_count} rows of {width:g} mm fit on no sheet")
    sheet_height = sheet_width * PAGE_HEIGHT / PAGE_WIDTH
    pitch = min(rng.uniform(*PITCH_MM), sheet_height / (layout.row_count + 1))
    free = sheet_height - pitch * (layout.row_count + 0.5)
    first = rng.uniform(0.5, 0.8) * pitch + rng.uniform(0, 1) * free
    jitter = rng.normal(0, 0.3, layout.row_count).clip(-1, 1)
    zero_lines = first + pitch * np.arange(layout.row_count) + jitter
    start = margins[0] + left
    box = np.array([0.0, 0.0, sheet_width, sheet_height])
    if rng.random() < BOX_SHARE:
        around = rng.uniform(0, 6, 4) * (-1, -1, 1, 1)
        beyond = 0.6 * pitch
        edges = (start - left, zero_lines[0] - beyond, start + width + right, zero_lines[-1] + beyond)
        box = (np.array(edges) + around).clip(0, box[[2, 3, 2, 3]])
    origin = box[:2] + rng.uniform(0, SQUARE_MM, 2)
    if rng.random() < ALIGNED_SHARE:
        origin = np.array([start, zero_lines[0]])
    return Print(
        PAGE_WIDTH / sheet_width,
        (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
        (float(origin[0]), float(origin[1])),
        float(start),
        tuple(zero_lines.tolist()),
        pulse,
    )


def line_positions(first: float, last: float, origin: float, step: float) -> np.ndarray:
    """Positions from `first` to `last` that are whole steps from an origin, all in mm."""
    return origin + step * np.arange(np.ceil((first - origin) / step - 1e-6), (last - origin) / step + 1e-6)


def crossings(place: Print) -> np.ndarray:
    """The crossings of the 5 mm lines inside the grid's box: (R, C, 2) float32 px."""
    left, top, right, bottom = place.box
    x = line_positions(left, right, place.origin[0], SQUARE_MM)
    y = line_positions(top, bottom, place.origin[1], SQUARE_MM)
    return (np.stack(np.meshgrid(x, y), axis=-1) * place.px_per_mm).astype(np.float32)


def draw_sheet(place: Print, rng: np.random.Generator) -> np.ndarray:
    """The paper with its grid alone: (1700, 2200, 3) uint8."""
    image = np.empty((PAGE_HEIGHT, PAGE_WIDTH, 3), np.float32)
    image[:] = rng.uniform(240, 255) - rng.uniform(0, 10, 3)
    colours = [(KIT_MAJOR, KIT_MINOR), *GRID_COLOURS, *GREY_GRIDS]
    major, minor = (np.array(colour, np.float32) for colour in colours[rng.integers(len(colours))])
    faint = rng.uniform(0, 0.6) if rng.random() < 0.4 else 0.0  # share by which the grid is nearer to white
    major, minor = major + faint * (255 - major), minor + faint * (255 - minor)
    kind = str(rng.choice(GRIDS))
    left, top, right, bottom = (round(edge * place.px_per_mm) for edge in place.box)
    boxed = image[max(top, 0) : bottom, max(left, 0) : right]
    widths = rng.uniform(0.5, 1.4), rng.uniform(0.35, 0.9)

    def coverage(step: float, width: float) -> tuple[np.ndarray, np.ndarray]:
        x = line_positions(place.box[0], place.box[2], place.origin[0], step) * place.px_per_mm - max(left, 0)
        y = line_positions(place.box[1], place.box[3], place.origin[1], step) * place.px_per_mm - max(top, 0)
        size = width * POINT_PX
        return line_coverage(x, size, boxed.shape[1]), line_coverage(y, size, boxed.shape[0])

    if kind != "major":
        x, y = coverage(SMALL_MM, widths[1])
        inked = np.outer(y, x) if kind == "dots" else np.maximum(y[:, None], x)
        boxed += (minor - boxed) * inked[..., None]
    x, y = coverage(SQUARE_MM, widths[0])
    boxed += (major - boxed) * np.maximum(y[:, None], x)[..., None]
    if place.box[0] > 0 and rng.random() < 0.5:
        boxed[[0, -1]] = major
        boxed[:, [0, -1]] = major
    return np.round(image.clip(0, 255)).astype(np.uint8)


def draw_rows(
    image: np.ndarray, leads: np.ndarray, fs: int, layout: Layout, place: Print, ink: float,
    rng: np.random.Generator,
) -> None:  # fmt: skip
    """Draw each segment with pulses and separators, in place. `leads` (12, L) mV at `fs` Hz."""
    width, px_per_mv = rng.uniform(0.6, 1.3) * POINT_PX, layout.mm_per_mv * place.px_per_mm
    separator, span_mm = str(rng.choice(SEPARATORS)), layout.duration_s * layout.mm_per_second
    coverage = np.zeros(image.shape[:2], np.float32)
    seconds = np.arange(leads.shape[1]) / fs
    x = (place.start + seconds * layout.mm_per_second) * place.px_per_mm
    for segment in layout.segments:
        y0 = place.zero_lines[segment.row] * place.px_per_mm
        inside = segment.span(leads.shape[1])
        y = y0 - segment.sign * leads[LEADS.index(segment.lead), inside] * px_per_mv
        stroke(coverage, np.stack([x[inside], y], axis=1), width)
        if segment.column and separator != "none":
            at = (place.start + segment.column / segment.columns * span_mm) * place.px_per_mm
            half = (5.0 if separator == "bar" else 1.5) * place.px_per_mm
            stroke(coverage, np.array([[at, y0 - half], [at, y0 + half]]), width)
    if place.pulse != "none":
        edges = np.array([0.0, 1.0, 1.0, 1.0 + PULSE_MM_WIDE, 1.0 + PULSE_MM_WIDE, 2.0 + PULSE_MM_WIDE])
        x_mm = edges + place.start - edges[-1] - rng.choice([0.0, 0.0, 1.0])
        if place.pulse == "right":
            x_mm = edges + place.start + span_mm + rng.uniform(0, 1)
        height_mm = PULSE_MV * layout.mm_per_mv * np.array([0, 0, 1, 1, 0, 0])
        for zero_line in place.zero_lines:
            stroke(coverage, np.stack([x_mm, zero_line - height_mm], axis=1) * place.px_per_mm, width)
    put_ink(image, coverage, (ink,) * 3)


def write_labels(
    image: np.ndarray, layout: Layout, place: Print, rng: np.random.Generator
) -> tuple[tuple[str, float, float], ...]:
    """Write each segment's label, in place; the labels as in LayoutPage."""
    where, font = str(rng.choice(LABEL_PLACES)), str(rng.choice(font_names()))
    size_mm = rng.uniform(*TEXT_MM)
    upper, ink = rng.random() < 0.2, float(rng.uniform(0, 60))
    pitch = np.diff(place.zero_lines).min(initial=40.0)
    dx, dy = {
        "above": (rng.uniform(0, 4), -rng.uniform(0.2, 0.45) * pitch),
        "over": (rng.uniform(0, 2), -rng.uniform(1, 3)),
        "below": (rng.uniform(0, 2), min(rng.uniform(4, 8), 0.45 * pitch)),
        "left": (-rng.uniform(2.2, 3.5) * size_mm, 0.4 * size_mm),
    }[where]
    labels = []
    for segment in layout.segments:
        text = label_text(segment, upper)
        across = dx if where != "left" or segment.column == 0 else rng.uniform(0, 2)
        down = dy if where != "left" or segment.column == 0 else -0.3 * pitch
        column_mm = segment.column / segment.columns * layout.duration_s * layout.mm_per_second
        x, y = place.start + column_mm + across, place.zero_lines[segment.row] + down
        size = size_mm / CAP_HEIGHT * place.px_per_mm
        put_text(image, text, (x * place.px_per_mm, y * place.px_per_mm), font, size, (ink,) * 3)
        middle = (x + 0.45 * size_mm * len(text), y - 0.5 * size_mm)
        signed = ("-" if segment.sign < 0 else "") + segment.lead
        labels.append((signed, middle[0] * place.px_per_mm, middle[1] * place.px_per_mm))
    return tuple(labels)


def label_text(segment: Segment, upper: bool) -> str:
    """A segment's label as it is printed."""
    text = segment.lead.upper() if upper else segment.lead
    return f"-{text}" if segment.sign < 0 else text


def write_texts(image: np.ndarray, layout: Layout, place: Print, rng: np.random.Generator) -> None:
    """Write speed and gain at the bottom, and a header above the rows, in place; sometimes neither."""
    font, ink = str(rng.choice(font_names())), (float(rng.uniform(0, 80)),) * 3
    size = rng.uniform(*TEXT_MM) / CAP_HEIGHT * place.px_per_mm
    bottom = image.shape[0] / place.px_per_mm

    def write(text: str, x: float, y: float) -> None:
        put_text(image, text, (x * place.px_per_mm, y * place.px_per_mm), font, size, ink)

    if rng.random() < 0.75:
        texts = [f"{layout.mm_per_second:g} mm/s", f"{layout.mm_per_mv:g} mm/mV", "0.05-150 Hz", "50 Hz"]
        y, x = bottom - rng.uniform(1.5, 5), rng.uniform(2, 40)
        for text in texts[: int(rng.integers(2, 5))]:
            write(text, x, y)
            x += rng.uniform(22, 60)
    room = place.zero_lines[0] - 12
    if rng.random() < HEADER_SHARE and room > 8:
        columns = int(rng.integers(2, 5))
        for index, word in enumerate(rng.permutation(HEADER_WORDS)):
            y = 5 + (index // columns) * rng.uniform(4.5, 6)
            if y > room:
                break
            write(str(word), 4 + (index % columns) * (image.shape[1] / place.px_per_mm - 8) / columns, y)
