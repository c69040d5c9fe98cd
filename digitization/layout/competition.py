"""Whether a page is the competition's, by the landmarks on its rectified paper."""

import numpy as np

from configs.layouts import COMPETITION
from configs.page import LEAD_SQUARES, RHYTHM_LEAD, ROWS, SIGNAL_START_SQUARES, ZERO_LINE_ROWS
from digitization.geometry.straighten import RectifiedPage
from digitization.layout.landmarks import Keypoint, Landmarks

ROW_OFF = 0.6  # squares (0.3 mV) by which a row may be off its place on the competition's page
MIN_ROWS = 3  # of its four rows that have to be seen there
CLEARLY_OFF = 1.0  # squares from its nearest place at which a row cannot be the competition's
MIN_ROWS_OFF = 2  # of such rows for the page not to be the competition's
START_OFF = 0.8  # squares by which the beginning of a row may be off
MIN_LABEL_PROBABILITY = 0.6  # probability from which a label counts
MIN_PAGE_SCORE = 0.46  # page score below which all of 27 foreign pages were misread
UNCONFIRMED = "the rows are not seen where the competition's page has them"


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
    legible = [label for label in landmarks.labels if label.probability.max() > MIN_LABEL_PROBABILITY]
    return sum(not is_in_its_cell(label) for label in legible) <= len(legible) / 2


def contradicts_competition(landmarks: Landmarks) -> bool:
    """Whether rows are clearly seen where the competition's page has none, see shows_competition_rows."""
    off = [np.abs(np.array(ZERO_LINE_ROWS) - row.y).min() for row in landmarks.rows]
    return sum(distance > CLEARLY_OFF for distance in off) >= MIN_ROWS_OFF


def is_in_its_cell(label: Keypoint) -> bool:
    """Whether a label lies where the competition's page has it."""
    row = int(np.abs(np.array(ZERO_LINE_ROWS) - label.y).argmin())
    column = int(np.clip((label.x - SIGNAL_START_SQUARES + 1) // LEAD_SQUARES, 0, COMPETITION.columns - 1))
    return label.name == (ROWS[row][column] if row < len(ROWS) else RHYTHM_LEAD)


def may_be_competition(rectified: RectifiedPage) -> bool:
    """Whether a rectified page is likely enough the competition's to be read as such."""
    return rectified.page_score >= MIN_PAGE_SCORE
