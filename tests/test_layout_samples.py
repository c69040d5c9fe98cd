"""What stage 2 is taught of pages of any layout: the traces lie where the targets say."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from configs.compact import config as compact
from configs.layouts import find_layout
from configs.stage0 import Stage0Config
from configs.stage2 import INPUT_HEIGHT, Stage2Config
from datasets.layouts import TRAINED_LAYOUTS, choose_layout, draw_layout, strips_to_learn
from datasets.pages import SyntheticPages
from datasets.stage0 import Stage0Samples
from datasets.stage2 import Stage2Samples
from models.stage2 import Stage2Net
from synthesis.layouts.capture import capture_layout
from synthesis.layouts.page import draw_layout_page
from synthesis.signals import Record
from tests.test_train import write_records
from training.stages import STAGES, row_powers
from utils.kaggle_metric import ratio_of

FS = 500


def waving_record() -> Record:
    """Slow waves of different phases, so that every row has a height of its own in every column."""
    seconds = np.arange(10 * FS) / FS
    leads = 0.3 * np.sin(2 * np.pi * 0.4 * seconds + np.arange(12)[:, None])
    return Record("waves", leads.astype(np.float32), FS)


def share_on_ink(page: dict, reach: int = 4) -> float:
    """The share of the target's columns in which the darkest pixels lie within reach of the target."""
    image, hits, total = page["image"].astype(int).sum(axis=2), 0, 0
    for row in page["y"]:
        for column in np.flatnonzero(np.isfinite(row))[20:-20:53]:
            y = round(float(row[column]))
            window = image[max(y - 14, 0) : y + 15, column]
            darkest = np.flatnonzero(window <= window.min() + 20).mean() - min(y, 14)
            hits += abs(darkest) <= reach
            total += 1
    return hits / total


@pytest.mark.parametrize("name", ["3x4", "6x2+II", "12x1", "cabrera-12x1", "3x2-limb"])
@pytest.mark.parametrize("changes", [{}, {"mm_per_second": 50.0, "duration_s": 5.0}, {"mm_per_mv": 20.0}])
def test_traces_lie_where_their_targets_say(name, changes):
    layout = find_layout(name, **changes)
    shares = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        drawn = draw_layout_page(waving_record(), layout, rng)
        capture = capture_layout(drawn, "0001", rng, orientation=0)
        page = strips_to_learn(capture, capture.gridpoint_xy, waving_record(), rng)
        assert page["image"].shape[0] == INPUT_HEIGHT
        assert np.isfinite(page["y"]).any(axis=1).sum() == min(layout.row_count, 4)
        shares.append(share_on_ink(page))
    assert np.median(shares) > 0.9  # lead labels and separators lie beside a trace


@pytest.mark.slow
def test_the_rows_are_laid_out_with_errors_as_those_found_have():
    drawn = draw_layout_page(waving_record(), find_layout("12x1"), np.random.default_rng(0))
    capture = capture_layout(drawn, "0001", np.random.default_rng(0), orientation=0)
    offsets = []
    for seed in range(20):
        page = strips_to_learn(capture, capture.gridpoint_xy, waving_record(), np.random.default_rng(seed))
        offsets.append(np.nanmean(page["y"], axis=1))
    assert 2 < np.std(np.stack(offsets), axis=0).mean() < 12  # px of 39.5 in a square


@pytest.mark.slow
def test_every_layout_that_is_trained_on_can_be_drawn():
    for number, name in enumerate(sorted(set(TRAINED_LAYOUTS))):
        drawn = draw_layout_page(waving_record(), find_layout(name), np.random.default_rng(number))
        assert drawn.layout.name == name
    names = {choose_layout(np.random.default_rng(seed)).name for seed in range(300)}
    assert names == set(TRAINED_LAYOUTS)
    assert draw_layout(waving_record(), "0003", np.random.default_rng(1)).orientation == 0


def test_a_share_of_the_pages_has_other_layouts_and_only_stage_2_learns_from_them(tmp_path):
    write_records(tmp_path / "records")
    records = sorted((tmp_path / "records").glob("*.hea"))
    samples = Stage2Samples(replace(Stage2Config(), layout_share=1.0, crop_columns=256))
    page = SyntheticPages(records, samples, ("0001",))(np.random.default_rng(2))
    image, y = samples.sample(page, np.random.default_rng(3))
    assert image.shape == (INPUT_HEIGHT, 256, 3)
    assert np.isfinite(y).any()
    other = Stage0Samples(replace(Stage0Config(), layout_share=1.0), 4)
    with pytest.raises(ValueError, match="only stage 2"):
        SyntheticPages(records, other, ("0001",))(np.random.default_rng(2))


def test_rows_of_any_layout_are_scored_by_their_traces():
    truth = np.full((4, 300), np.nan, np.float32)
    truth[:3, 20:280] = 50 * np.sin(np.arange(260) / 9) + np.array([[100], [300], [500]])
    found = truth[:3] + np.array([[0], [5], [0]])  # one of three rows is off by a tenth of its amplitude
    powers = row_powers(truth, found)
    assert len(powers) == 3
    assert powers[0][1] == 0
    assert ratio_of(powers, None) == pytest.approx(3 * 50**2 / 2 / 5**2, rel=0.05)


@pytest.mark.slow
def test_pages_of_other_layouts_are_validated_on_as_often_as_trained_on(tmp_path):
    write_records(tmp_path / "records")
    net = Stage2Net(replace(compact, layout_share=0.5)).eval()
    pages = STAGES[2].validation(tmp_path / "records", 4, Stage2Samples(net.config))
    assert ["group" in page.page for page in pages] == [False, True, False, True]
    score, facts = STAGES[2].validate(net, pages, torch.device("cpu"))
    assert np.isfinite(score)
    assert {"score", "layouts", "flat"} <= set(facts)
