"""The printed page: grid, traces and text in the layout of ECG-image-kit (configs/page.py)."""

from dataclasses import dataclass

import numpy as np

from configs.page import (
    DURATION_S,
    GRID_COLUMNS,
    GRID_ROWS,
    GRID_TOP_MM,
    LEADS,
    MM_PER_MV,
    MM_PER_SECOND,
    PAGE_HEIGHT_MM,
    PAGE_PX_PER_MM,
    PAGE_WIDTH_MM,
    PULSE_MV,
    PULSE_SECONDS,
    RHYTHM_LEAD,
    ROWS,
    SIGNAL_START_SQUARES,
    SQUARE_MM,
    TRACE_SHIFT_MM,
    ZERO_LINES_MM,
)
from synthesis.ink import put_ink, put_text, stroke
from synthesis.qr_code import draw_qr_code
from synthesis.signals import Record
from synthesis.style import POINT_PX, Style, choose_style

PAGE_WIDTH = round(PAGE_WIDTH_MM * PAGE_PX_PER_MM)  # 2200
PAGE_HEIGHT = round(PAGE_HEIGHT_MM * PAGE_PX_PER_MM)  # 1700
SQUARE_PX = SQUARE_MM * PAGE_PX_PER_MM  # side of a 5 mm square
SMALL_SQUARES = 5  # number of 1 mm squares along the side of a 5 mm square
NO_PULSE_SHARE = 0.35  # share of pages without a calibration pulse
END_DASH_REACH_MM = (8.0, 20.0)  # greatest distance of dark dashes from the end of a row, along it and across
END_DASH_MM = (1.0, 10.0)  # range of the dashes' length

TRACE_SHIFT_PX = TRACE_SHIFT_MM * PAGE_PX_PER_MM
SEPARATOR_MV = 0.35  # half the height of the vertical bar between two leads
LABEL_BELOW_MM = (7.0, 7.0, 7.0, 8.0)  # distance from the zero line down to a lead label's baseline, by row
HEADER_LINES_MM = (5.7, 10.7, 15.7)  # y of the header's baselines
HEADER_COLUMNS_MM = (1.25, 76.25, 151.25)  # x at which the header's texts begin
SCALE_TEXTS_MM = (("25mm/s", 50.0), ("10mm/mV", 100.0))  # the scale texts and the x at which they begin
SCALE_BASELINE_MM = 211.0
FRAME_PX = 1.11  # line width of the axes' black frame, half of which lies on the paper


@dataclass(frozen=True)
class Page:
    """A page at 200 dpi: `image` (1700, 2200, 3) uint8 RGB, `gridpoint_xy` (44, 57, 2) float32 (x, y) px.

    has_pulse: whether a calibration pulse is printed before each row.
    competition: whether the page is printed, and is to be captured, in the competition's style.
    """

    image: np.ndarray
    gridpoint_xy: np.ndarray
    has_pulse: bool
    competition: bool = False


def draw_page(record: Record, rng: np.random.Generator, image_type: str) -> Page:
    """Print a record in a random style: three rows of four leads and the rhythm strip, 25 mm/s, 10 mm/mV."""
    style = choose_style(rng, image_type)
    has_pulse = bool(rng.random() >= NO_PULSE_SHARE)
    image = draw_grid(style, rng)
    if style.frame:
        draw_frame(image)
    gridpoint_xy = lattice(has_pulse)
    if style.end_dashes:
        dash_row_ends(image, gridpoint_xy, style, rng)
    start = gridpoint_xy[0, SIGNAL_START_SQUARES, 0] + TRACE_SHIFT_PX
    shifts = rng.normal(0, 1, len(ZERO_LINES_MM)).clip(-2, 2) * style.row_shift_px
    zero_lines = np.array(ZERO_LINES_MM) * PAGE_PX_PER_MM + TRACE_SHIFT_PX + shifts
    draw_traces(image, record, start, zero_lines, has_pulse, style)
    write_lead_labels(image, start, zero_lines, style, rng)
    if style.header:
        write_header(image, record.id, style, rng)
    if style.scale_texts:
        for text, x in SCALE_TEXTS_MM:
            write(image, text, x, SCALE_BASELINE_MM, style)
    if style.qr_code:
        draw_qr_code(image, rng)
    return Page(image, gridpoint_xy, has_pulse, style.competition)


def lattice(has_pulse: bool) -> np.ndarray:
    """The grid points of a page at 200 dpi: (44, 57, 2) float32 (x, y) px; the signals start at column 3."""
    first = 0 if has_pulse else -1
    x = np.arange(first, first + GRID_COLUMNS) * SQUARE_PX
    y = GRID_TOP_MM * PAGE_PX_PER_MM + np.arange(GRID_ROWS) * SQUARE_PX
    return np.stack(np.meshgrid(x, y), axis=-1).astype(np.float32)


def line_coverage(positions: np.ndarray, width: float, size: int) -> np.ndarray:
    """The share (size,) of each pixel in 0..1 that lines of `width` px centred on `positions` (px) cover."""
    coverage = np.zeros(size, np.float32)
    reach = int(width / 2) + 1
    for offset in range(-reach, reach + 1):
        pixel = np.round(positions).astype(int) + offset
        inside = (pixel >= 0) & (pixel < size)
        overlap = np.minimum(pixel + 0.5, positions + width / 2) - np.maximum(
            pixel - 0.5, positions - width / 2
        )
        np.maximum.at(coverage, pixel[inside], np.clip(overlap[inside], 0, 1))
    return coverage


def grid_lines(first: float, size: int, style: Style) -> tuple[np.ndarray, np.ndarray]:
    """Coverage along one axis by major and by minor grid lines: two (size,) arrays in 0..1.

    `first` is the px of a major line.
    """
    count = int(size / SQUARE_PX * SMALL_SQUARES) + 2
    index = np.arange(-SMALL_SQUARES, count)
    positions = first + index * SQUARE_PX / SMALL_SQUARES
    if style.snapped:
        positions = np.round(positions)
    major = index % SMALL_SQUARES == 0
    return (
        line_coverage(positions[major], style.major_width * POINT_PX, size),
        line_coverage(positions[~major], style.minor_width * POINT_PX, size),
    )


def draw_grid(style: Style, rng: np.random.Generator) -> np.ndarray:
    """The grid alone: (1700, 2200, 3) uint8. Horizontal lines cover vertical ones, major ones minor ones."""
    paper, major, minor = (np.array(c, np.float32) for c in (style.paper, style.major, style.minor))
    x_major, x_minor = grid_lines(0.0, PAGE_WIDTH, style)
    y_major, y_minor = grid_lines(GRID_TOP_MM * PAGE_PX_PER_MM, PAGE_HEIGHT, style)
    row = paper + (minor - paper) * x_minor[:, None]
    row += (major - row) * misregister(x_major, style.misregistration)
    kinds, kind = np.unique(np.stack([y_minor, y_major], axis=1), axis=0, return_inverse=True)
    rows = row + (minor - row) * kinds[:, 0, None, None]  # (distinct rows, 2200, 3)
    rows += (major - rows) * kinds[:, 1, None, None]
    image = np.round(rows).astype(np.uint8)[kind]
    if style.dashed_share:
        darken_lines(image, x_major, y_major, style.dashed_share, major * 0.45, rng)
    if style.gaps:
        break_lines(image, x_major, style.gaps, rng)
    return image


def misregister(coverage: np.ndarray, distance: float) -> np.ndarray:
    """Coverage (W, 3) of red, green and blue from (W,), with magenta and yellow ink `distance` px apart."""
    x = np.arange(len(coverage))
    return np.stack([np.interp(x - share * distance, x, coverage) for share in (0, -0.5, 0.5)], axis=1)


def break_lines(image: np.ndarray, x_major: np.ndarray, share: float, rng: np.random.Generator) -> None:
    """Remove a random share of the ink from each pixel of the vertical major lines, in place.

    The removed shares are absolute values of normal noise with standard deviation `share`.
    """
    touched = np.convolve(x_major, np.ones(3), "same") > 0
    begins, ends = np.flatnonzero(np.diff(touched, prepend=False, append=False)).reshape(-1, 2).T
    for begin, end in zip(begins, ends, strict=True):
        taken = share * np.abs(rng.standard_normal((len(image), end - begin, 1), np.float32))
        line = image[:, begin:end]
        line += ((255 - line) * taken.clip(0, 1)).astype(np.uint8)


def draw_frame(image: np.ndarray) -> None:
    """Draw the frame of ECG-image-kit's axes along the edges of the paper, in place."""
    for edge in (image, image[::-1], image.transpose(1, 0, 2), image[:, ::-1].transpose(1, 0, 2)):
        edge[0] = 0
        edge[1] = np.round(edge[1] * (2 - FRAME_PX))


def darken_lines(
    image: np.ndarray,
    x_major: np.ndarray,
    y_major: np.ndarray,
    share: float,
    colour: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Print part of a share of the major lines dark and dashed, in place."""
    for coverage, lines in ((y_major, image), (x_major, image.transpose(1, 0, 2))):
        for position in np.flatnonzero(coverage > 0.6):
            if rng.random() < share:
                length = lines.shape[1]
                begin, end = np.sort(rng.integers(0, length, 2))
                period, filled = rng.uniform(8, 60), rng.uniform(0.4, 0.95)
                along = np.arange(begin, end)
                along = along[(along / period) % 1 < filled]
                lines[position, along] = colour


def dash_row_ends(
    image: np.ndarray, gridpoint_xy: np.ndarray, style: Style, rng: np.random.Generator
) -> None:
    """Print pieces of the major lines near the end of each row nearly as dark as the traces, in place."""
    near, far = (reach * PAGE_PX_PER_MM for reach in END_DASH_REACH_MM)
    columns, rows = gridpoint_xy[0, :, 0].astype(float), gridpoint_xy[:, 0, 1].astype(float)
    end = columns[SIGNAL_START_SQUARES] + DURATION_S * MM_PER_SECOND * PAGE_PX_PER_MM
    dark = style.ink + rng.uniform(0, 60)
    upright = image.transpose(1, 0, 2)
    for zero_line in np.array(ZERO_LINES_MM) * PAGE_PX_PER_MM:
        dashes = [(upright, x, zero_line) for x in columns[np.abs(columns - end) < near]]
        dashes += [(image, y, end) for y in rows[np.abs(rows - zero_line) < far]]
        for lines, position, beside in dashes:
            if rng.random() < 0.4 and 0 <= round(position) < len(lines):
                begin = beside + rng.uniform(-far, near)
                length = rng.uniform(*END_DASH_MM) * PAGE_PX_PER_MM
                across = slice(round(position), round(position) + int(rng.integers(1, 3)))
                lines[across, max(round(begin), 0) : round(begin + length)] = dark


def draw_traces(
    image: np.ndarray,
    record: Record,
    start: float,
    zero_lines: np.ndarray,
    has_pulse: bool,
    style: Style,
) -> None:
    """Draw the four rows of leads with their calibration pulses and separators, in place.

    `start` is the x px at which the leads begin, `zero_lines` (4,) the y px of 0 mV.
    """
    px_per_mv = MM_PER_MV * PAGE_PX_PER_MM
    length = record.leads.shape[1]
    x = start + np.arange(length) / record.fs * MM_PER_SECOND * PAGE_PX_PER_MM
    coverage = np.zeros(image.shape[:2], np.float32)

    def draw(x: np.ndarray, millivolts: np.ndarray, row: int, points: float) -> None:
        y = zero_lines[row] - millivolts * px_per_mv
        stroke(coverage, np.stack([x, y], axis=1), points * POINT_PX)

    for row, leads in enumerate((*ROWS, (RHYTHM_LEAD,))):
        for column, lead in enumerate(leads):
            part = slice(column * length // len(leads), (column + 1) * length // len(leads))
            draw(x[part], record.leads[LEADS.index(lead), part], row, style.trace_width)
            if column and style.separators:
                at = start + column * (x[-1] + x[1] - 2 * x[0]) / len(leads)
                draw_separator(coverage, at, zero_lines[row], style.separator_width * POINT_PX)
        if has_pulse:
            step = 1 / record.fs if style.pulse_step_s is None else style.pulse_step_s
            seconds, pulse = calibration_pulse(step)
            before = start - SQUARE_PX
            draw(before + seconds * MM_PER_SECOND * PAGE_PX_PER_MM, pulse, row, style.pulse_width)
    put_ink(image, coverage, (style.ink,) * 3)


def draw_separator(coverage: np.ndarray, x: float, y: float, width: float) -> None:
    """Draw a vertical bar with square ends, centred on (x, y) px, in place."""
    across = line_coverage(np.array([x]), width, coverage.shape[1])
    along = line_coverage(np.array([y]), 2 * SEPARATOR_MV * MM_PER_MV * PAGE_PX_PER_MM, coverage.shape[0])
    inked = np.ix_(np.flatnonzero(along), np.flatnonzero(across))
    coverage[inked] = np.maximum(coverage[inked], np.outer(along[along > 0], across[across > 0]))


def calibration_pulse(step: float) -> tuple[np.ndarray, np.ndarray]:
    """The corners of the calibration pulse: times (6,) in s from its start, and mV (6,).

    ECG-image-kit puts two samples of 0 mV, `step` s apart, on either side, so that the pulse falls one to two
    samples after the leads begin; with a step of 0 it falls where they begin.
    """
    rise = step * np.array([0, 1, 2])
    return np.concatenate([rise, PULSE_SECONDS + rise + step]), PULSE_MV * np.array([0.0, 0, 1, 1, 0, 0])


def write(image: np.ndarray, text: str, x_mm: float, y_mm: float, style: Style) -> None:
    """Write text in place, its baseline starting at (x_mm, y_mm) from the page's top left corner."""
    xy = (x_mm * PAGE_PX_PER_MM, y_mm * PAGE_PX_PER_MM)
    put_text(image, text, xy, style.font, style.text_size, (style.text_ink,) * 3)


def write_lead_labels(
    image: np.ndarray, start: float, zero_lines: np.ndarray, style: Style, rng: np.random.Generator
) -> None:
    """Write each lead's label below the start of its trace, in place."""
    shift_x, shift_y = style.label_shift_mm
    for row, leads in enumerate((*ROWS, (RHYTHM_LEAD,))):
        for column, lead in enumerate(leads):
            dx, dy = rng.normal(0, 1, 2) * style.label_jitter_px / PAGE_PX_PER_MM
            x = start / PAGE_PX_PER_MM + column * 2.5 * MM_PER_SECOND + shift_x
            y = zero_lines[row] / PAGE_PX_PER_MM + LABEL_BELOW_MM[row] + shift_y
            write(image, lead, x + dx, y + dy, style)


def write_header(image: np.ndarray, record_id: str, style: Style, rng: np.random.Generator) -> None:
    """Write the patient header, in place; all but the record's id is random."""
    year, month, day = rng.integers(1984, 2002), rng.integers(1, 13), rng.integers(1, 29)
    hour, minute, second = rng.integers(0, 24), rng.integers(0, 60), rng.integers(0, 60)
    date = f"Date: {year}-{month:02}-{day:02}, {hour:02}:{minute:02}:{second:02}"
    age = f"Age: {rng.integers(18, 90)} yrs"
    sex = f"Sex: {rng.choice(['Male', 'Female'])}"
    lines = ((f"ID: {record_id}", "Name:", date), (age, "", ""), (sex, "", ""))
    if rng.random() < 0.5:
        body = (age, f"Height: {rng.integers(150, 196)} cm", f"Weight: {rng.integers(45, 120)} kg")
        lines = (lines[0], body, lines[2])
    for y, texts in zip(HEADER_LINES_MM, lines, strict=True):
        for x, text in zip(HEADER_COLUMNS_MM, texts, strict=True):
            write(image, text, x, y, style)
