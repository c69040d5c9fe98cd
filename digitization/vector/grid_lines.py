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
MIN_COVERED = 0.6  # share of the area of the curves, along and up, that has its lines
MIN_ON_PITCH = 0.75  # share of the lines that lie on the grid; frames and rulings may lie between


def find_grid(page: PdfPage, area: np.ndarray) -> tuple[float | None, float | None]:
    """How many mm of the page are a mm of the paper, along the rows and up the page; None without a grid.

    The grid lies under the curves, whose corners top left and bottom right are `area` (2, 2) mm.
    """
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
    (left, top), (right, bottom) = area
    return scale_of(vertical, left, right), scale_of(horizontal, top, bottom)


def scale_of(positions: list[float], first: float, last: float) -> float | None:
    """The pitch of lines in mm over that of the squares of ECG paper.

    None where no regular lines cover most of the way from `first` to `last`: tables have such lines too.
    """
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
        pitch, start = np.polyfit(number[on_grid], places[on_grid], 1)
        on_grid = np.abs(places - start - pitch * number) <= MAX_OFF_PITCH * pitch
        if on_grid.mean() < MIN_ON_PITCH or on_grid.sum() < MIN_LINES:
            return None
    inside = places[on_grid & (places >= first - pitch) & (places <= last + pitch)]
    if len(inside) * pitch < MIN_COVERED * (last - first):
        return None
    scales = [float(pitch) / usual for usual in PITCHES_MM]
    return next((scale for scale in scales if SCALES[0] <= scale <= SCALES[1]), None)
