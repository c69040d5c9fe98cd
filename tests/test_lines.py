"""The lattice refined by the page's vertical lines: to a hundredth of a square, on every kind of print."""

import cv2
import numpy as np
import pytest

from configs.page import GRID_COLUMNS, GRID_ROWS, PAGE_PX_PER_MM, SQUARE_MM
from digitization.geometry.line_profiles import FIRST, LAST, MEASURING
from digitization.geometry.lines import line_displacement, refine_columns, refine_lattice
from digitization.geometry.rectify import rectify_grey

SQUARE = SQUARE_MM * PAGE_PX_PER_MM  # 39.37 px of a 200 dpi page
ROWS, COLUMNS = np.mgrid[:GRID_ROWS, :GRID_COLUMNS].astype(float)
INNER = (slice(2, -2), slice(FIRST + 1, LAST))
BENT = 0.015 * np.sin(COLUMNS / 9 + ROWS / 12)  # squares (3 ms), as stage 1 errs on buckled sheets


def draw_page(whole_pixels: bool, noise: float = 3.0, fine_ink: float = 45) -> tuple[np.ndarray, np.ndarray]:
    """A page with lines of 5 mm and 1 mm, on whole pixels or exactly in place, and its true lattice."""
    rng = np.random.default_rng(0)
    height, width = 1760, 2260
    x, y = np.arange(width), np.arange(height)

    def lines(places: np.ndarray, squares: int) -> np.ndarray:
        fifths = np.arange(5 * squares + 1)
        at = 20 + fifths * SQUARE / 5
        at = np.round(at) if whole_pixels else at
        covered = np.clip(1 - np.abs(places - at[:, None]), 0, 1)  # (lines, places)
        return (covered * np.where(fifths % 5 == 0, 110, fine_ink)[:, None]).max(axis=0)

    ink = np.maximum.outer(lines(y, GRID_ROWS - 1), lines(x, GRID_COLUMNS - 1))
    for row in (20, 27, 34, 41):  # traces, which are darker than any line
        trace = np.round(20 + SQUARE * (row + 0.8 * np.sin(x / 23) ** 15)).astype(int)
        ink[trace, x] = ink[trace + 1, x] = 200
    image = np.clip(255 - ink + rng.normal(0, noise, ink.shape), 0, 255).astype(np.uint8)
    return np.repeat(image[..., None], 3, axis=2), 20 + SQUARE * np.stack([COLUMNS, ROWS], axis=-1)


def error(lattice: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square along x, in squares."""
    return float(np.sqrt(np.mean(((lattice - truth)[..., 0][INNER] / SQUARE) ** 2)))


@pytest.mark.parametrize("whole_pixels", [False, True])
def test_a_lattice_that_errs_smoothly_is_put_right(whole_pixels):
    image, truth = draw_page(whole_pixels)
    wrong = truth + np.stack([BENT * SQUARE, np.zeros_like(BENT)], axis=-1)
    refined = refine_columns(wrong, rectify_grey(image, wrong, MEASURING))
    assert error(wrong, truth) > 0.008
    assert error(refined, truth) < 0.0015, "0.3 ms"
    np.testing.assert_allclose(refined[..., 1], truth[..., 1], atol=0.02)


def test_lines_of_1_mm_as_dark_as_those_of_5_mm_are_not_taken_for_them():
    image, truth = draw_page(whole_pixels=False, noise=8.0, fine_ink=110)
    wrong = truth + np.stack([BENT * SQUARE, np.zeros_like(BENT)], axis=-1)
    assert error(refine_columns(wrong, rectify_grey(image, wrong, MEASURING)), truth) < 0.003


def test_lines_on_whole_pixels_do_not_draw_the_lattice_along():
    image, truth = draw_page(whole_pixels=True)
    refined = refine_columns(truth, rectify_grey(image, truth, MEASURING))
    assert error(refined, truth) < 0.002, "0.4 ms; the lines themselves are off by 0.007"


@pytest.mark.parametrize("whole_pixels", [False, True])
def test_a_lattice_that_lies_beside_all_lines_is_put_right(whole_pixels):
    image, truth = draw_page(whole_pixels)
    wrong = truth + (0.02 * SQUARE, 0.0)  # 4 ms
    refined = refine_columns(wrong, rectify_grey(image, wrong, MEASURING))
    assert error(refined, truth) < 0.003


def test_a_page_without_lines_keeps_its_lattice():
    _, truth = draw_page(whole_pixels=False)
    noise = np.random.default_rng(1).integers(0, 256, (MEASURING.height, MEASURING.width)).astype(np.uint8)
    assert line_displacement(noise, MEASURING) is None
    np.testing.assert_array_equal(refine_columns(truth, noise), truth)


def test_a_shadow_is_no_line():
    _, truth = draw_page(whole_pixels=False)
    shadow = np.tile(np.linspace(0, 255, MEASURING.width).astype(np.uint8), (MEASURING.height, 1))
    np.testing.assert_array_equal(refine_columns(truth, shadow), truth)


def test_noise_over_the_lines_moves_the_lattice_little():
    """The noisier the lines are the stiffer the surface is, so that it does not follow the noise."""
    image, truth = draw_page(whole_pixels=False, noise=60)
    refined = refine_columns(truth, rectify_grey(image, truth, MEASURING))
    assert error(refined, truth) < 0.003


@pytest.mark.parametrize("part", [np.s_[4:30, 6:50], np.s_[2:10, 1:56], np.s_[0:44, 10:24]])
def test_lattices_of_any_extent_are_put_right(part):
    image, truth = draw_page(whole_pixels=False)
    image = cv2.GaussianBlur(image, (0, 0), 0.8)  # as a scanner's optics do
    wrong = (truth + np.stack([BENT * SQUARE, np.zeros_like(BENT)], axis=-1))[part]
    refined = refine_lattice(image, wrong.astype(np.float32))
    inner = (slice(1, -1), slice(3, -3))
    # All lines may stay a little to one side: an offset of all of them, under 1.5 ms, is not looked for.
    before, after = (((each - truth[part])[..., 0][inner] / SQUARE).std() for each in (wrong, refined))
    assert before > 0.008
    assert after < 0.003
    assert refined.shape == wrong.shape
    assert refined.dtype == np.float32


def test_a_lattice_too_small_to_measure_is_left_as_it_is():
    image, truth = draw_page(whole_pixels=False)
    small = truth[3:8, 5:20].astype(np.float32)
    assert refine_lattice(image, small) is small


def test_lines_at_whole_pixels_are_not_followed_on_other_pages():
    image, truth = draw_page(whole_pixels=True)
    part = truth[4:30, 6:50].astype(np.float32)
    assert refine_lattice(image, part) is part
