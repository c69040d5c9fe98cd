"""Samples of all stages: what the target says is where the image shows it, however the sample was made."""

import io
from collections.abc import Iterator
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from configs.page import LEADS, MASK_WIDTH, RECTIFIED
from configs.stage0 import Stage0Config
from configs.stage0_compact import config as stage0_compact
from configs.stage1 import Stage1Config
from configs.stage1_compact import config as stage1_compact
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, LOSSES, Stage2Config
from datasets.augmentation import augment_colours
from datasets.stage0 import Stage0Samples
from datasets.stage1 import Stage1Samples
from datasets.stage2 import Stage2Samples, choose_left, target_columns
from digitization.geometry.orientation import undo_orientation
from synthesis.capture import Capture, label_keypoints
from synthesis.scene import jpeg_roundtrip
from synthesis.signals import Record
from training.losses import stage0_loss, stage1_loss, stage2_loss

EMPTY_RECORD = Record("none", np.zeros((12, 5000), np.float32), 500)  # stages 0 and 1 do without signals

WIDTH = 128  # px of a sample
BEGIN = MASK_WIDTH - 300  # the first column of the signal; the last is the page's last
LEVEL = 500  # px, of a row that is flat, so that it shows how far a sample was moved


def draw_page() -> dict:
    """Four traces, one pixel thick; that of row r has the value 1 + r, the paper 255."""
    columns = np.arange(MASK_WIDTH - BEGIN)
    y = np.full((4, MASK_WIDTH), np.nan, np.float32)
    rise, flat = 50 + columns, np.full_like(columns, LEVEL)
    steps, wave = 650 + 30 * (columns // 40 % 2), np.round(900 + 90 * np.sin(columns / 15))
    y[:, BEGIN:] = rise, flat, steps, wave
    image = np.full((INPUT_HEIGHT, MASK_WIDTH, 3), 255, np.uint8)
    for row, heights in enumerate(y[:, BEGIN:]):
        image[heights.astype(int), columns + BEGIN] = 1 + row
    return {"image": image, "y": y}


def sample_often(page: dict, times: int, **changes) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    config = replace(Stage2Config(), crop_columns=WIDTH, **changes)
    rng = np.random.default_rng(0)
    for _ in range(times):
        image, y = Stage2Samples(config).sample(page, rng)
        yield image, y


def test_a_trace_lies_where_its_target_says_in_samples_cut_flipped_and_moved():
    shift = Stage2Config.shift
    flips, shifts, reached = set(), set(), 0
    for image, y in sample_often(draw_page(), 400, horizontal_flip=0.5, colour_augmentation=False):
        assert image.shape == (INPUT_HEIGHT, WIDTH, 3)
        assert y.shape == (4, WIDTH)
        for row, heights in enumerate(y):
            drawn = image[..., 0] == 1 + row  # (H, W)
            np.testing.assert_array_equal(drawn.any(axis=0), np.isfinite(heights))
            known = np.isfinite(heights)
            np.testing.assert_allclose(drawn.argmax(axis=0)[known], heights[known], atol=0.5)
        known = np.isfinite(y[0])
        flips.add(float(np.sign(np.diff(y[0, known])[0])))
        shifts |= set((y[1, known] - LEVEL).astype(int).tolist())
        reached += (y[0, known] - y[1, known]).max() == 50 + MASK_WIDTH - BEGIN - 1 - LEVEL
    assert flips == {-1.0, 1.0}
    assert shifts == set(range(-shift, shift + 1))
    assert reached > 0, "no sample shows the last column of the signal"


def test_the_ends_of_the_signal_are_shown_at_least_as_often_as_its_middle():
    known = np.flatnonzero(np.isfinite(target_columns(np.zeros((len(LEADS), 2500), np.float32))[0]))
    shown, rng = np.zeros(MASK_WIDTH), np.random.default_rng(0)
    for _ in range(4000):
        left = choose_left(known, Stage2Config.crop_columns, rng)
        shown[left : left + Stage2Config.crop_columns] += 1
    middle = np.median(shown[known])
    ends = shown[known[[*range(12), *range(-12, 0)]]]  # 30 ms
    assert 1.0 < ends.min() / middle < ends.max() / middle < 2.0


@pytest.mark.parametrize("loss", LOSSES)
def test_heights_beside_the_crop_count_for_nothing_and_leave_the_loss_finite(loss):
    leads = np.zeros((len(LEADS), 2500), np.float32)
    leads[0, 100:200], leads[0, 300:400] = 3.3, 6.0  # mV, in the top row: the second is above the crop
    leads[1, 300:400] = -12.0  # in the rhythm strip too, where it is below
    y = target_columns(leads)
    known = np.isfinite(y)
    assert not np.isinf(y).any()
    assert (known.all(axis=0) == known.any(axis=0)).all()
    tall = y[0, round(RECTIFIED.signal_start + 0.6 * RECTIFIED.px_per_second)]
    assert tall == pytest.approx(RECTIFIED.zero_lines[0] - CROP_TOP - 3.3 * RECTIFIED.px_per_mv, abs=0.5)
    assert np.nanmin(y[0]) < 0 < tall
    assert np.nanmax(y[3]) > INPUT_HEIGHT
    page = {"image": np.zeros((INPUT_HEIGHT, MASK_WIDTH, 3), np.uint8), "y": y}
    config = replace(Stage2Config(), loss=loss)
    outside = 0
    for _, target in sample_often(page, 80, colour_augmentation=False):
        heights = torch.from_numpy(np.ascontiguousarray(target))[None]
        logits = torch.randn(1, 4, INPUT_HEIGHT // 4, WIDTH, requires_grad=True)
        value = stage2_loss(logits, heights, 4, config)
        value.backward()
        assert torch.isfinite(value)
        assert torch.isfinite(logits.grad).all()
        beside = (heights < 0) | (heights >= INPUT_HEIGHT)
        outside += int(beside.sum())
        torch.testing.assert_close(
            stage2_loss(logits, heights.masked_fill(beside, torch.nan), 4, config), value
        )
    assert outside


def mark_keypoints(points: np.ndarray, shape: tuple[int, int], radius: int) -> Capture:
    """A white page with a disc of its own grey value, 10 * (1 + index), about each of some points."""
    image = np.full((*shape, 3), 255, np.uint8)
    for index, (x, y) in enumerate(points):
        cv2.circle(image, (round(x), round(y)), radius, (10 * (1 + index),) * 3, -1)
    return Capture(image, np.zeros((44, 57, 2), np.float32), np.asarray(points, np.float32), 0)


def test_each_lead_label_is_taught_where_the_image_shows_it():
    """Stage 0's samples scaled, shifted and turned: the class at a keypoint is that keypoint's."""
    rng = np.random.default_rng(1)
    config = replace(stage0_compact, colour_augmentation=False)
    samples = Stage0Samples(config, stride=4)
    corner = np.array([300, 250]) + 150 * np.stack(np.divmod(np.arange(13), 5)[::-1], axis=1)
    page = samples.prepare(mark_keypoints(corner, (1100, 1400), 14), EMPTY_RECORD, rng)
    upright = turned = checked = 0
    for _ in range(60):
        image, classes, orientation = samples.sample(page, rng)
        assert image.shape == (config.canvas_height, config.input_width, 3)
        if orientation[0]:
            turned += 1
            assert not classes.any(), "a turned page teaches no lead labels"
            continue
        upright += 1
        for y, x in np.argwhere(classes):
            patch = image[4 * y : 4 * y + 4, 4 * x : 4 * x + 4, 0].astype(float)
            if np.ptp(patch) == 0 and patch[0, 0] not in (0, 255):
                assert round(patch[0, 0] / 10) == classes[y, x]
                checked += 1
    assert min(upright, turned) > 5
    assert checked > 500


@pytest.mark.slow
def test_orientations_are_taught_as_the_image_is_turned():
    """A page that is dark at its top left corner: the taught orientation undone, it is dark there again."""
    image = np.full((600, 800, 3), 255, np.uint8)
    image[:150, :80] = 40  # twice as high as wide, so that a mirrored turn shows
    capture = Capture(image, np.zeros((44, 57, 2)), np.full((13, 2), 300.0), 0)
    samples = Stage0Samples(
        replace(stage0_compact, colour_augmentation=False, geometric_augmentation=False), stride=4
    )
    rng, seen = np.random.default_rng(2), set()
    for _ in range(200):
        shown, _, orientation = samples.sample(samples.prepare(capture, EMPTY_RECORD, rng), rng)
        upright = undo_orientation(shown, int(orientation[0]))
        rows, columns = np.nonzero((upright[..., 0] > 20) & (upright[..., 0] < 100))
        paper = np.nonzero(upright[..., 0] > 200)
        assert rows.mean() < paper[0].mean()
        assert columns.mean() < paper[1].mean()
        assert np.ptp(rows) > np.ptp(columns)
        seen.add(int(orientation[0]))
    assert len(seen) == 8


def test_grid_points_and_lead_boundaries_are_taught_where_the_image_shows_them():
    """Stage 1's samples: the target peaks at a dot that was drawn at each grid point, and nowhere else."""
    rows, columns = np.mgrid[:44, :57]
    grid = np.stack([460 + 40.0 * columns, 450 + 40.0 * rows], axis=-1).astype(np.float32)
    image = np.full((2650, 3220, 3), 255, np.uint8)  # wider than the frame of stage 1
    for x, y in grid.reshape(-1, 2):
        cv2.circle(image, (round(x), round(y)), 4, (0, 0, 0), -1)
    capture = Capture(image, grid, label_keypoints(grid), 0)
    rng = np.random.default_rng(3)
    samples = Stage1Samples(replace(stage1_compact, colour_augmentation=False), stride=2)
    page = samples.prepare(capture, EMPTY_RECORD, rng)
    boundaries = 0
    for _ in range(8):
        shown, target = samples.sample(page, rng)
        dark = 255 - cv2.resize(shown[..., 0], target.shape[:0:-1], interpolation=cv2.INTER_AREA).astype(
            float
        )
        points = target[0].astype(float)
        assert points.max() > 0.9
        assert dark[points > 0.9].mean() > 100
        assert dark[points < 0.01].mean() < 10
        boundaries += int((target[1] > 0.8).sum())
    assert boundaries > 0, "no crop shows where a lead begins or ends"


def test_colours_are_changed_and_nothing_moves():
    image = np.full((64, 96, 3), 255, np.uint8)
    image[8:24, 10:30] = 0
    rng = np.random.default_rng(4)
    seen = changes = 0
    for _ in range(60):
        changed = augment_colours(image, rng).astype(float)
        changes += np.abs(changed - image).max() > 20
        changed = changed.mean(axis=2)
        darker = np.argwhere(changed < changed[40:, 40:].min() - 20) + 0.5
        if len(darker) < 100:  # noise hides the square
            continue
        np.testing.assert_allclose(darker.mean(axis=0), (16, 20), atol=1)
        seen += 1
    assert min(seen, changes) > 30


def test_an_augmented_jpeg_is_what_cameras_write():
    """The luma weights of red and blue differ, so that a file of swapped channels loses other details."""
    image = np.full((64, 64, 3), 255, np.uint8)
    image[::3] = (250, 150, 150)
    image[:, ::7] = (30, 30, 60)
    stored = io.BytesIO()
    Image.fromarray(image).save(stored, "JPEG", quality=60)
    expected = np.asarray(Image.open(stored)).astype(float)
    got = jpeg_roundtrip(image, 60).astype(float)
    swapped = jpeg_roundtrip(np.ascontiguousarray(image[..., ::-1]), 60)[..., ::-1].astype(float)
    assert np.abs(got - expected).mean() < 0.5 * np.abs(swapped - expected).mean()


def marked(strength: torch.Tensor) -> dict[str, torch.Tensor]:
    """Stage 0's output of an upright page: (20, 20) logits of the first lead label, of class none as 0."""
    marker = torch.full((1, 14, 20, 20), -20.0)
    marker[:, 0], marker[0, 1] = 0, strength
    return {"marker": marker, "orientation": torch.eye(8)[:1] * 20}


def test_a_lead_label_that_is_missed_costs_more_than_one_too_many():
    """Labels cover a hundredth of a page: what is missed among them must not drown in the rest."""
    classes, upright = torch.zeros((1, 20, 20), dtype=torch.uint8), torch.tensor([[0]])
    here, there = (slice(4, 8), slice(4, 8)), (slice(14, 18), slice(14, 18))
    classes[0][here] = 1
    seen = torch.full((20, 20), -8.0)
    seen[here] = 8.0
    missed, too_many = seen.clone(), seen.clone()
    missed[here], too_many[there] = -8.0, 8.0
    right, miss, more = (
        float(stage0_loss(marked(each), classes, upright, Stage0Config()))
        for each in (seen, missed, too_many)
    )
    assert right < 0.01
    assert miss > 2 * more > 10 * right


def test_an_error_at_a_qrs_costs_more_than_the_same_error_on_a_flat_stretch():
    y = torch.full((1, 4, 64), 800.0)
    y[..., 30:34] = torch.tensor([760.0, 700.0, 700.0, 760.0])
    bins = torch.arange(INPUT_HEIGHT // 4, dtype=torch.float32)[:, None]

    def loss(wrong: slice) -> float:
        read = y.clone()
        read[..., wrong] += 12.0  # px
        centre = (read + 0.5) / 4 - 0.5
        return float(stage2_loss(-0.5 * (bins - centre[:, :, None]) ** 2, y, 4, Stage2Config()))

    right, flat, steep = loss(slice(0)), loss(slice(5, 9)), loss(slice(30, 34))
    assert steep - right > 1.5 * (flat - right) > 0


@pytest.mark.parametrize("stage", [0, 1])
def test_losses_of_stages_0_and_1_fall_when_the_prediction_is_right(stage):
    """From nothing predicted to the truth the loss falls, to another's place it rises."""
    place, elsewhere = (slice(None), slice(4, 8), slice(4, 8)), (slice(None), slice(14, 18), slice(14, 18))

    def loss(where, strength: float) -> float:
        if stage == 0:
            classes = torch.zeros((1, 20, 20), dtype=torch.uint8)
            classes[place] = 3
            marker = torch.zeros((1, 14, 20, 20))
            marker[:, 0] = 4
            marker[:, 3][where] += 4 + strength
            orientation = torch.zeros((1, 8))
            orientation[0, 2 if where is place else 5] = strength
            output = {"marker": marker, "orientation": orientation}
            return float(stage0_loss(output, classes, torch.tensor([[2]]), Stage0Config()))
        target = torch.zeros((1, 2, 20, 20))
        target[:, 0][place] = target[:, 1][place] = 1
        maps = {"gridpoint": torch.full((1, 1, 20, 20), -4.0), "leadend": torch.full((1, 1, 20, 20), -4.0)}
        for head in maps.values():
            head[:, 0][where] += 2 * strength
        return float(stage1_loss(maps, target, Stage1Config()))

    nothing = loss(place, 0)
    assert loss(place, 4) < 0.5 * nothing
    assert loss(elsewhere, 4) > nothing
