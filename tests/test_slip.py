"""Paper that slipped in the scanner: drawn with exact labels, seen on the page's lines, corrected, told."""

import cv2
import numpy as np
import pytest

from benchmarks.square_widths import measure_strip
from configs.page import RECTIFIED, SQUARE_MM
from configs.stage1 import FRAME_PX_PER_SQUARE
from datasets.stage2 import perturb_slip
from digitization.geometry.find_slip import find_slip, find_steps
from digitization.geometry.frame import REFERENCE
from digitization.geometry.grid import GridFound, refit_grid
from digitization.geometry.line_profiles import FIRST, LAST, MEASURING, line_profiles, locate_lines
from digitization.geometry.rectify import rectify_grey, unrectify_points
from digitization.geometry.slip import Slip
from synthesis import Capture
from synthesis.capture import capture
from synthesis.page import Page, draw_page
from synthesis.signals import Record

LINES = np.arange(57)


def quiet_page(seed: int) -> Page:
    """A page of a record without any waves, so that its lines alone are compared."""
    return draw_page(
        Record("flat", np.zeros((12, 5000), np.float32), 500), np.random.default_rng(seed), "0003"
    )


def scan(seed: int, slips: bool) -> Capture:
    return capture(quiet_page(seed), "0003", np.random.default_rng(seed), orientation=0, slips=slips)


def bend_smoothly(gridpoint_xy: np.ndarray) -> np.ndarray:
    """A lattice (44, 57, 2) whose columns are those of a smooth sheet: a cubic through each row."""
    smooth = np.empty_like(gridpoint_xy)
    for row, points in enumerate(gridpoint_xy):
        smooth[row] = np.stack([np.polyval(np.polyfit(LINES, line, 3), LINES) for line in points.T], axis=1)
    return smooth


def even_columns(sheet: np.ndarray) -> np.ndarray:
    """Where the columns of a lattice lie, in squares of the width that they have in the middle row: (57,)."""
    squares = np.linalg.norm(np.diff(sheet[21], axis=0), axis=1).mean()
    return sheet[..., 0].mean(axis=0) / squares


def test_a_lost_slice_comes_to_its_edge_and_what_follows_comes_nearer():
    slip = Slip(np.array([10.0, 20.5]), np.array([0.1, 0.2]))
    columns = np.array([9.0, 10.05, 11.0, 20.6, 30.0])
    np.testing.assert_allclose(slip.scanned_columns(columns), [9.0, 10.0, 10.9, 20.4, 29.7])
    assert slip.lost_mm == pytest.approx(0.3 * SQUARE_MM)
    assert str(slip) == "0.50 mm at 1.40 s, 1.00 mm at 3.50 s"


def test_a_slant_slice_begins_further_right_in_lower_rows():
    slip = Slip(np.array([10.0]), np.array([0.1]), slant=0.01)
    edge = [slip.scanned_columns(np.array([10.05]), row)[0] for row in (0, 21.5, 43)]
    np.testing.assert_allclose(edge, [9.95, 10.0, 10.05])


@pytest.mark.parametrize("seed", range(3))
def test_a_page_differs_by_its_slip_alone(seed):
    steady, slipped = scan(seed, slips=False), scan(seed, slips=True)
    assert steady.slip is None
    first = slipped.slip.columns[0] - abs(slipped.slip.slant) * 22
    left = min(first, 26) - 1 > LINES  # wiggles lie further right
    np.testing.assert_allclose(slipped.gridpoint_xy[:, left], steady.gridpoint_xy[:, left], atol=1.0)
    width = np.diff(steady.gridpoint_xy[21, :, 0]).mean()
    moved = (steady.gridpoint_xy - slipped.gridpoint_xy)[21, -1, 0] / width
    assert moved > slipped.slip.lost.sum() - 0.01  # and squares further right may be narrower


@pytest.mark.parametrize("seed", range(3))
def test_rectified_by_its_labels_a_slipped_page_has_its_lines_in_place(seed):
    taken = scan(seed, slips=True)
    page = rectify_grey(taken.image, taken.gridpoint_xy, MEASURING, taken.slip)
    _, displaced = locate_lines(line_profiles(page).mean(axis=0))
    assert np.abs(displaced[FIRST : LAST + 1]).max() < 0.03  # 0.15 mm; lines on whole pixels make 0.013


def test_points_go_back_to_the_image_through_the_slip():
    taken = scan(1, slips=True)
    places = np.array([[column * RECTIFIED.square_width, 20 * RECTIFIED.square_height] for column in LINES])
    back = unrectify_points(places, taken.gridpoint_xy, slip=taken.slip)
    np.testing.assert_allclose(back, taken.gridpoint_xy[20], atol=1e-2)


@pytest.mark.parametrize("seed", range(5))
def test_a_slip_is_seen_placed_and_measured(seed):
    taken = scan(seed, slips=True)
    sheet = bend_smoothly(taken.gridpoint_xy)
    slant = taken.slip.slant
    found, places = find_slip(rectify_grey(taken.image, sheet, MEASURING), even_columns(sheet), slant)
    truth = taken.slip
    largest = truth.lost.argmax()
    nearest = np.abs(found.columns - truth.columns[largest]).argmin()
    assert abs(found.columns[nearest] - truth.columns[largest]) < 0.35
    place = truth.columns[largest]
    near, truly_near = np.abs(found.columns - place) < 1.2, np.abs(truth.columns - place) < 1.2
    assert found.lost[near].sum() == pytest.approx(truth.lost[truly_near].sum(), abs=0.03)
    true_places = taken.gridpoint_xy[..., 0].mean(axis=0)
    true_places = true_places / np.linalg.norm(np.diff(sheet[21], axis=0), axis=1).mean()
    assert np.abs(places.mean(axis=0) - true_places)[FIRST:LAST].mean() < 0.03  # squares


@pytest.mark.parametrize("seed", range(6))
def test_a_steady_scan_has_no_slip(seed):
    taken = scan(seed, slips=False)
    sheet = bend_smoothly(taken.gridpoint_xy)
    assert find_slip(rectify_grey(taken.image, sheet, MEASURING), even_columns(sheet), 0.0) is None


def move_columns(rect: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A rectified grey page whose px show the grid columns (canvas width,) float64 of another."""
    x = np.tile((columns * MEASURING.square_width).astype(np.float32), (len(rect), 1))
    y = np.tile(np.arange(len(rect), dtype=np.float32)[:, None], (1, rect.shape[1]))
    return cv2.remap(rect, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)


@pytest.fixture(scope="module")
def steady_page() -> np.ndarray:
    taken = scan(1, slips=False)
    return rectify_grey(taken.image, taken.gridpoint_xy, MEASURING)


COLUMNS = np.arange(MEASURING.width) / MEASURING.square_width


def test_paper_that_ran_ahead_and_fell_back_lost_no_slice(steady_page):
    wiggle = 0.1 * np.exp(-(((COLUMNS - 30.5) / 0.8) ** 2) / 2)  # 0.5 mm
    assert find_slip(move_columns(steady_page, COLUMNS + wiggle), LINES.astype(float), 0.0) is None
    step = 0.06 * (COLUMNS > 30.5)
    found, _ = find_slip(move_columns(steady_page, COLUMNS + step), LINES.astype(float), 0.0)
    assert found.lost == pytest.approx([0.06], abs=0.01)
    assert found.columns == pytest.approx([30.5], abs=0.2)  # between two 1 mm lines


@pytest.mark.parametrize(("column", "lost_mm"), [(3.5, 0.5), (30.5, 0.14)])
def test_a_curled_edge_or_a_square_little_too_narrow_is_no_slip(steady_page, column, lost_mm):
    moved = move_columns(steady_page, COLUMNS + lost_mm / SQUARE_MM * (column < COLUMNS))
    assert find_slip(moved, LINES.astype(float), 0.0) is None


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_crease_over_part_of_the_pages_height_is_no_slip(steady_page, share):
    """A scanner that slips loses the same slice in all rows."""
    moved = move_columns(steady_page, COLUMNS + 0.1 * (COLUMNS > 30.5))
    creased = steady_page.copy()
    creased[: round(share * len(creased))] = moved[: round(share * len(creased))]
    assert find_slip(creased, LINES.astype(float), 0.0) is None
    assert find_slip(moved, LINES.astype(float), 0.0) is not None


def test_noisy_lines_show_a_slip_at_the_usual_place_alone():
    rng = np.random.default_rng(0)
    for seen, column in ((True, 44), (False, 20)):
        found = []
        for _ in range(20):
            places = LINES - 0.08 * (column < LINES) + rng.normal(0, 0.012, len(LINES))
            found.append(find_steps(places)[column] > 0)
        assert np.mean(found) > 0.8 if seen else np.mean(found) < 0.3


def test_a_lattice_beside_a_slip_lies_on_the_lines_measured():
    rng = np.random.default_rng(0)
    places = np.tile(LINES - 0.1 * (LINES > 44) + 0.05 * np.exp(-((LINES - 30.0) ** 2)), (44, 1))
    smooth = cv2.GaussianBlur(places - LINES, (0, 0), 2.0)  # as stage 1 sees it
    offsets = np.dstack([smooth * FRAME_PX_PER_SQUARE, np.zeros((44, 57))]) + rng.normal(0, 0.2, (44, 57, 2))
    seen = np.ones((44, 57), bool)
    grid = GridFound(np.zeros((44, 57, 2)), seen, 0.0, {}, np.eye(3), offsets, seen.astype(float))
    refitted = refit_grid(grid, places, np.abs(LINES - 44.5) < 1.5)
    columns = (refitted - REFERENCE)[..., 0].mean(axis=0) / FRAME_PX_PER_SQUARE + LINES
    np.testing.assert_allclose(columns, places[0], atol=1e-4)


def test_a_strip_shows_its_narrow_square():
    lines = np.arange(57) - 0.1 * (np.arange(57) > 44)
    dark = np.exp(-(((np.arange(1080) - 19.0 * lines[:, None] - 3.3) / 1.0) ** 2) / 2).sum(axis=0)
    strip = np.tile((255 - 200 * dark).astype(np.uint8)[None, :, None], (100, 1, 3))
    rows, _ = measure_strip(strip)
    assert rows["lines"][44] == pytest.approx(-0.5, abs=0.08)
    assert np.abs(np.delete(rows["lines"][5:52], [39])).max() < 0.08


def test_a_slip_is_shaken_as_it_would_be_found():
    slip = Slip(np.array([44.0]), np.array([0.1]))
    shaken = [perturb_slip(slip, np.random.default_rng(seed)) for seed in range(50)]
    assert 0.01 < np.std([s.columns[0] for s in shaken]) < 0.1
    assert all(0.05 < s.lost[0] < 0.2 for s in shaken)


def test_a_slip_that_cannot_be_placed_is_not_placed():
    assert Slip(np.array([44.0]), np.array([0.1]), uncertainty=np.array([0.05])).is_placed
    assert not Slip(np.array([44.0]), np.array([0.1]), uncertainty=np.array([0.3])).is_placed
