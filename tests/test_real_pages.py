"""The shipped stages 0 and 1 on what is no page of ours: real ones, and papers that are not to be read."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from digitization.digitizer import Digitizer
from digitization.geometry.locate import PageNotFound
from digitization.geometry.orientation import apply_orientation
from digitization.geometry.straighten import RectifiedPage, Straightener
from tests.shared import SHARED, needs_shared
from utils.images import read_rgb

SAMPLE = Path(__file__).resolve().parents[1] / "samples/train/661291825/661291825-0001.png"


@pytest.fixture(scope="module")
def digitizer() -> Digitizer:
    return Digitizer(device="cpu")


@pytest.fixture(scope="module")
def straightener(digitizer) -> Straightener:
    return digitizer.straightener


@pytest.fixture(scope="module")
def sample() -> np.ndarray:
    return read_rgb(SAMPLE)


@pytest.mark.slow
@needs_shared
def test_the_public_page_has_its_grid_where_its_reference_says(straightener):
    overlay = read_rgb(SHARED / "docs/reference/640106434-0001.overlay.png")
    truth = np.load(SHARED / "docs/reference/640106434-0001.gridpoint_xy.npy")
    page = straightener.straighten(np.clip(overlay.astype(int) * 4, 0, 255).astype(np.uint8))
    off = np.linalg.norm(page.gridpoint_xy - truth, axis=-1)[:, :-1]  # the last column is cut off there
    assert np.median(off) < 0.5  # whole pixels in the reference make 0.38 of it
    assert page.page_score > 0.9


WHOLE_PAGES = ("scans/*.png", "renders/*.png", "competition/*-0001.png")  # of our layout, at full size


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize(
    "path",
    sorted(p for part in WHOLE_PAGES for p in SHARED.glob(f"samples/{part}")),
    ids=lambda path: path.stem,
)
def test_real_pages_are_found_and_trusted(straightener, path):
    page = straightener.straighten(read_rgb(path))
    assert page.doubts == []
    assert page.slip is None  # renders never saw a scanner, and this scanner's feed was steady


@pytest.mark.slow
@needs_shared
@pytest.mark.parametrize("name", ["1006867983-0003", "46930936-0003"])
def test_thumbnails_of_the_competitions_scans_are_found_and_their_slip(straightener, name):
    page = straightener.straighten(read_rgb(SHARED / f"samples/competition/{name}.small.png"))
    assert page.orientation == 0
    assert page.page_score > 0.7
    assert page.slip.columns == pytest.approx([44.5], abs=0.8)  # square 44 is the narrow one


@pytest.fixture(scope="module")
def upright(straightener, sample) -> RectifiedPage:
    """The page that lies as it was printed."""
    return straightener.straighten(sample)


@pytest.mark.slow
@pytest.mark.parametrize("orientation", range(8))
def test_a_page_is_found_alike_in_all_orientations(straightener, sample, upright, orientation):
    turned = straightener.straighten(apply_orientation(sample, orientation))
    assert (upright.orientation, turned.orientation) == (0, orientation)
    assert np.abs(turned.gridpoint_xy - upright.gridpoint_xy).max() < 0.1


def draw_graph_paper() -> np.ndarray:
    paper = np.full((1700, 2200, 3), 255, np.uint8)
    for step, colour in ((7.874, (254, 223, 219)), (39.37, (255, 0, 0))):
        for x in np.arange(0, 2200, step):
            paper[:, int(x)] = colour
        for y in np.arange(0, 1700, step):
            paper[int(y)] = colour
    return paper


def write_text(paper: np.ndarray) -> np.ndarray:
    for y in range(60, 1660, 40):
        words = "Lorem ipsum V1 aVR dolor II sit amet V4 consectetur"
        cv2.putText(paper, words, (60, y), cv2.FONT_HERSHEY_SIMPLEX, 1.1, (20, 20, 20), 2)
    return paper


def lay_out_six_by_two(page: np.ndarray) -> np.ndarray:
    """The twelve leads one below the other in two columns, on paper of the same grid."""
    paper = draw_graph_paper()
    for index, name in enumerate(("I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6")):
        x, y = 118 + index // 6 * 985, 200 + index % 6 * 250
        paper[y - 120 : y + 120, x : x + 985] = page[570:810, 118:1103]
        paper[y + 30 : y + 70, x : x + 80] = 255
        cv2.putText(paper, name, (x + 5, y + 60), cv2.FONT_HERSHEY_SIMPLEX, 0.9, (0, 0, 0), 2)
    return paper


def hide_ink(page: np.ndarray) -> np.ndarray:
    dark = (page.min(axis=-1) < 60).astype(np.uint8)
    around = cv2.dilate(dark, np.ones((5, 5), np.uint8))  # the grey of their edges is ink too
    return np.where(around[..., None] > 0, 255, page).astype(np.uint8)


OTHERS = {  # beside those of tests/faults.py: noise, two pages, a cat
    "graph paper": lambda page: draw_graph_paper(),
    "text": lambda page: write_text(np.full((1700, 2200, 3), 250, np.uint8)),
    "text on graph paper": lambda page: write_text(draw_graph_paper()),
    "left half": lambda page: page[:, :1100],
    "right half": lambda page: page[:, 1100:],
    "upper half": lambda page: page[:850],
    "lower half": lambda page: page[850:],
    "two columns of six leads": lay_out_six_by_two,
    "grid without ink": hide_ink,
    "squeezed to 0.6": lambda page: cv2.resize(page, (1320, 1700)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", OTHERS)
def test_other_papers_are_never_read_silently(digitizer, sample, name):
    """They are refused, doubted, or read as what they are: the left half of a page shows the limb leads."""
    other = np.ascontiguousarray(OTHERS[name](sample))
    try:
        page = digitizer(other)
    except PageNotFound:
        return
    if name == "left half" and not page.doubts:
        assert page.layout.name == "3x2-limb"
        assert np.isnan(page.leads[6:]).all()
        assert page.limb_residual < 0.01
    else:
        assert page.doubts


def test_a_page_squeezed_to_less_is_read_and_told(straightener, sample):
    page = straightener.straighten(cv2.resize(sample, (2200, 1360)))
    assert page.calibration.aspect == pytest.approx(0.8, abs=0.02)
    assert any("0.80 times as tall as wide" in doubt for doubt in page.doubts)
