"""Whether a page is the competition's, by the landmarks on its rectified paper."""

from dataclasses import dataclass

import numpy as np

from configs.layouts import COMPETITION
from configs.page import (
    LEAD_SQUARES,
    MM_PER_MV,
    MM_PER_SECOND,
    RHYTHM_LEAD,
    ROWS,
    SIGNAL_START_SQUARES,
    ZERO_LINE_ROWS,
)
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.landmarks import Keypoint, Landmarks
from digitization.layout.scales import find_gain, find_speed

ROW_OFF = 0.6  # squares (0.3 mV) by which a row may be off its place on the competition's page
MIN_ROWS = 4  # of its rows that have to be seen there
ROWS_OFF = 0.3  # squares (0.15 mV) by which most rows may be: seen wrongly by so much is one of a hundred
MIN_ROWS_SEEN = 3  # rows that tell whether most of them are
CLEARLY_OFF = 1.0  # squares from its nearest place at which a row cannot be the competition's
MIN_ROWS_OFF = 2  # of such rows for the page not to be the competition's
START_OFF = 0.8  # squares by which the beginning of a row may be off
CERTAIN_PAGE_SCORE = 0.85  # page score that of 39 foreign pages one reached, which was read right
SURE_STRIP_LABEL = 0.9  # probability from which the label of a rhythm strip counts against the page
MIN_PULSES, SURE_SCALE = 2, 0.8  # pulses, and probability of a text, from which a scale counts against it
MIN_LABELS = 3  # labels that have to be read in their places
MIN_LABEL_PROBABILITY = 0.6  # probability from which a label counts
MIN_PAGE_SCORE = 0.46  # page score below which all of 27 foreign pages were misread
UNCONFIRMED = "the rows are not seen where the competition's page has them"


@dataclass(frozen=True)
class CompetitionAttempt:
    """A page rectified as the competition's, and whether it is that.

    rectified: None where no such page was found, for this reason.
    is_certain: whether nothing else need be tried.
    is_shown: whether rows are where the competition's page has them.
    is_possible: whether that cannot be excluded.
    """

    rectified: RectifiedPage | None = None
    is_certain: bool = False
    is_shown: bool = False
    is_possible: bool = False
    reason: Exception | None = None


def judge_competition(rectified: RectifiedPage, landmarks: Landmarks) -> CompetitionAttempt:
    """Whether a rectified page is the competition's, by its page score and the landmarks on its paper.

    The page score says how well thirteen lead labels lie where the competition's page has them: a high one
    decides if the landmarks' network reads some of them there, unless the label of the rhythm strip is
    another, or the pulses or the print say another scale.
    """
    if shows_other_strip(landmarks) or shows_other_scales(landmarks):
        return CompetitionAttempt(rectified)
    if rows_lie_beside(landmarks):
        return CompetitionAttempt(rectified, is_possible=True)
    if rectified.page_score >= CERTAIN_PAGE_SCORE and shows_competition_labels(landmarks):
        return CompetitionAttempt(rectified, is_certain=True, is_shown=True, is_possible=True)
    possible = bool(landmarks.rows) and rectified.page_score >= MIN_PAGE_SCORE
    possible = possible and not contradicts_competition(landmarks)
    return CompetitionAttempt(
        rectified, is_shown=possible and shows_competition_rows(landmarks), is_possible=possible
    )


def shows_other_scales(landmarks: Landmarks) -> bool:
    """Whether several pulses, or clear print, say another speed or gain than the competition's."""
    pulses = landmarks.pulses if len(landmarks.pulses) >= MIN_PULSES else ()
    clear = [text for text in landmarks.scales if text.probability.max() >= SURE_SCALE]
    speed = find_speed((), clear, 0.0, 1)
    return find_gain(pulses, clear).value != MM_PER_MV or speed.value != MM_PER_SECOND


def shows_other_strip(landmarks: Landmarks) -> bool:
    """Whether the label of the rhythm strip is clearly that of another lead than the competition's."""
    return any(
        label.x < SIGNAL_START_SQUARES + LEAD_SQUARES / 2
        and label.y > (ZERO_LINE_ROWS[-2] + ZERO_LINE_ROWS[-1]) / 2
        and label.name != RHYTHM_LEAD
        and label.probability.max() >= SURE_STRIP_LABEL
        for label in landmarks.labels
    )


def shows_competition_rows(landmarks: Landmarks) -> bool:
    """Whether rows are where the competition's page has them, no others are, and labels do not contradict.

    The landmarks are those on the paper of a lattice (44, 57) that is numbered as the competition's.
    """
    seen = np.array([row.y for row in landmarks.rows])
    if not len(seen):
        return False
    off = np.abs(seen[:, None] - np.array(ZERO_LINE_ROWS))
    if (off.min(axis=1) > ROW_OFF).any() or (off.min(axis=0) <= ROW_OFF).sum() < MIN_ROWS:
        return False
    starts = landmarks.starts[:, 0]
    if len(starts) and abs(float(np.median(starts)) - SIGNAL_START_SQUARES) > START_OFF:
        return False
    legible, in_place = count_labels(landmarks)
    return in_place >= legible / 2


def rows_lie_beside(landmarks: Landmarks) -> bool:
    """Whether the rows lie a little above or below those of the competition's page, printed by another."""
    off = np.array([np.abs(np.array(ZERO_LINE_ROWS) - row.y).min() for row in landmarks.rows])
    near = off[off <= CLEARLY_OFF]
    return len(near) >= MIN_ROWS_SEEN and float(np.median(near)) > ROWS_OFF


def shows_competition_labels(landmarks: Landmarks) -> bool:
    """Whether labels are read where the competition's page has them, and not more elsewhere."""
    legible, in_place = count_labels(landmarks)
    return in_place >= max(MIN_LABELS, legible / 2)


def count_labels(landmarks: Landmarks) -> tuple[int, int]:
    """The number of legible labels, and of those that lie where the competition's page has them."""
    legible = [label for label in landmarks.labels if label.probability.max() > MIN_LABEL_PROBABILITY]
    return len(legible), sum(is_in_its_cell(label) for label in legible)


def contradicts_competition(landmarks: Landmarks) -> bool:
    """Whether rows are clearly seen where the competition's page has none, see shows_competition_rows."""
    off = [np.abs(np.array(ZERO_LINE_ROWS) - row.y).min() for row in landmarks.rows]
    return sum(distance > CLEARLY_OFF for distance in off) >= MIN_ROWS_OFF


def is_in_its_cell(label: Keypoint) -> bool:
    """Whether a label lies where the competition's page has it."""
    row = int(np.abs(np.array(ZERO_LINE_ROWS) - label.y).argmin())
    column = int(np.clip((label.x - SIGNAL_START_SQUARES + 1) // LEAD_SQUARES, 0, COMPETITION.columns - 1))
    return label.name == (ROWS[row][column] if row < len(ROWS) else RHYTHM_LEAD)
