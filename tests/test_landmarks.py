"""The landmarks of drawn pages: the network's targets lie on what is printed, and are found again in maps."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.landmarks import KEYPOINTS, MAPS, PX_PER_SQUARE, config
from configs.layouts import Layout, find_layout
from datasets.landmarks import LandmarkSamples
from digitization.geometry.paper import PaperGrid
from digitization.geometry.straight_paper import StraightPaper, straighten_paper
from digitization.layout.landmarks import find_landmarks
from digitization.layout.match import match_layout
from digitization.layout.page import NOTHING_KNOWN, LayoutPage, place_layout
from synthesis.layouts.capture import LayoutCapture, capture_layout
from synthesis.layouts.page import draw_layout_page
from tests.test_layout_pages import stepped_record

STRIDE = 4
IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])
CASES = (
    *(("3x4+II", 25, 10), ("3x4+V1+II+V5", 25, 10), ("6x2", 25, 5), ("12x1", 25, 20), ("6x1-chest", 25, 10)),
    *(("6x2+II", 50, 10), ("cabrera-6x2", 25, 10), ("3x4", 25, 10)),
)


class KnowsTheTargets(torch.nn.Module):
    """A network that answers with the targets themselves; where the image is padded it sees no label."""

    def __init__(self, classes: np.ndarray, maps: np.ndarray):
        super().__init__()
        keypoint = torch.nn.functional.one_hot(torch.from_numpy(classes).long(), 1 + len(KEYPOINTS))
        self.keypoint = 12.0 * keypoint.permute(2, 0, 1)[None].float()
        self.maps = torch.logit(torch.from_numpy(maps)[None].float() / 255, eps=1e-4)

    def forward(self, image: torch.Tensor) -> dict[str, torch.Tensor]:
        below, right = (image.shape[2 + side] // STRIDE - self.maps.shape[2 + side] for side in (0, 1))
        pad = torch.nn.functional.pad
        return {
            "keypoint": pad(self.keypoint, (0, right, 0, below), mode="replicate"),
            "maps": pad(self.maps, (0, right, 0, below), value=-9.0),
        }


def captured(layout: Layout, seed: int, image_type: str = "0001") -> LayoutCapture:
    rng = np.random.default_rng(seed)
    page = draw_layout_page(stepped_record(), layout, rng)
    return capture_layout(page, image_type, rng, orientation=0, crop=False)


def targets_of(capture: LayoutCapture) -> tuple[StraightPaper, np.ndarray, np.ndarray]:
    """The straightened paper, its classes and its maps."""
    samples = LandmarkSamples(config, STRIDE)
    page = samples.prepare_layout(capture, stepped_record(), np.random.default_rng(0))
    height, width = (side // STRIDE * STRIDE for side in page["inside"].shape)
    inside = page["inside"][:height, :width].astype(np.uint8)
    paper = StraightPaper(page["image"], page["inside"], page["corner"], PX_PER_SQUARE)
    return paper, *samples.targets(page, IDENTITY, inside)


def found_with_targets(capture: LayoutCapture) -> LayoutPage:
    paper, classes, maps = targets_of(capture)
    landmarks = find_landmarks(paper, KnowsTheTargets(classes, maps))
    grid = PaperGrid(capture.gridpoint_xy, np.ones(capture.gridpoint_xy.shape[:2], bool), 1.0, 1.0)
    match = match_layout(landmarks)
    assert match is not None
    return place_layout(0, grid, landmarks, match, NOTHING_KNOWN)


@pytest.mark.parametrize(("name", "speed", "gain"), CASES)
def test_what_is_drawn_is_what_is_found(name, speed, gain):
    layout = find_layout(
        name, mm_per_second=float(speed), mm_per_mv=float(gain), duration_s=5.0 if speed > 25 else 10.0
    )
    capture = captured(layout, seed=len(name))
    page = found_with_targets(capture)
    assert page.layout.name == name
    assert page.score > 0.95
    assert page.start == pytest.approx(capture.start, abs=0.06)
    np.testing.assert_allclose(page.zero_lines, capture.zero_lines, atol=0.06)
    if page.speed.is_known:
        assert page.layout.mm_per_second == speed
        assert page.width == pytest.approx(layout.duration_s * speed / 5, abs=0.1)
    if page.gain.is_known:
        assert page.layout.mm_per_mv == gain


def test_speed_and_gain_that_are_printed_are_found():
    layout = find_layout("6x2", mm_per_second=50.0, duration_s=5.0, mm_per_mv=5.0)
    known = []
    for seed in range(8):
        capture = captured(layout, seed)
        page = found_with_targets(capture)
        assert page.speed.is_known or not any(name.endswith("mm/s") for name, *_ in capture.page.scales)
        assert page.gain.is_known or (not capture.page.scales and not len(capture.page.pulses))
        known.append((page.layout.mm_per_second, page.layout.mm_per_mv) if page.speed.is_known else None)
    assert {scales for scales in known if scales} == {(50.0, 5.0)}


@pytest.mark.parametrize("image_type", ["0003", "0005"])
def test_targets_lie_on_the_ink_of_captured_pages(image_type):
    capture = captured(find_layout("3x4+II"), 3, image_type)
    paper, classes, maps = targets_of(capture)
    dark = 255.0 - paper.image.min(axis=2)[: classes.shape[0] * STRIDE, : classes.shape[1] * STRIDE]
    blocks = dark.reshape(classes.shape[0], STRIDE, classes.shape[1], STRIDE).max(axis=(1, 3))
    labelled = blocks[classes > 0].mean()
    around = blocks[classes == 0].mean()
    assert labelled > around + 20
    starts = maps[MAPS.index("start")]
    assert (starts > 250).sum() <= 4 * 2
    assert (starts > 200).any()


def test_samples_of_wrong_orientation_show_nothing_and_others_something():
    samples = LandmarkSamples(replace(config, crop_squares=(40, 57)), STRIDE)
    capture = captured(find_layout("3x4+II"), 5)
    page = samples.prepare_layout(capture, stepped_record(), np.random.default_rng(0))
    counts = []
    for seed in range(40):
        image, classes, maps = samples.sample(page, np.random.default_rng(seed))
        assert image.shape == (800, 1140, 3)
        assert classes.shape == (200, 285)
        assert maps.shape == (len(MAPS), 200, 285)
        assert (classes.max() > 0) == (maps.max() > 0)
        counts.append(classes.max() > 0)
    assert 0.7 < np.mean(counts) < 0.97


def test_straightened_paper_has_squares_of_one_size_whatever_the_photo():
    capture = captured(find_layout("3x4+II"), 2, "0005")
    paper = straighten_paper(capture.image, capture.gridpoint_xy, PX_PER_SQUARE)
    rows, columns = capture.gridpoint_xy.shape[:2]
    assert paper.image.shape[0] >= (rows - 2) * PX_PER_SQUARE
    assert paper.image.shape[1] <= (columns + 16) * PX_PER_SQUARE
    places = np.array([[0.0, 0.0], [columns - 1.0, rows - 1.0]])
    np.testing.assert_allclose(paper.to_squares(paper.to_px(places)), places, atol=1e-9)
    darkness = 255.0 - paper.image.mean(axis=2)
    inner = darkness[100:-100, 100:-100].mean(axis=0)
    spectrum = np.abs(np.fft.rfft(inner - inner.mean()))
    period = len(inner) / spectrum[5:].argmax().__add__(5)
    assert min(abs(period - PX_PER_SQUARE / part) for part in (1, 2, 3, 4, 5)) < 0.4
