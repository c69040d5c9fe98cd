"""The grid of a PDF page, by the straight lines on it: how large a millimetre of the paper is printed."""

import numpy as np

from utils.pdf import PdfPage

MIN_LINE_MM = 20.0  # length of a grid line; frames of texts and ticks are shorter
MAX_SKEW_MM = 0.02  # how far a grid line may be off the vertical or horizontal
MAX_THICKNESS_MM = 0.5  # of a filled rectangle that stands for a line
SAME_LINE_MM = 0.05  # distance within which two lines are one, drawn twice
MIN_LINES = 8  # from which a pitch is measured
PITCHES_MM = (1.0, 5.0)  # of small and large squares
SCALES = (0.6, 1.6)  # of prints that are met: A4 on A5 is 0.71, on A3 1.41
MAX_OFF_PITCH = 0.1  # share of the pitch by which a line may be off its place
MIN_ON_PITCH = 0.75  # share of the lines that lie on the grid; frames and rulings may lie between


def find_grid(page: PdfPage) -> tuple[float | None, float | None]:
    """How many mm of the page are a mm of the paper, along the rows and up the page; None without a grid."""
    vertical, horizontal = [], []
    for line in page.lines:
        points = line.points
        if not 2 <= len(points) <= 5:
            continue
        low, high = points.min(axis=0), points.max(axis=0)
        size, centre = high - low, (low + high) / 2
        thickness = MAX_SKEW_MM if len(points) == 2 else MAX_THICKNESS_MM
        if size[0] <= thickness and size[1] >= MIN_LINE_MM:
            vertical.append(centre[0])
        elif size[1] <= thickness and size[0] >= MIN_LINE_MM:
            horizontal.append(centre[1])
    return scale_of(vertical), scale_of(horizontal)


def scale_of(positions: list[float]) -> float | None:
    """The pitch of lines in mm over that of the squares of ECG paper; None where there is no regular one."""
    places = np.sort(positions)
    if len(places) < MIN_LINES:
        return None
    places = places[np.concatenate([[True], np.diff(places) > SAME_LINE_MM])]
    if len(places) < MIN_LINES:
        return None
    steps = np.diff(places)
    pitch = float(np.median(steps))
    # Line by line, so that a pitch that is slightly off does not add up over the page.
    number = np.concatenate([[0], np.cumsum(np.round(steps / pitch))])
    on_grid = np.ones(len(places), bool)
    for _ in range(3):
        pitch, first = np.polyfit(number[on_grid], places[on_grid], 1)
        on_grid = np.abs(places - first - pitch * number) <= MAX_OFF_PITCH * pitch
        if on_grid.mean() < MIN_ON_PITCH or on_grid.sum() < MIN_LINES:
            return None
    scales = [float(pitch) / usual for usual in PITCHES_MM]
    return next((scale for scale in scales if SCALES[0] <= scale <= SCALES[1]), None)
