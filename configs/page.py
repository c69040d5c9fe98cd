"""The printed page: its geometry in millimetres, and the pixel constants derived from it.

A page is 11 x 8.5 inch of 5 mm squares, printed at 25 mm/s and 10 mm/mV as ECG-image-kit does it
(Shivashankara et al. 2024, doi 10.1088/1361-6579/ad4954). The grid is counted from the left edge and
from the bottom edge: GRID_COLUMNS vertical lines, GRID_ROWS horizontal ones, row 0 at the top.

Grid columns are counted relative to the signal: at SIGNAL_START_SQUARES the leads of the first column begin.
On a page without a calibration pulse they begin one square further left on the paper, so grid column 0 lies
one square outside the paper; the rest of the code need not distinguish the two.

Pixel coordinates are (x, y) with integers at pixel centres, as in OpenCV's remap.
"""

from dataclasses import dataclass

LEADS = ("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")
ROWS = (("I", "aVR", "V1", "V4"), ("II", "aVL", "V2", "V5"), ("III", "aVF", "V3", "V6"))
RHYTHM_LEAD = "II"
MAX_FS = 100_000  # Hz, highest sampling rate that is accepted
SAMPLING_RATES = (250, 256, 500, 512, 1000, 1025)  # Hz, sampling rates in the competition
IMAGE_TYPES = ("0001", "0003", "0004", "0005", "0006", "0009", "0010", "0011", "0012")
FLAT_TYPES = ("0001", "0003", "0004", "0011", "0012")
HARDEST_TYPES = ("0006", "0009", "0010")  # the shipped networks see them twice as often as the others
PHOTO_TYPES = ("0005", "0006", "0009", "0010")

PAGE_WIDTH_MM = 279.4
PAGE_HEIGHT_MM = 215.9
SQUARE_MM = 5.0
MM_PER_SECOND = 25.0
MM_PER_MV = 10.0
DURATION_S = 10.0
PAGE_DPI = 200.0  # resolution of image type 0001; errors are reported in pixels of such a page
PAGE_PX_PER_MM = PAGE_DPI / 25.4

GRID_COLUMNS = int(PAGE_WIDTH_MM // SQUARE_MM) + 2  # 57: the last line lies just outside the paper
GRID_ROWS = int(PAGE_HEIGHT_MM // SQUARE_MM) + 1  # 44
GRID_TOP_MM = PAGE_HEIGHT_MM - (GRID_ROWS - 1) * SQUARE_MM  # distance of row 0 from the top edge

SIGNAL_START_SQUARES = 3  # grid column at time 0
PULSE_SECONDS = 0.2  # width of the calibration pulse
PULSE_MV = 1.0  # height of the calibration pulse
SQUARES_PER_SECOND = MM_PER_SECOND / SQUARE_MM
SQUARES_PER_MV = MM_PER_MV / SQUARE_MM

ROW_PITCH_MM = PAGE_HEIGHT_MM / 6  # distance between the rows of leads
ZERO_LINES_MM = (  # distance of 0 mV from the top edge: three rows of leads, then the rhythm strip
    PAGE_HEIGHT_MM - 3.5 * ROW_PITCH_MM,
    PAGE_HEIGHT_MM - 2.5 * ROW_PITCH_MM,
    PAGE_HEIGHT_MM - 1.5 * ROW_PITCH_MM,
    PAGE_HEIGHT_MM - 0.5 * ROW_PITCH_MM - 0.3 * MM_PER_MV,
)
ZERO_LINE_ROWS = tuple((y - GRID_TOP_MM) / SQUARE_MM for y in ZERO_LINES_MM)  # zero lines in grid rows

# matplotlib, with which ECG-image-kit draws, snaps grid lines to whole pixels but not traces, so traces lie
# half a pixel left of and above their positions on the grid (-0.48 px measured on a rendered page).
TRACE_SHIFT_MM = -0.5 / PAGE_PX_PER_MM

# The grid points nearest to the lead labels, (row, column), in the order of LEAD_LABELS.
LEAD_LABELS = (*ROWS[0], *ROWS[1], *ROWS[2], "II-rhythm")
LEAD_LABEL_POINTS = (
    *((19, column) for column in (3, 16, 28, 41)),
    *((26, column) for column in (3, 16, 28, 41)),
    *((33, column) for column in (3, 16, 28, 41)),
    (40, 3),
)

# Where the leads begin and end, at their zero lines, as fractional (row, column) of the grid: five along each
# row of four leads, two along the rhythm strip.
LEAD_SQUARES = DURATION_S / len(ROWS[0]) * SQUARES_PER_SECOND
LEAD_BOUNDARIES = (
    *((row, SIGNAL_START_SQUARES + k * LEAD_SQUARES) for row in ZERO_LINE_ROWS[:-1] for k in range(5)),
    *((ZERO_LINE_ROWS[-1], SIGNAL_START_SQUARES + k * LEAD_SQUARES) for k in (0, 4)),
)


@dataclass(frozen=True)
class Canvas:
    """A rectified frame: a grid of rows x columns points, the page's, stretched over width x height px."""

    width: int
    height: int
    rows: int = GRID_ROWS
    columns: int = GRID_COLUMNS

    @property
    def square_width(self) -> float:
        """Width of a 5 mm square in px."""
        return (self.width - 1) / (self.columns - 1)

    @property
    def square_height(self) -> float:
        """Height of a 5 mm square in px."""
        return (self.height - 1) / (self.rows - 1)

    @property
    def px_per_mv(self) -> float:
        return self.square_height * SQUARES_PER_MV

    @property
    def px_per_second(self) -> float:
        return self.square_width * SQUARES_PER_SECOND

    @property
    def signal_start(self) -> float:
        """x of time 0 in px."""
        return (SIGNAL_START_SQUARES + TRACE_SHIFT_MM / SQUARE_MM) * self.square_width

    @property
    def signal_stop(self) -> float:
        """x of time DURATION_S in px."""
        return self.signal_start + DURATION_S * self.px_per_second

    @property
    def zero_lines(self) -> tuple[float, ...]:
        """y of 0 mV in px for the four rows."""
        return tuple((row + TRACE_SHIFT_MM / SQUARE_MM) * self.square_height for row in ZERO_LINE_ROWS)

    def cropped(self, multiple: int = 32) -> tuple[int, int]:
        """The (width, height) cropped at the right and the bottom to a multiple that the networks need."""
        return self.width // multiple * multiple, self.height // multiple * multiple


RECTIFIED_SINGLE = Canvas(width=2200, height=1700)
COLUMN_DOUBLING = 2  # the time axis is stretched twofold, for a better resolution of the traces in time
RECTIFIED = Canvas(width=COLUMN_DOUBLING * RECTIFIED_SINGLE.width, height=RECTIFIED_SINGLE.height)
MASK_WIDTH = COLUMN_DOUBLING * RECTIFIED_SINGLE.cropped()[0]  # 4352
MASK_HEIGHT = RECTIFIED_SINGLE.cropped()[1]  # 1696
