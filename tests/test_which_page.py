"""Whether a rectified page is the competition's, by the landmarks on its paper."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from configs.landmarks import KEYPOINTS
from configs.page import LEAD_SQUARES, ROWS, SIGNAL_START_SQUARES, ZERO_LINE_ROWS
from digitization.layout.competition import judge_competition
from digitization.layout.landmarks import Keypoint, Landmarks, Row

NOWHERE = np.zeros((0, 3))
RECTIFIED = SimpleNamespace(page_score=0.95)


def competition_landmarks() -> Landmarks:
    rows = tuple(Row(y, 3.0, 53.0, 50.0) for y in ZERO_LINE_ROWS)
    labels = []
    for y, leads in zip(ZERO_LINE_ROWS, ROWS, strict=False):
        for column, lead in enumerate(leads):
            probability = np.full(len(KEYPOINTS), 0.001)
            probability[KEYPOINTS.index(lead)] = 0.98
            labels.append(Keypoint(SIGNAL_START_SQUARES + column * LEAD_SQUARES + 0.5, y - 1.5, probability))
    return Landmarks(tuple(labels), (), rows, NOWHERE, NOWHERE, NOWHERE, (), (0.0, 56.0))


def moved(landmarks: Landmarks, down) -> Landmarks:
    rows = [replace(row, y=row.y + by) for row, by in zip(landmarks.rows, down, strict=True)]
    return replace(landmarks, rows=tuple(rows))


@pytest.mark.parametrize("down", [(0, 0, 0, 0), (0.1, -0.1, 0.15, 0.2), (0.0, 0.55, 0.1, 0.05)])
def test_the_competitions_page_is_known_though_a_row_is_seen_beside_its_place(down):
    attempt = judge_competition(RECTIFIED, moved(competition_landmarks(), down))
    assert attempt.is_certain


@pytest.mark.parametrize("down", [(0.5, 0.5, 0.5, 0.5), (0.1, 0.5, 0.45, 0.5), (-0.4, -0.4, -0.4, -0.4)])
def test_a_page_with_the_same_labels_whose_rows_lie_beside_those_of_the_competition_is_another(down):
    attempt = judge_competition(RECTIFIED, moved(competition_landmarks(), down))
    assert not attempt.is_certain
    assert not attempt.is_shown
    assert attempt.is_possible, "where no other layout is found it is read as the competition's, with a doubt"


def test_a_page_whose_rows_are_hardly_seen_is_known_by_its_labels():
    seen = competition_landmarks()
    assert judge_competition(RECTIFIED, replace(seen, rows=())).is_certain
