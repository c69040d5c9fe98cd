"""How far a grid that was found lies from the synthesizer's labels."""

import numpy as np
import pytest

from configs.page import PAGE_PX_PER_MM, SQUARE_MM
from datasets.labels import grid_errors, grid_offsets, time_error
from digitization.geometry.frame import CELLS
from digitization.geometry.orientation import orient_points

SQUARE = 20.0  # px
SHAPE = (1300, 1300)


def leaning_grid(degrees: float) -> np.ndarray:
    """An even lattice (44, 57, 2) px that leans clockwise by an angle, well inside its image."""
    turn = np.deg2rad(degrees)
    across, down = np.array([np.cos(turn), np.sin(turn)]), np.array([-np.sin(turn), np.cos(turn)])
    return 120 + SQUARE * (CELLS[..., 1:] * across + CELLS[..., :1] * down)


@pytest.mark.parametrize("degrees", [0.0, 5.0])
def test_an_error_along_the_page_is_one_of_time_and_an_error_down_it_is_none(degrees):
    """On a page that leans the two directions are those of the page, not of the image."""
    truth = leaning_grid(degrees)
    across = (truth[0, 1] - truth[0, 0]) / SQUARE
    down = (truth[1, 0] - truth[0, 0]) / SQUARE
    late, low = truth + 2.0 * across, truth + 3.0 * down
    ms_per_px = SQUARE_MM / 25 * 1000 / SQUARE
    assert time_error(late, truth, 0, SHAPE) == pytest.approx(2 * ms_per_px, rel=1e-3)
    assert time_error(low, truth, 0, SHAPE) == pytest.approx(0, abs=1e-2)
    offsets, visible = grid_offsets(late + 3.0 * down, truth, 0, SHAPE)
    assert visible.all()
    np.testing.assert_allclose(offsets.mean(axis=(0, 1)) * SQUARE, (2, 3), atol=1e-3)


@pytest.mark.parametrize("orientation", [0, 3, 6])
def test_lengths_of_errors_are_those_on_a_200_dpi_page_however_the_image_is_turned(orientation):
    truth = leaning_grid(3.0)
    off = np.random.default_rng(0).normal(0, 1, truth.shape)
    turned = orient_points(truth.reshape(-1, 2), orientation, SHAPE).reshape(truth.shape)
    errors = grid_errors(truth + off, turned, orientation, SHAPE)
    expected = np.linalg.norm(off, axis=-1).ravel() * SQUARE_MM * PAGE_PX_PER_MM / SQUARE
    np.testing.assert_allclose(errors, expected, rtol=1e-3)
