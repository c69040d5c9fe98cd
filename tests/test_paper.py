"""The grid of any paper, found from the paper alone at whatever scale and extent, or refused."""

from functools import cache

import cv2
import numpy as np
import pytest

from configs.layouts import find_layout
from configs.stage1 import FRAME_PX_PER_SQUARE
from digitization.geometry.locate import PageNotFound
from digitization.geometry.paper import (
    Crossings,
    find_paper,
    kept_lines,
    measure_pitch,
    number_crossings,
    see_crossings,
)
from digitization.geometry.projective import map_points
from models.checkpoint import checkpoint_path, load_network
from synthesis.layouts.capture import capture_layout
from synthesis.layouts.page import draw_layout_page
from tests.test_layout_pages import stepped_record

SIZE = (1100, 700)  # (width, height) px of the frames drawn here


def bent_crossings(rows: int, columns: int, angle_degrees: float = 0.0) -> np.ndarray:
    """(rows, columns, 2) px of a grid in perspective and slightly bent, upright but for an angle."""
    y, x = np.indices((rows, columns)).astype(float)
    even = FRAME_PX_PER_SQUARE * np.stack([x + 0.1 * np.sin(y / 9), y + 0.15 * np.sin(x / 11)], axis=-1)
    angle = np.deg2rad(angle_degrees)
    rotation = np.array(
        [[np.cos(angle), -np.sin(angle), 60], [np.sin(angle), np.cos(angle), 80], [2e-5, 3e-5, 1]]
    )
    return map_points(even, rotation)


def crossings_seen(points: np.ndarray, rng: np.random.Generator, missing: float, false: int) -> Crossings:
    """What a network would see of points: some missing, all a little off, and some that are none."""
    flat = points.reshape(-1, 2)
    kept = flat[rng.random(len(flat)) >= missing] + rng.normal(0, 0.4, (1, 2))
    stray = rng.uniform((0, 0), SIZE, (false, 2))
    everything = np.concatenate([kept, stray])
    regular = np.arange(len(everything)) < len(kept)
    return Crossings(everything, np.full(len(everything), 0.9), regular, 1.0)


@pytest.mark.parametrize(("missing", "false"), [(0.0, 0), (0.3, 40)])
def test_crossings_become_the_whole_lattice_though_some_are_missing_and_some_false(missing, false):
    truth = bent_crossings(24, 42)
    seen = crossings_seen(truth, np.random.default_rng(1), missing, false)
    lattice, confirmed = number_crossings(seen, SIZE)
    assert lattice.shape == truth.shape
    assert np.linalg.norm(lattice - truth, axis=-1).max() < 0.15 * FRAME_PX_PER_SQUARE
    assert abs(confirmed.mean() - (1 - missing)) < 0.03


def test_a_few_crossings_are_no_grid():
    seen = crossings_seen(bent_crossings(5, 6), np.random.default_rng(1), 0.0, 0)
    with pytest.raises(PageNotFound, match="only 30 crossings"):
        number_crossings(seen, SIZE)


@pytest.mark.parametrize("angle", [-30.0, -4.0, 0.0, 7.0, 40.0])
def test_the_pitch_and_the_angle_of_a_grid_are_measured(angle):
    seen = crossings_seen(bent_crossings(20, 20, angle) * 1.06, np.random.default_rng(2), 0.1, 0)
    spacing, measured = measure_pitch(seen)
    assert spacing == pytest.approx(1.06, abs=0.03)
    assert np.rad2deg(measured) == pytest.approx(angle, abs=2)


def test_stray_rows_beside_the_grid_are_left_out():
    assert kept_lines(np.array([0, 1, 40, 41, 0, 39, 2, 0])).tolist() == [2, 3, 4, 5]


@cache
def stage1():
    return load_network(checkpoint_path(1), 1).eval()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "image_type", "angle"), [("12x1", "0003", 0), ("6x2", "0005", 0), ("3x4", "0001", 17)]
)
def test_the_grid_of_a_drawn_page_is_found_whatever_its_layout(name, image_type, angle):
    page = draw_layout_page(stepped_record(), find_layout(name), np.random.default_rng(4))
    capture = capture_layout(page, image_type, np.random.default_rng(4), orientation=0)
    height, width = capture.image.shape[:2]
    matrix = np.vstack(
        [cv2.getRotationMatrix2D((width / 2, height / 2), angle, 0.8 if angle else 1.0), [0, 0, 1]]
    )
    image = cv2.warpPerspective(capture.image, matrix, (width, height), borderValue=(90, 90, 90))
    truth = map_points(capture.gridpoint_xy, matrix)
    grid = find_paper(image, stage1())
    square = np.median(np.linalg.norm(np.diff(truth, axis=1), axis=-1))
    assert grid.px_per_square == pytest.approx(square, rel=0.05)
    visible = ((truth > 0) & (truth < (width - 1, height - 1))).all(axis=-1)
    found = grid.gridpoint_xy.reshape(-1, 1, 2)
    distance = np.linalg.norm(found - truth[visible][None], axis=-1).min(axis=0) / square
    assert np.mean(distance < 0.15) > 0.95


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (250, 180, 190)])
def test_an_image_of_one_colour_is_refused_without_a_look_of_the_network(colour):
    """So is it with one, see test_what_the_network_sees_of_one_colour_is_no_grid."""
    with pytest.raises(PageNotFound, match="no grid lines are seen"):
        find_paper(np.full((500, 700, 3), colour, np.uint8), None)


@pytest.mark.parametrize("colour", [(255, 255, 255), (0, 0, 0), (250, 180, 190)])
def test_what_the_network_sees_of_one_colour_is_no_grid(colour):
    seen = see_crossings(np.full((320, 416, 3), colour, np.uint8), stage1(), "cpu")
    assert seen.regular.sum() == 0


@pytest.mark.slow
def test_stripes_are_no_grid():
    """Nor is noise, see tests/faults.py."""
    image = np.full((500, 700, 3), 255, np.uint8)
    image[::23] = 0
    with pytest.raises(PageNotFound):
        find_paper(image, stage1())
