"""Close-ups of where rows begin and leads follow one another: their samples, and the likeliest places."""

import numpy as np
import pytest
import torch

from configs.close_ups import CLOSE_UP, PLACES, PX_PER_SQUARE, config
from configs.layouts import find_layout
from datasets.close_ups import CloseUpSamples
from digitization.geometry.close_ups import close_up, close_ups, column_of
from digitization.layout.boundaries import find_places, likeliest_places, list_marks
from models.close_ups import CloseUpsNet
from synthesis.layouts.capture import capture_layout
from synthesis.layouts.page import draw_layout_page
from tests.test_layout_pages import stepped_record
from training.losses import close_ups_loss

COLUMNS = np.arange(CLOSE_UP[1])
LAYOUT = find_layout("3x4+II")
ZERO_LINES = np.array([4.0, 9.0, 14.0, 19.0])


def seen_at(off: float, sigma: float = 2.0) -> np.ndarray:
    """The probability of each column of a close-up whose place lies `off` squares right of its middle."""
    bell = np.exp(-0.5 * ((COLUMNS - column_of(off)) / sigma) ** 2)
    return bell / bell.sum()


def flat() -> np.ndarray:
    return np.full(CLOSE_UP[1], 1 / CLOSE_UP[1])


def marks():
    return list_marks(LAYOUT, ZERO_LINES, 3.0, 50.0)


def test_a_row_of_four_leads_has_five_places_and_a_rhythm_strip_two():
    kinds = [PLACES[mark.kind] for mark in marks()]
    assert kinds == ["start", *["boundary"] * 3, "end"] * 3 + ["start", "end"]
    assert [mark.x for mark in marks()[:5]] == [3.0, 15.5, 28.0, 40.5, 53.0]


def test_all_close_ups_together_say_where_the_rows_begin():
    places = likeliest_places(marks(), np.stack([seen_at(0.31) for _ in marks()]))
    assert places.start == pytest.approx(0.31, abs=0.003)
    assert abs(places.slant) < 0.001
    assert places.width == 0
    assert places.certainty > 0.99


def test_prints_that_lie_askew_on_their_paper_are_recognized():
    askew = [seen_at(-0.2 + 0.02 * (mark.y - ZERO_LINES.mean())) for mark in marks()]
    places = likeliest_places(marks(), np.stack(askew))
    assert places.start == pytest.approx(-0.2, abs=0.005)
    assert places.slant == pytest.approx(0.02, abs=0.001)


def test_an_unusual_width_is_measured_and_a_usual_one_is_not():
    wider = np.stack([seen_at(0.1 + 0.3 * mark.share) for mark in marks()])
    assert likeliest_places(marks(), wider, width_is_known=False).width == pytest.approx(0.3, abs=0.01)
    assert likeliest_places(marks(), wider).width == 0


def test_close_ups_that_show_nothing_or_another_place_count_for_little():
    shown = np.stack([flat() if index % 2 else seen_at(0.15) for index in range(len(marks()))])
    shown[0] = shown[4] = seen_at(-0.8)
    places = likeliest_places(marks(), shown)
    assert places.start == pytest.approx(0.15, abs=0.01)
    assert likeliest_places(marks(), np.stack([flat() for _ in marks()])).certainty < 0.2


def test_a_boundary_lies_at_the_labelled_column_of_its_close_up():
    """A page whose leads are apart by a bar: the darkest column of the close-up is the target's."""
    layout = find_layout("3x4")
    rng = np.random.default_rng(5)
    capture = capture_layout(
        draw_layout_page(stepped_record(), layout, rng), "0001", rng, orientation=0, crop=False
    )
    samples = CloseUpSamples(config)
    page = samples.prepare_layout(capture, stepped_record(), rng)
    x, y = page["places"]["start"][0]
    piece = close_up(page["image"], page["grid"], x, y)
    shifted = close_up(page["image"], page["grid"], x - 0.5, y)
    by = round(0.5 * PX_PER_SQUARE)
    assert np.abs(piece[:, :-by].astype(float) - shifted[:, by:]).mean() < 3, "0.5 squares are 20 columns"
    for image, place, drawn_column in (samples.sample(page, rng) for _ in range(30)):
        assert image.shape == (*CLOSE_UP, 3)
        assert image.dtype == np.uint8
        assert 0 <= place[0] < len(PLACES)
        assert abs(drawn_column[0] - column_of(0)) <= config.place_error * PX_PER_SQUARE
    assert np.isnan(samples.sample(page | {"places": {}}, rng)[2])


def test_a_network_that_learnt_one_page_finds_its_places():
    layout = find_layout("3x4+II")
    rng = np.random.default_rng(8)
    capture = capture_layout(
        draw_layout_page(stepped_record(), layout, rng), "0001", rng, orientation=0, crop=False
    )

    class KnowsTheStart(torch.nn.Module):
        """Answers with the place at which the close-ups of this page show each mark."""

        def __init__(self):
            super().__init__()
            self.shown = 0

        def forward(self, image: torch.Tensor) -> torch.Tensor:
            self.shown += len(image)
            logits = torch.log(torch.from_numpy(seen_at(0.25)).float() + 1e-9)
            return logits.expand(len(image), len(PLACES), -1)

    net = KnowsTheStart()
    placed = list_marks(layout, capture.zero_lines, capture.start - 0.25, 50.0)
    places = find_places(capture.image, capture.gridpoint_xy, placed, net)
    assert places.start == pytest.approx(0.25, abs=0.003)
    assert net.shown == len(placed)
    outside = list_marks(layout, capture.zero_lines + 500, capture.start, 50.0)
    assert find_places(capture.image, capture.gridpoint_xy, outside, net).certainty == 0


def test_close_ups_beyond_the_image_are_white():
    image = np.zeros((300, 400, 3), np.uint8)
    lattice = np.stack(np.meshgrid(np.arange(0, 400, 40), np.arange(0, 300, 40)), axis=-1).astype(float)
    assert close_ups(image, lattice, [(-4.0, 3.0)]).min() == 255
    assert close_ups(image, lattice, [(4.0, 3.0)]).max() == 0


def test_the_loss_is_least_where_the_place_is_and_takes_no_notice_of_samples_without_one():
    place, column = torch.tensor([[1], [0]]), torch.tensor([[60.0], [float("nan")]])
    right = torch.full((2, len(PLACES), CLOSE_UP[1]), -8.0)
    right[0, 1] = torch.log(torch.from_numpy(seen_at((60 - column_of(0)) / PX_PER_SQUARE, 1.2)) + 1e-9)
    off = right.roll(7, dims=2)
    assert close_ups_loss(right, place, column, config) < close_ups_loss(off, place, column, config) - 1
    other = right.clone()
    other[1] = torch.randn(len(PLACES), CLOSE_UP[1])
    torch.testing.assert_close(
        close_ups_loss(right, place, column, config), close_ups_loss(other, place, column, config)
    )


def test_the_network_answers_for_each_place_and_column():
    net = CloseUpsNet(config).eval()
    with torch.inference_mode():
        assert net(torch.rand(2, 3, *CLOSE_UP)).shape == (2, len(PLACES), CLOSE_UP[1])
