"""Stage 2's samples: a trace lies where its target says, wherever the sample was cut, flipped or moved."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.page import LEADS, MASK_WIDTH, RECTIFIED
from configs.stage2 import CROP_TOP, INPUT_HEIGHT, LOSSES, Stage2Config
from datasets.stage2 import Stage2Samples, choose_left, target_columns
from utils.losses import stage2_loss

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
    for image, y in sample_often(draw_page(), 400, horizontal_flip=0.5, colours=False):
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
    for _, target in sample_often(page, 80, colours=False):
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
