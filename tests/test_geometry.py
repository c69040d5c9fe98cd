import cv2
import numpy as np
import pytest
import torch

from configs.page import (
    GRID_COLUMNS,
    GRID_ROWS,
    LEAD_BOUNDARIES,
    LEAD_LABEL_POINTS,
    RECTIFIED,
    RECTIFIED_SINGLE,
)
from configs.stage0 import Stage0Config
from configs.stage1 import FRAME_HEIGHT, FRAME_PX_PER_SQUARE, FRAME_WIDTH, Stage1Config, reference_points
from digitization.geometry import search
from digitization.geometry.calibration import calibrate
from digitization.geometry.frame import CELLS, REFERENCE, warp_to_frame
from digitization.geometry.grid import decode_grid, judge_grid
from digitization.geometry.keypoints import find_keypoints, prepare_input
from digitization.geometry.lattice import find_peaks
from digitization.geometry.locate import PageLocation, PageNotFound, guess_page, locate_page
from digitization.geometry.orientation import (
    apply_orientation,
    flipped_class,
    mirrored_class,
    orient_points,
    orientation_matrix,
    points_to_upright,
    shape_of_upright,
    undo_orientation,
)
from digitization.geometry.projective import map_points
from digitization.geometry.rectify import lattice_at, rectify, rectify_region, spline_weights
from digitization.geometry.search import (
    WINDOW_SHARE,
    Candidate,
    find_page,
    move_page,
    rank_pages,
    try_orientations,
    windows,
)
from digitization.geometry.straighten import Straightener
from digitization.geometry.surface import fit_smoothest_plate
from synthesis import Pose

LABEL_ROWS, LABEL_COLUMNS = np.array(LEAD_LABEL_POINTS).T
PAGE_SHAPE = (1400, 1800)  # (height, width) px of the upright photo that these tests draw


def curled(rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """A lattice in px of a photo: 28 px squares, seen at an angle, its sheet curled by over a square."""
    x = 60 + 29 * columns + 0.9 * rows + 15 * np.sin(rows / 9) * np.cos(columns / 11)
    y = 50 + 28 * rows - 0.7 * columns + 40 * ((columns - 28) / 28) ** 2 + 8 * np.sin(rows / 7)
    return np.stack([x, y], axis=-1)


def bent(strength: float = 1.0) -> np.ndarray:
    """A lattice in the stage-1 frame, up to two squares from its reference, (44, 57, 2) px."""
    rows, columns = CELLS[..., 0].astype(float), CELLS[..., 1].astype(float)
    x = 0.8 * np.sin(rows / 9) * np.cos(columns / 11)
    y = 2.0 * ((columns - 28) / 28) ** 2 + 0.6 * ((rows - 22) / 22) ** 3
    return REFERENCE + strength * FRAME_PX_PER_SQUARE * np.stack([x, y], axis=-1)


def draw_spots(points: np.ndarray, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Points (N, 2) as Gaussians of peak 1 on a (height, width) float32 map."""
    spots = np.zeros(shape, np.float32)
    reach = int(np.ceil(4 * sigma))
    for x, y in points:
        xs = np.arange(max(round(x) - reach, 0), min(round(x) + reach + 1, shape[1]))
        ys = np.arange(max(round(y) - reach, 0), min(round(y) + reach + 1, shape[0]))
        if len(xs) and len(ys):
            bell = np.exp(-((ys[:, None] - y) ** 2 + (xs - x) ** 2) / (2 * sigma**2))
            window = spots[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1]
            np.maximum(window, bell, out=window)
    return spots


def draw_frame_map(points: np.ndarray, stride: int) -> np.ndarray:
    """Points (N, 2) px of the stage-1 frame as the map that stage 1 gives."""
    shape = (FRAME_HEIGHT // stride, FRAME_WIDTH // stride)
    return draw_spots((points + 0.5) / stride - 0.5, shape, sigma=1.6 / stride)


def page_with(keypoints: np.ndarray) -> PageLocation:
    """A page that lies in its image as in the stage-1 frame."""
    return PageLocation(0, keypoints.astype(np.float32), np.ones(13, np.float32), np.eye(3), np.ones(13))


def squares_off(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    return np.linalg.norm(found - truth, axis=-1) / FRAME_PX_PER_SQUARE


class KnownMarkers(torch.nn.Module):
    """A stage 0 that knows one upright photo's lead labels, sees none on any other, and claims a turn."""

    def __init__(self, photo: np.ndarray, points: np.ndarray, claim: int, stride: int = 2):
        super().__init__()
        self.config = Stage0Config(input_width=832)
        self.photo = prepare_input(photo, self.config).tensor
        self.points, self.claim, self.stride = points, claim, stride
        self.scale = self.config.input_width / max(photo.shape)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        height, width = (side // self.stride for side in image.shape[-2:])
        marker = np.zeros((14, height, width), np.float32)
        marker[0] = 4
        if image.shape == self.photo.shape and torch.equal(image, self.photo):
            for index, point in enumerate((self.points + 0.5) * self.scale / self.stride - 0.5, start=1):
                if np.isfinite(point).all():
                    marker[index] = 12 * draw_spots(point[None], (height, width), sigma=2.5)
        orientation = torch.nn.functional.one_hot(torch.tensor([self.claim]), 8) * 9.0
        return {"marker": torch.from_numpy(marker)[None], "orientation": orientation}


class DarkSpots(torch.nn.Module):
    """A stage 1 that takes every dark spot of the frame for a grid point."""

    def __init__(self):
        super().__init__()
        self.config = Stage1Config()

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        ink = torch.nn.functional.avg_pool2d((1 - image).amin(dim=1, keepdim=True), 2)
        inside = torch.nn.functional.avg_pool2d((image.amax(dim=1, keepdim=True) > 0).float(), 2)
        return {"gridpoint": torch.where(inside == 1, 24 * ink - 6, torch.tensor(-6.0))}


def photo_of_spots() -> tuple[np.ndarray, np.ndarray]:
    """A white sheet with a dark spot on each grid point: (1400, 1800, 3) uint8 and the lattice."""
    lattice = curled(CELLS[..., 0].astype(float), CELLS[..., 1].astype(float))
    ink = draw_spots(lattice.reshape(-1, 2), PAGE_SHAPE, sigma=2.2)
    grey = np.round(250 - 240 * ink).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2), lattice


# Orientation


@pytest.mark.parametrize("orientation", range(8))
def test_points_turn_with_their_image_and_back(orientation):
    upright = np.random.default_rng(0).integers(0, 255, (31, 47, 3), dtype=np.uint8)
    points = np.array([[10, 20], [44, 5]])
    turned = apply_orientation(upright, orientation)
    x, y = orient_points(points, orientation, upright.shape).astype(int).T
    assert (turned[y, x] == upright[points[:, 1], points[:, 0]]).all()
    assert (undo_orientation(turned, orientation) == upright).all()
    back = points_to_upright(np.stack([x, y], axis=1), orientation, turned.shape)
    np.testing.assert_array_equal(back, points)


@pytest.mark.parametrize("orientation", range(8))
def test_a_flip_changes_the_orientation_as_it_changes_the_image(orientation):
    upright = np.random.default_rng(0).integers(0, 255, (9, 9), dtype=np.uint8)
    turned = apply_orientation(upright, orientation)
    for flip, left_right, up_down in (
        (turned[:, ::-1], 1, 0),
        (turned[::-1], 0, 1),
        (turned[::-1, ::-1], 1, 1),
    ):
        assert (apply_orientation(upright, flipped_class(orientation, left_right, up_down)) == flip).all()


def test_an_unknown_orientation_is_refused():
    with pytest.raises(ValueError, match="orientation"):
        orient_points(np.zeros((1, 2)), 8, (10, 10))


# The page from its lead labels


def test_a_lead_name_is_found_between_pixels_and_a_doubtful_one_left_out():
    probability = np.zeros((14, 60, 80), np.float32)
    probability[1] = draw_spots(np.array([[30.3, 20.6]]), (60, 80), sigma=2)
    probability[2] = 0.2 * draw_spots(np.array([[50.0, 40.0]]), (60, 80), sigma=2)
    points, confidence = find_keypoints(probability, stride=2, radius=16)
    np.testing.assert_allclose(points[0], (np.array([30.3, 20.6]) + 0.5) * 2 - 0.5, atol=0.05)
    assert confidence[0] > 0.8
    assert np.isnan(points[1:]).all()
    assert (confidence[1:] == 0).all()


@pytest.fixture
def keypoints() -> np.ndarray:
    """The lead labels of a curled page in its photo, (13, 2) px."""
    return curled(LABEL_ROWS.astype(float), LABEL_COLUMNS.astype(float))


@pytest.mark.parametrize("orientation", range(1, 8))
def test_names_that_lie_turned_or_mirrored_are_no_upright_page(keypoints, orientation):
    turned = orient_points(keypoints, orientation, PAGE_SHAPE)
    shape = PAGE_SHAPE if orientation % 2 == 0 else PAGE_SHAPE[::-1]
    with pytest.raises(PageNotFound, match=r"rotated|mirrored"):
        locate_page(turned, np.ones(13), shape)


@pytest.mark.parametrize(("mirrored", "chosen"), [(9.5, [0]), (13.5, [6, 0])])
def test_a_mirrored_page_must_fit_clearly_better_than_a_plain_one(keypoints, monkeypatch, mirrored, chosen):
    page = locate_page(keypoints, np.ones(13), PAGE_SHAPE)
    evidence = iter([9.0, 0.0, 0.0, 0.0, 0.0, 0.0, mirrored, 0.0])

    def read_view(*_):
        found = next(evidence)
        return Candidate(0, found, page if found else None, "" if found else "nothing", head=0)

    monkeypatch.setattr(search, "read_view", read_view)
    image = np.zeros((8, 8, 3), np.uint8)
    found = rank_pages(search.try_orientations(image, torch.nn.Identity(), "cpu", every=True))
    assert [candidate.page.orientation for candidate in found] == chosen


def test_swapped_lead_names_are_left_out_and_do_not_move_the_page(keypoints):
    wrong = keypoints.copy()
    wrong[[1, 6]] = wrong[[6, 1]]
    page = locate_page(wrong, np.ones(13), PAGE_SHAPE)
    assert set(np.flatnonzero(np.isnan(page.keypoints[:, 0]))) == {1, 6}
    assert (page.objectness[[1, 6]] == 0).all()
    right = locate_page(keypoints, np.ones(13), PAGE_SHAPE)
    moved = map_points(keypoints, page.homography) - map_points(keypoints, right.homography)
    assert np.linalg.norm(moved, axis=1).max() < 0.5 * FRAME_PX_PER_SQUARE


def test_too_few_lead_names_or_names_in_a_line_are_no_page(keypoints):
    few, line = np.full((13, 2), np.nan), np.full((13, 2), np.nan)
    few[:3], line[:4] = keypoints[:3], keypoints[:4]
    with pytest.raises(PageNotFound, match="only 3 of 13"):
        locate_page(few, np.ones(13), PAGE_SHAPE)
    with pytest.raises(PageNotFound, match=r"line|as on a page"):
        locate_page(line, np.ones(13), PAGE_SHAPE)


def test_scattered_lead_names_are_no_page():
    scattered = np.random.default_rng(3).uniform(0, 1400, (13, 2))
    with pytest.raises(PageNotFound):
        locate_page(scattered, np.ones(13), PAGE_SHAPE)


@pytest.mark.parametrize(("orientation", "claim"), [(0, 0), (0, 3), (1, 1), (6, 6), (2, 5)])
def test_the_page_is_found_in_any_orientation_even_when_the_head_is_wrong(keypoints, orientation, claim):
    photo, _ = photo_of_spots()
    page = find_page(apply_orientation(photo, orientation), KnownMarkers(photo, keypoints, claim))
    assert page.orientation == orientation
    np.testing.assert_allclose(page.keypoints, keypoints, atol=0.5)


class WrongHead(torch.nn.Module):
    """A stage 0 whose orientation head takes the photo as shown for upright, where few labels seem to lie.

    `views` has pairs of an upright photo and its labels (13, 2), NaN where none is seen.
    """

    def __init__(self, views: list[tuple[np.ndarray, np.ndarray]]):
        super().__init__()
        self.known = [KnownMarkers(photo, points, claim=0) for photo, points in views]
        self.config = self.known[0].config

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        seen = [known for known in self.known if torch.equal(known.photo, image)]
        return (seen or self.known)[0](image)


def test_thirteen_lead_labels_say_more_than_the_orientation_head_and_half_of_them(keypoints):
    """On a page upside down the head is sure that it is upright, and blots look like seven labels there."""
    photo, _ = photo_of_spots()
    shown = apply_orientation(photo, 2)
    blots = np.where(np.arange(13)[:, None] < 7, keypoints, np.nan)
    page = find_page(shown, WrongHead([(shown, blots), (photo, keypoints)]))
    assert page.orientation == 2
    assert np.isfinite(page.keypoints).all()


def test_every_page_of_a_third_of_the_sides_lies_in_a_window_whole():
    height, width = shape = (900, 1200)
    for x in np.linspace(0, width * 2 / 3, 30):
        for y in np.linspace(0, height * 2 / 3, 30):
            assert any(
                left <= x and top <= y and x + width / 3 <= left + w and y + height / 3 <= top + h
                for left, top, w, h in windows(shape)
            )


@pytest.mark.parametrize("orientation", range(8))
def test_a_page_found_in_a_window_is_one_of_the_image(keypoints, orientation):
    height, width = 700, 900  # of the upright image
    into_frame = np.array([[1.1, 0.1, 5], [-0.05, 0.9, 7], [1e-5, 2e-5, 1]])
    corner, window = (130, 60), (400, 500)
    turned = shape_of_upright(orientation, (height, width))  # the same swap both ways
    to_turned = orientation_matrix(orientation, (height, width))
    shift = np.array([[1.0, 0, corner[0]], [0, 1, corner[1]], [0, 0, 1]])
    from_window = orientation_matrix(orientation, shape_of_upright(orientation, window))
    points = np.array([[20.0, 30.0], [250.0, 90.0], [100.0, 333.0]])  # px of the upright window
    in_image = map_points(map_points(map_points(points, from_window), shift), np.linalg.inv(to_turned))
    page = PageLocation(
        orientation, points.astype(np.float32), np.ones(3, np.float32), into_frame, np.ones(3)
    )
    moved = move_page(page, corner, window, turned)
    np.testing.assert_allclose(moved.keypoints, in_image, atol=1e-3)
    np.testing.assert_allclose(map_points(in_image, moved.homography), map_points(points, into_frame))


def test_a_page_too_small_to_read_is_found_in_a_window(keypoints):
    photo, _ = photo_of_spots()
    height, width = (round(side / WINDOW_SHARE) for side in photo.shape[:2])
    left, top, _, _ = windows((height, width))[0]
    desk = np.zeros((height, width, 3), np.uint8)
    desk[top : top + photo.shape[0], left : left + photo.shape[1]] = photo
    page = find_page(desk, KnownMarkers(photo, keypoints, 0))
    np.testing.assert_allclose(page.keypoints, keypoints + (left, top), atol=0.5)


@pytest.mark.parametrize("stretch", [1.0, 1.15, 0.87])
@pytest.mark.parametrize(("yaw", "pitch"), [(0, 0), (8, 0), (0, 10), (7, -7), (30, 0), (0, 30), (20, 20)])
def test_squares_that_are_not_square_are_told_from_tilted_ones(yaw, pitch, stretch):
    shape = (1944, 2592)
    pose = Pose(shape[::-1], np.deg2rad(yaw), np.deg2rad(pitch), 0.1, distance=1.4)
    page = CELLS[..., ::-1] * 39.37 * (1, stretch)
    lattice = map_points(page - page.mean(axis=(0, 1)) + (1100, 850), pose.homography()).astype(np.float32)
    calibration = calibrate(lattice, np.ones(lattice.shape[:2], bool), shape)
    if stretch == 1:
        assert calibration.fits_paper
        steps = np.linalg.norm(np.diff(lattice[22], axis=0), axis=-1)
        assert np.isclose(calibration.px_per_mm[0], np.median(steps) / 5, rtol=0.03)
    elif max(abs(yaw), abs(pitch)) <= 10:  # beyond, tilt and stretch are told apart by no focal length known
        assert not calibration.fits_paper


def test_the_frame_of_a_large_photo_is_where_its_homography_says():
    photo = np.full((3000, 4000, 3), 255, np.uint8)
    cv2.circle(photo, (2000, 1500), 20, (0, 0, 0), -1)
    homography = np.array([[0.3, 0.01, 50.0], [-0.01, 0.31, 20.0], [0, 0, 1]])
    dark = 255.0 - warp_to_frame(photo, homography)[..., 0]
    dark[
        map_points(np.indices(dark.shape)[::-1].transpose(1, 2, 0), np.linalg.inv(homography)).min(-1) < 9
    ] = 0
    ys, xs = np.indices(dark.shape)
    window = np.hypot(xs - 665, ys - 465) < 20
    centre = [(dark * window * axis).sum() / (dark * window).sum() for axis in (xs, ys)]
    np.testing.assert_allclose(centre, map_points(np.array([2000, 1500]), homography), atol=0.05)


# The lattice


@pytest.mark.parametrize("stride", [1, 2, 4])
def test_peaks_lie_between_pixels(stride):
    truth = np.array([[100.3, 200.8], [300.6, 77.2], [900.1, 901.4]])
    peaks, probability = find_peaks(draw_frame_map(truth, stride), stride)
    order = np.argsort(peaks[:, 0])[[0, 1, 2]]
    np.testing.assert_allclose(peaks[order], truth[np.argsort(truth[:, 0])], atol=0.12 * stride)
    assert (probability > 0.4).all()


def test_a_strongly_curled_lattice_is_found_whole():
    truth = bent()
    visible = CELLS[..., 1] < GRID_COLUMNS - 1
    grid = decode_grid(draw_frame_map(truth[visible], 2), page_with(truth[LABEL_ROWS, LABEL_COLUMNS]))
    assert (grid.seen == visible).all()
    off = squares_off(grid.gridpoint_xy, truth)
    assert off[4:-4, 3:-3].max() < 0.03  # where signals are
    assert off.max() < 0.1  # the plate goes straight on at the corners
    assert grid.score > 0.9


def test_jitter_false_points_and_missing_ones_leave_no_trace():
    rng = np.random.default_rng(1)
    truth = bent()
    visible = rng.random((GRID_ROWS, GRID_COLUMNS)) > 0.3
    points = truth[visible] + rng.normal(0, 0.5, (visible.sum(), 2))
    false = rng.uniform((0, 0), (FRAME_WIDTH, FRAME_HEIGHT), (100, 2))
    keypoints = truth[LABEL_ROWS, LABEL_COLUMNS] + rng.normal(0, 3, (13, 2))
    grid = decode_grid(draw_frame_map(np.concatenate([points, false]), 2), page_with(keypoints))
    off = squares_off(grid.gridpoint_xy, truth)
    assert off[4:-4, 3:-3].max() < 0.06
    assert off.max() < 0.3  # corners beyond the signals, where the sheet goes on stiffly
    assert grid.seen.sum() > 0.95 * visible.sum()


@pytest.mark.parametrize("pieces", [2, 4])
def test_a_lattice_in_pieces_is_numbered_as_one(pieces):
    rng = np.random.default_rng(5)
    truth = bent()
    hidden = (CELLS[..., 1] >= 20) & (CELLS[..., 1] < 27)
    if pieces == 4:
        hidden |= (CELLS[..., 0] >= 20) & (CELLS[..., 0] < 24)
    visible = ~hidden & (rng.random(hidden.shape) > 0.1)
    points = truth[visible] + rng.normal(0, 0.3, (visible.sum(), 2))
    keypoints = truth[LABEL_ROWS, LABEL_COLUMNS] + rng.normal(0, 3, (13, 2))
    grid = decode_grid(draw_frame_map(points, 2), page_with(keypoints))
    off = squares_off(grid.gridpoint_xy, truth)
    assert off[4:-4, 3:-3].max() < 0.06
    assert off.max() < 0.3


@pytest.mark.parametrize("shift", [-0.8, 0.8])
def test_a_piece_whose_lead_labels_lie_askew_is_numbered_by_the_smoothness_of_the_page(shift):
    """The labels right of a tear point to the next column; the sheet goes on as it does on the left."""
    truth = bent()
    visible = (CELLS[..., 1] < 30) | (CELLS[..., 1] >= 37)
    keypoints = truth[LABEL_ROWS, LABEL_COLUMNS].copy()
    keypoints[LABEL_COLUMNS >= 37, 0] += shift * FRAME_PX_PER_SQUARE
    grid = decode_grid(draw_frame_map(truth[visible], 2), page_with(keypoints))
    assert squares_off(grid.gridpoint_xy, truth)[4:-4, 3:-3].max() < 0.05


def test_points_that_err_to_one_side_hardly_draw_the_sheet_along():
    """A tenth of the points lie half a millimetre too far right, as next to dark ink."""
    rng = np.random.default_rng(0)
    truth = bent() - REFERENCE
    seen = truth + rng.normal(0, 0.01 * FRAME_PX_PER_SQUARE, truth.shape)
    seen[rng.random(truth.shape[:2]) < 0.1, 0] += 0.1 * FRAME_PX_PER_SQUARE
    sheet = fit_smoothest_plate(seen, np.ones(truth.shape[:2]))
    along = (sheet - truth)[4:-4, 4:-4, 0] / FRAME_PX_PER_SQUARE
    assert abs(along.mean()) < 0.005, "half of what their mean is off"
    assert along.std() < 0.006


def test_a_lattice_numbered_one_square_off_is_told_by_the_lead_labels():
    """0.2 s or 0.5 mV: nothing else on the page may give it away."""
    truth = bent()
    page = page_with(truth[LABEL_ROWS, LABEL_COLUMNS])
    seen, certain = np.ones(truth.shape[:2], bool), np.ones(100)
    right = judge_grid(truth, seen, 0.3, certain, page, boundaries=1.0)
    for axis in (0, 1):
        off = judge_grid(np.roll(truth, 1, axis), seen, 0.3, certain, page, boundaries=1.0)
        assert right["labels_on_grid"] == 1
        assert off["labels_on_grid"] == 0


def test_another_grid_beside_the_page_is_left_alone():
    truth = bent(0.3) * 0.7 + 60
    keypoints = truth[LABEL_ROWS, LABEL_COLUMNS]
    homography, _ = cv2.findHomography(keypoints, reference_points(np.array(LEAD_LABEL_POINTS)))
    page = PageLocation(0, keypoints.astype(np.float32), np.ones(13, np.float32), homography, np.ones(13))
    shifted = truth[:, -8:] + np.array([140, 7])  # a second sheet, half covered by the first
    both = map_points(np.concatenate([truth.reshape(-1, 2), shifted.reshape(-1, 2)]), homography)
    grid = decode_grid(draw_frame_map(both, 2), page)
    assert squares_off(grid.gridpoint_xy, truth).max() < 0.1


def test_a_torn_corner_is_filled_smoothly_and_lowers_the_score():
    truth = bent(0.5)
    visible = ~((CELLS[..., 0] < 8) & (CELLS[..., 1] < 12))
    keypoints = truth[LABEL_ROWS, LABEL_COLUMNS]
    torn = decode_grid(draw_frame_map(truth[visible], 2), page_with(keypoints))
    whole = decode_grid(draw_frame_map(truth.reshape(-1, 2), 2), page_with(keypoints))
    assert squares_off(torn.gridpoint_xy, truth).max() < 0.3
    assert not torn.seen[:8, :12].any()
    assert torn.score < whole.score


def test_a_map_without_grid_points_is_no_page():
    truth = bent()
    page = page_with(truth[LABEL_ROWS, LABEL_COLUMNS])
    with pytest.raises(PageNotFound, match="grid points"):
        decode_grid(np.zeros((FRAME_HEIGHT // 2, FRAME_WIDTH // 2), np.float32), page)


# The rectified page


def test_between_grid_points_the_map_keeps_to_a_hundredth_of_a_pixel():
    lattice = curled(CELLS[..., 0].astype(float), CELLS[..., 1].astype(float))
    rows, columns = np.arange(0, GRID_ROWS - 1, 0.13), np.arange(0, GRID_COLUMNS - 1, 0.13)
    down, across = spline_weights(GRID_ROWS, rows), spline_weights(GRID_COLUMNS, columns)
    between = np.einsum("hr,rcd,wc->hwd", down, lattice, across, optimize=True)
    expected = curled(*np.meshgrid(rows, columns, indexing="ij"))
    assert np.abs(between - expected).max() < 0.01


@pytest.mark.slow
def test_pixels_are_read_from_where_the_lattice_says():
    """Phases of two waves, drawn on the photo, tell from where each rectified pixel was read."""
    ys, xs = np.indices(PAGE_SHAPE, dtype=np.float64)
    waves = np.stack([np.cos(xs / 4), np.sin(xs / 4), np.cos(ys / 4)], axis=-1)
    photo = np.round(127 + 120 * waves).astype(np.uint8)
    lattice = curled(CELLS[..., 0].astype(float), CELLS[..., 1].astype(float)).astype(np.float32)
    page = (rectify(photo, lattice).astype(np.float64) - 127) / 120
    columns = np.arange(RECTIFIED.width) / RECTIFIED.square_width
    rows = np.arange(RECTIFIED.height) / RECTIFIED.square_height
    expected = curled(*np.meshgrid(rows, columns, indexing="ij"))
    inside = ((expected > 2) & (expected < np.array(PAGE_SHAPE[::-1]) - 3)).all(axis=-1)
    phase = np.arctan2(page[..., 1], page[..., 0]) - expected[..., 0] / 4
    error = 4 * np.angle(np.exp(1j * phase))
    assert np.abs(error[inside]).max() < 0.1  # eight bits and the cubic kernel leave so much
    assert abs(error[inside].mean()) < 0.001
    share = cv2.blur(inside.astype(float), (15, 15))
    local = cv2.blur(np.where(inside, error, 0.0), (15, 15))[share > 0.99]
    assert np.abs(local).max() < 0.05  # anywhere, the noise of eight bits averaged out
    down = np.sin(expected[..., 1] / 4)
    slip = (page[..., 2] - np.cos(expected[..., 1] / 4)) * -down
    assert abs(slip[inside].sum() / (down**2)[inside].sum()) < 0.001


def test_a_region_is_cut_from_the_whole_page():
    photo, lattice = photo_of_spots()
    whole = rectify(photo, lattice, RECTIFIED_SINGLE)
    assert whole.shape == (RECTIFIED_SINGLE.height, RECTIFIED_SINGLE.width, 3)
    region = rectify_region(photo, lattice, 300, 200, 700, 450, RECTIFIED_SINGLE)
    assert np.abs(whole[200:450, 300:700].astype(int) - region).max() <= 2


def test_beyond_the_photo_the_page_is_white():
    photo = np.zeros((100, 100, 3), np.uint8)
    lattice = np.stack([CELLS[..., 1] * 4.0, CELLS[..., 0] * 4.0], axis=-1)
    page = rectify(photo, lattice, RECTIFIED_SINGLE)
    assert (page[-1, -1] == 255).all()
    assert (page[0, 0] == 0).all()


def test_rectification_refuses_what_is_no_photo_or_no_lattice():
    photo, lattice = photo_of_spots()
    with pytest.raises(ValueError, match="image"):
        rectify(photo[..., 0], lattice)
    with pytest.raises(ValueError, match="gridpoint_xy"):
        rectify(photo, lattice[1:])
    lattice[3, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        rectify(photo, lattice)


# All in a row


@pytest.mark.parametrize("orientation", [0, 3, 5])
def test_a_turned_photo_becomes_an_even_lattice(keypoints, orientation):
    photo, lattice = photo_of_spots()
    stage0 = KnownMarkers(photo, keypoints, orientation)
    rectified = Straightener(stage0, DarkSpots()).straighten(apply_orientation(photo, orientation))
    assert rectified.orientation == orientation
    off = np.linalg.norm(rectified.gridpoint_xy - lattice, axis=-1)
    assert np.median(off) < 0.1
    assert off[4:-4, 3:-3].max() < 0.5
    assert off.max() < 2
    assert rectified.rect.shape == (RECTIFIED.height, RECTIFIED.width, 3)
    x = np.round(CELLS[4:40, 4:52, 1] * RECTIFIED.square_width).astype(int)
    y = np.round(CELLS[4:40, 4:52, 0] * RECTIFIED.square_height).astype(int)
    assert rectified.rect[y, x].max() < 60  # every spot on its lattice point
    assert rectified.page_score > 0.7


def test_a_blank_photo_has_no_page(keypoints):
    blank = np.full((*PAGE_SHAPE, 3), 255, np.uint8)
    with pytest.raises(PageNotFound, match="0 of 13"):
        Straightener(KnownMarkers(blank, np.full((13, 2), np.nan), 0), DarkSpots()).straighten(blank)
    with pytest.raises(PageNotFound, match="grid points"):
        Straightener(KnownMarkers(blank, keypoints, 0), DarkSpots()).straighten(blank)


@pytest.mark.parametrize(("rows", "columns"), [(0, 0), (0, -1), (1, 2), (-2, 1)])
def test_the_ends_of_the_leads_put_a_wrong_numbering_right(rows, columns):
    truth = bent()
    wrong = np.roll(truth, (rows, columns), axis=(0, 1))[LABEL_ROWS, LABEL_COLUMNS]
    ends = draw_frame_map(lattice_at(truth, np.array(LEAD_BOUNDARIES)), 2)
    points = draw_frame_map(truth.reshape(-1, 2), 2)
    grid = decode_grid(points, page_with(wrong), ends)
    assert squares_off(grid.gridpoint_xy, truth)[4:-4, 3:-3].max() < 0.03
    untouched = decode_grid(points, page_with(wrong), np.zeros_like(ends))
    assert (squares_off(untouched.gridpoint_xy, truth).max() < 0.5) == (rows == columns == 0)


def test_a_lattice_is_read_between_its_points():
    lattice = np.stack([CELLS[..., 1] * 3.0 + 1, CELLS[..., 0] * 2.0 - 5], axis=-1)
    places = np.array([[0, 0], [19.25, 3.5], [43, 56], [10, 55.75]])
    np.testing.assert_allclose(lattice_at(lattice, places), places[:, ::-1] * (3, 2) + (1, -5))


def test_a_page_is_guessed_from_few_right_names_among_wrong_ones():
    truth = reference_points(np.array(LEAD_LABEL_POINTS)) * 1.3 + (40, -25)
    points = np.full((13, 2), np.nan)
    for index in (0, 7, 11, 12):
        points[index] = truth[index]
    for index, place in ((3, (500, 400)), (6, (480, 700)), (10, (600, 900))):
        points[index] = place
    page = guess_page(points, np.where(np.isfinite(points[:, 0]), 0.5, 0.0))
    np.testing.assert_allclose(
        map_points(truth, page.homography), reference_points(LEAD_LABEL_POINTS), atol=0.5
    )
    assert np.isfinite(page.keypoints[:, 0]).sum() == 4
    points[12] = np.nan
    assert guess_page(points, np.where(np.isfinite(points[:, 0]), 0.5, 0.0)) is None


def test_a_squeezed_page_is_refused():
    points = reference_points(np.array(LEAD_LABEL_POINTS)) * (0.5, 1.0)
    with pytest.raises(PageNotFound, match="squeezed"):
        locate_page(points, np.ones(13), PAGE_SHAPE)


@pytest.mark.parametrize("orientation", range(8))
def test_the_mirrored_class_shows_the_page_with_left_and_right_swapped(orientation):
    page = np.arange(12).reshape(3, 4)
    seen = undo_orientation(apply_orientation(page, orientation), mirrored_class(orientation))
    np.testing.assert_array_equal(seen, page[:, ::-1])


@pytest.mark.parametrize(("evidence", "looks"), [(15.0, [0]), (11.0, [0, 6]), (8.0, list(range(8)))])
def test_a_likely_turn_is_tried_against_its_mirror_image_alone(evidence, looks, monkeypatch):
    image, seen = np.arange(12 * 16).reshape(12, 16), []

    def read(upright, *_):
        turn_seen = next(k for k in range(8) if np.array_equal(undo_orientation(image, k), upright))
        seen.append(turn_seen)
        page = PageLocation(0, np.zeros((13, 2)), np.ones(13), np.eye(3), np.ones(13))
        return Candidate(0, evidence if turn_seen == 0 else 1.0, page, "", head=0)

    monkeypatch.setattr("digitization.geometry.search.read_view", read)
    candidates = try_orientations(image, None, "cpu", every=True)
    assert seen == looks
    assert rank_pages(candidates)[0].orientation == 0
