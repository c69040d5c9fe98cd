"""The competition's looks: most of each type's pages are printed, scanned and photographed as its own are."""

from dataclasses import replace

import cv2
import numpy as np
import pytest

from configs.page import (
    IMAGE_TYPES,
    LEADS,
    MM_PER_MV,
    PAGE_PX_PER_MM,
    SIGNAL_START_SQUARES,
    SQUARE_MM,
    ZERO_LINE_ROWS,
)
from synthesis import synthesize
from synthesis.capture import capture
from synthesis.page import draw_page
from synthesis.scanner import GREY_TYPES
from synthesis.signals import Record
from synthesis.style import choose_style
from synthesis.warp import bilinear
from tests.test_synthesis import FS, dotted_page, find_discs, made_up_record

LOOKS = IMAGE_TYPES[1:]
PAPER_PHOTOS = ("0005", "0009", "0010")
QR_REACH_MM = 19  # of the box with the code from the page's right and top edges, at most


@pytest.fixture
def always(monkeypatch):
    monkeypatch.setattr("synthesis.style.COMPETITION_SHARE", 1.0)


def mid_square_record() -> Record:
    """Flat leads, each in the middle between two horizontal 5 mm lines."""
    squares = np.array(ZERO_LINE_ROWS)
    millivolts = (squares - np.floor(squares) - 0.5) * SQUARE_MM / MM_PER_MV
    rows = np.array([millivolts[index % 3] for index in range(len(LEADS))])  # I, II, III, aVR ...
    return Record("flat", np.repeat(rows[:, None], 10 * FS, axis=1).astype(np.float32), FS)


def at_squares(taken, columns, rows) -> np.ndarray:
    """(N, 2) px of a capture at (N,) grid columns and rows, beyond the grid's rim carried on."""
    grid = taken.gridpoint_xy.astype(np.float64)
    x, y = np.clip(columns, 0, 55.9), np.clip(rows, 0, 42.9)
    inside = bilinear(grid, x, y)
    return inside + (columns - x)[:, None] * (grid[20, 1] - grid[20, 0])


def darkest_grey(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """The darkest of the 5 x 5 px around each point of (N, 2) px: (N,) grey values."""
    x, y = np.round(points).astype(int).T
    return cv2.erode(image.mean(axis=2), np.ones((5, 5)))[y, x]


def mean_grey(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    x, y = np.round(points).astype(int).T
    return cv2.blur(image.mean(axis=2), (5, 5))[y, x]


@pytest.mark.parametrize(
    ("image_type", "orientation"), [(kind, index % 8) for index, kind in enumerate(LOOKS)]
)
def test_labels_lie_on_the_grid_points_of_the_competitions_looks(image_type, orientation):
    page = replace(dotted_page(), competition=True)
    taken = capture(page, image_type, np.random.default_rng(3), orientation=orientation)
    errors = find_discs(taken.image, taken.gridpoint_xy)
    assert len(errors) > 400
    np.testing.assert_allclose(np.median(errors, axis=0), 0, atol=0.05)
    stippled = image_type in GREY_TYPES  # the dots move a disc's centroid, but not on average
    assert np.median(np.linalg.norm(errors, axis=1)) < (0.4 if stippled else 0.1)


def test_over_half_of_the_pages_are_the_competitions_but_none_of_its_renders():
    rng = np.random.default_rng(0)
    for image_type in IMAGE_TYPES:
        styles = [choose_style(rng, image_type) for _ in range(1500)]
        share = np.mean([style.competition for style in styles])
        assert share == 0 if image_type == "0001" else 0.5 < share < 0.6


@pytest.mark.parametrize("image_type", ["0001", "0003", "0006", "0010"])
def test_a_qr_code_lies_at_the_top_right_of_all_but_type_0001(image_type, always):
    page = draw_page(made_up_record(), np.random.default_rng(1), image_type)
    reach = round(QR_REACH_MM * PAGE_PX_PER_MM)
    found, corners = cv2.QRCodeDetector().detect(page.image)
    assert found == (image_type != "0001")
    if found:
        x, y = corners[0].T
        assert x.min() > page.image.shape[1] - reach
        assert y.max() < reach
        box = page.image[10 : reach // 2, -reach // 2 : -4]
        assert 0.25 < (box.max(axis=2) < 50).mean() < 0.75
    else:
        assert page.image[5:reach, -reach:-5].max(axis=2).min() > 200  # the grid is all red


@pytest.mark.parametrize("image_type", GREY_TYPES)
def test_grey_scans_are_nearly_bilevel_and_their_traces_survive(image_type, always):
    for seed in range(2):
        taken = synthesize(mid_square_record(), image_type, np.random.default_rng(seed), orientation=0)
        grey = taken.image[..., 0]
        assert (taken.image == grey[..., None]).all()
        black, white = (grey < 80).mean(), (grey > 175).mean()
        assert 1 - black - white < min(black, 0.15)  # the edges, which resampling and JPEG leave grey
        columns = np.linspace(SIGNAL_START_SQUARES + 1, 52, 400)
        rows = np.full(400, np.floor(ZERO_LINE_ROWS[1]) + 0.5)
        assert np.quantile(darkest_grey(taken.image, at_squares(taken, columns, rows)), 0.97) < 80
        blank = mean_grey(taken.image, at_squares(taken, columns, rows + 1))
        assert np.median(blank) > 150  # stippled, but no line


def test_colour_scans_are_white_with_a_red_grid_and_no_tint(always):
    for seed in range(2):
        image = synthesize(made_up_record(), "0003", np.random.default_rng(seed), orientation=0).image
        paper = np.quantile(image.reshape(-1, 3), 0.75, axis=0)
        assert paper.min() > 240
        assert np.ptp(paper) < 8
        reddest = np.quantile(image[..., 0].astype(float) - image[..., 1], 0.97)
        assert reddest > 40


def test_mouldy_scans_lean_and_their_scale_varies(always):
    leans, scales = [], []
    for seed in range(6):
        grid = synthesize(
            made_up_record(), "0011", np.random.default_rng(seed), orientation=0, slips=False
        ).gridpoint_xy
        sides = grid[-1, [1, -2]] - grid[0, [1, -2]]
        leans += np.rad2deg(np.arctan2(sides[:, 0], sides[:, 1])).tolist()
        widths = np.linalg.norm(np.diff(grid[22, ::4], axis=0), axis=1)
        scales.append(np.ptp(widths) / widths.mean())
    assert 0.5 < np.std(leans) < 2.5
    assert 0.02 < np.median(scales) < 0.12


@pytest.mark.parametrize("image_type", PAPER_PHOTOS)
def test_photos_show_a_frame_and_white_paper_around_it(image_type, always):
    seed = next(
        s for s in range(20) if draw_page(made_up_record(), np.random.default_rng(s), image_type).has_pulse
    )
    taken = synthesize(
        made_up_record(), image_type, np.random.default_rng(seed), orientation=0, second_sheet=False
    )
    rows = np.linspace(2, 41, 60)
    margin = at_squares(taken, np.full(60, -0.5), rows)  # 2.5 mm outside the frame
    height, width = taken.image.shape[:2]
    assert ((margin > 2) & (margin < (width - 3, height - 3))).all()
    frame = darkest_grey(taken.image, at_squares(taken, np.zeros(60), rows))
    x, y = np.round(margin).astype(int).T
    paper = np.median(taken.image[y, x].max(axis=1))
    assert np.median(frame) < 0.6 * paper
    assert paper > 120
    assert np.ptp(np.median(taken.image[y, x], axis=0)) < 40  # whiter than wood


def test_photos_of_screens_show_a_dark_bezel_beside_the_page(always, monkeypatch):
    monkeypatch.setattr("synthesis.photo.LAPTOP_SHARE", 0.0)
    upright = 0
    for seed in range(4):
        taken = synthesize(made_up_record(), "0006", np.random.default_rng(seed), orientation=0)
        upright += taken.image.shape[0] > taken.image.shape[1]
        middle = taken.gridpoint_xy[-1, 28]
        below = taken.image[:, round(float(middle[0]))].max(axis=1)[round(float(middle[1])) :]
        if len(below) > 0.15 * taken.image.shape[0]:
            assert below.min() < 70
    assert upright >= 2
