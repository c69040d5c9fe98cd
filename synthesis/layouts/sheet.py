"""The paper of a page of any layout: where things lie on it, and its grid."""

from dataclasses import dataclass

import numpy as np

from configs.layouts import Layout
from configs.page import PULSE_SECONDS, SQUARE_MM
from synthesis.page import PAGE_HEIGHT, PAGE_WIDTH, line_coverage
from synthesis.style import GREY_GRIDS, GRID_COLOURS, KIT_MAJOR, KIT_MINOR, POINT_PX

SMALL_MM = 1.0  # side of a small square
MAX_SHEET_MM = 450.0  # width of the widest sheet: at 200 dpi it has under 5 px per mm
MIN_PITCH_MM = 11.0  # least distance of two rows, that of twelve rows on Letter with a header
PITCH_MM = (18.0, 42.0)  # range of the distances of two rows where there is room
BOX_SHARE = 0.35  # share of pages whose grid is a box behind the traces alone
ALIGNED_SHARE = 0.3  # share of pages whose rows begin on crossings of 5 mm lines
APART_SHARE = (
    0.2  # share of pages whose rhythm strips are nearer to the rows, or farther, than a row to a row
)
# Where the calibration pulse is, as often as it is to be there.
PULSE_SIDES = ("left", "left", "left", "right", "none", "none")
GRIDS = ("lines", "lines", "lines", "lines", "major", "dots")  # how the grid is printed


@dataclass(frozen=True)
class Print:
    """Where things lie on the sheet. All lengths are mm from its top left corner unless said otherwise.

    px_per_mm: px of the sheet per mm of the paper.
    box: (left, top, right, bottom) of the grid.
    origin: (x, y) of one crossing of 5 mm lines.
    start: x at which the rows of leads begin.
    zero_lines: y of 0 mV of each row, from the top.
    pulse: "left", "right" or "none"; the calibration pulse beside each row.
    height: that of the sheet.
    """

    px_per_mm: float
    box: tuple[float, float, float, float]
    origin: tuple[float, float]
    start: float
    zero_lines: tuple[float, ...]
    pulse: str
    height: float

    @property
    def pitch(self) -> float:
        """The least distance of two neighbouring rows; of a single row 40 mm."""
        return float(np.diff(self.zero_lines).min(initial=40.0))


def choose_print(layout: Layout, rng: np.random.Generator) -> Print:
    """A random place for a layout on the sheet; ValueError where it does not fit."""
    width = layout.duration_s * layout.mm_per_second
    pulse = str(rng.choice(PULSE_SIDES))
    narrow, wide = rng.uniform(0, 8), PULSE_SECONDS * layout.mm_per_second + rng.uniform(2, 9)
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
    if layout.rhythm and rng.random() < APART_SHARE:
        jitter[len(layout.rows) :] += rng.uniform(-0.2, 0.2) * pitch
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
        float(sheet_height),
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
    paper = (rng.uniform(240, 255) - rng.uniform(0, 10, 3)).astype(np.float32)
    colours = [(KIT_MAJOR, KIT_MINOR), *GRID_COLOURS, *GREY_GRIDS]
    major, minor = (np.array(colour, np.float32) for colour in colours[rng.integers(len(colours))])
    faint = rng.uniform(0, 0.6) if rng.random() < 0.4 else 0.0  # share by which the grid is nearer to white
    major, minor = major + faint * (255 - major), minor + faint * (255 - minor)
    kind = str(rng.choice(GRIDS))
    image = np.empty((PAGE_HEIGHT, PAGE_WIDTH, 3), np.uint8)
    image[:] = np.round(paper.clip(0, 255)).astype(np.uint8)
    left, top, right, bottom = (round(edge * place.px_per_mm) for edge in place.box)
    inside = image[max(top, 0) : bottom, max(left, 0) : right]
    widths = rng.uniform(0.5, 1.4), rng.uniform(0.35, 0.9)

    def coverage(step: float, width: float) -> tuple[np.ndarray, np.ndarray]:
        x = line_positions(place.box[0], place.box[2], place.origin[0], step) * place.px_per_mm - max(left, 0)
        y = line_positions(place.box[1], place.box[3], place.origin[1], step) * place.px_per_mm - max(top, 0)
        size = width * POINT_PX
        return line_coverage(x, size, inside.shape[1]), line_coverage(y, size, inside.shape[0])

    if kind == "major":
        boxed = np.tile(paper, (*inside.shape[:2], 1))
    elif kind == "dots":
        boxed = np.tile(paper, (*inside.shape[:2], 1))
        x, y = coverage(SMALL_MM, widths[1])
        dots = np.ix_(y > 0, x > 0)
        boxed[dots] = inked(boxed[dots], minor, np.outer(y[y > 0], x[x > 0]))
    else:  # on even paper a pixel has one of the colours of its column and its row
        x, y = coverage(SMALL_MM, widths[1])
        across, down = (inked(np.tile(paper, (len(lines), 1)), minor, lines) for lines in (x, y))
        boxed = np.where((y[:, None] > x)[..., None], down[:, None], across)
    x, y = coverage(SQUARE_MM, widths[0])
    boxed[y > 0] = inked(boxed[y > 0], major, np.maximum(y[y > 0, None], x))
    beside = np.ix_(y <= 0, x > 0)  # the pixels of vertical lines that are on no horizontal one
    boxed[beside] = inked(boxed[beside], major, x[x > 0])
    if place.box[0] > 0 and rng.random() < 0.5:
        boxed[[0, -1]] = major
        boxed[:, [0, -1]] = major
    inside[:] = np.round(boxed.clip(0, 255, out=boxed), out=boxed)
    return image


def inked(ground: np.ndarray, colour: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """A part (..., 3) float32 of the paper with ink of a colour (3,) on a share (...) of each pixel."""
    return (ground + (colour - ground) * coverage[..., None]).astype(np.float32)
