"""The review in a real browser: a page of 6x2 is corrected, saved, and read back."""

import contextlib
import os
import shutil
import socket
import threading
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from configs.page import LEADS
from review.app import build_app
from review.record import read_record
from tests.review_pages import BENT_NODE, draw, write_run
from tests.test_any_page import beating_leads, likeness

sync_api = pytest.importorskip("playwright.sync_api", reason="Playwright is not installed")
uvicorn = pytest.importorskip("uvicorn", reason="uvicorn is not installed")
CHROMIUM = os.environ.get("CHROMIUM") or next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
TOKEN = "a-token-of-chance"
SLOWLY = 60_000  # ms that a busy machine may take to read a page

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium is installed (CHROMIUM may name one)"),
]


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@contextlib.contextmanager
def serve(desk):
    """A desk that is served; its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(build_app(desk, TOKEN, port, "an expert"), log_level="warning")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    yield f"http://127.0.0.1:{port}/?token={TOKEN}"
    server.should_exit = True
    thread.join(timeout=20)


@pytest.fixture
def served(tmp_path):
    """A run that is served; its folder and its address."""
    with serve(write_run(tmp_path / "out", ("six",), blank=True)) as address:
        yield tmp_path / "out", address


@pytest.fixture(params=[(1440, 900), (1024, 768)], ids=["1440", "1024"])
def page(browser, request):
    """A window; its errors fail the test."""
    width, height = request.param
    window = browser.new_page(viewport={"width": width, "height": height})
    errors: list[str] = []
    window.on("pageerror", lambda error: errors.append(str(error)))
    window.on("request", lambda r: errors.append(r.url) if "127.0.0.1" not in r.url else None)
    yield window
    window.close()
    assert errors == []


def open_page(page, address, name="six"):
    page.goto(address)
    page.get_by_role("link", name=name, exact=True).click()
    ready(page)


def ready(page, after=0):
    """Wait until a page is shown in a later revision."""
    deadline = time.monotonic() + SLOWLY / 1000
    while time.monotonic() < deadline:
        revision = page.locator("body").get_attribute("data-revision")
        idle = page.locator("#busy").inner_text() == ""
        if revision and int(revision) > after and idle:
            return int(revision)
        page.wait_for_timeout(50)
    raise AssertionError(f"revision {revision}, {page.locator('#problem').inner_text()}")


def on_screen(page, square):
    """Where a place in squares is on the screen, by the sheet's viewBox."""
    x, y, width, height = map(float, page.locator("#sheet").get_attribute("viewBox").split())
    box = page.locator("#sheet").bounding_box()
    return (
        box["x"] + (square[0] - x) / width * box["width"],
        box["y"] + (square[1] - y) / height * box["height"],
    )


def middle_of(locator):
    box = locator.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def handle(page, name, number):
    return page.locator(f'[data-handle="{name}"][data-number="{number}"]')


def drag(page, start, end):
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move((start[0] + end[0]) / 2, (start[1] + end[1]) / 2)
    page.mouse.move(*end)
    page.mouse.up()


def test_a_page_is_corrected_saved_and_read_back(page, served):
    folder, address = served
    original = pd.read_csv(folder / "six.csv")
    open_page(page, address)
    revision = ready(page)
    page.locator("#layout").fill("7x2")
    page.keyboard.press("Enter")
    page.locator("#problem:not([hidden])").wait_for(timeout=SLOWLY)
    assert "neither a grid" in page.locator("#problem").inner_text()
    page.keyboard.press("Escape")
    assert page.locator("#layout").input_value() == "6x2"
    page.locator("button[data-mode=rows]").click()
    grip = middle_of(handle(page, "boundary", 1))
    px_per_square = on_screen(page, (1, 0))[0] - on_screen(page, (0, 0))[0]
    drag(page, grip, (grip[0] - 5 * px_per_square, grip[1]))
    revision = ready(page, revision)
    assert page.locator("#corrections li").all_inner_texts() == ["layout 6x2", "boundary 1"]

    page.locator("button[data-mode=redraw]").click()
    zero = handle_y(page, 5)
    for square in (10, 14, 18):
        page.mouse.click(*on_screen(page, (square, zero - 1)))
    page.locator("#straight").check()
    page.locator("#sheet").focus()
    page.locator("#apply").click()
    revision = ready(page, revision)
    assert page.locator("#corrections li").count() == 3

    page.locator("#speed").fill("50")
    page.keyboard.press("Enter")
    revision = ready(page, revision)
    page.locator("#undo").click()
    revision = ready(page, revision)
    page.locator("#save").click()
    revision = ready(page, revision)
    assert page.locator("#saved").inner_text() == "saved"

    page.reload()
    ready(page)
    assert page.locator("#corrections li").count() == 3
    record = read_record(folder / "six.review.json")
    assert record.corrections.layout == "6x2"
    assert len(record.corrections.boundaries) == len(record.corrections.stretches) == 1
    leads = pd.read_csv(folder / "six.csv")
    assert leads["I"].notna().sum() == pytest.approx(2000, abs=25), "five squares are a second less"
    assert leads["V1"].notna().sum() == pytest.approx(3000, abs=25)
    redrawn = leads["aVF"][900:1500]
    assert redrawn.mean() == pytest.approx(0.5, abs=0.1), "a square above the zero line is half a millivolt"
    np.testing.assert_allclose(leads["II"][200:1900], original["II"][200:1900], atol=0.05)
    assert pd.read_csv(folder / "pages.csv", index_col="name").loc["six", "reviewed"] == "corrected"
    assert Path(folder / "six.overlay.jpg").exists()


def handle_y(page, row):
    """The zero line of a row in squares, by its grip in the mode of rows."""
    page.locator("button[data-mode=rows]").click()
    y = float(handle(page, "zero_line", row).get_attribute("cy"))
    page.locator("button[data-mode=redraw]").click()
    return y


def test_keys_accept_and_go_on_and_a_second_window_is_told(page, browser, served):
    folder, address = served
    open_page(page, address)
    ready(page)
    other = browser.new_page()
    open_page(other, address)
    first = ready(other)
    other.locator("#gain").fill("20")
    other.keyboard.press("Enter")
    ready(other, first)
    page.locator("#gain").fill("5")
    page.keyboard.press("Enter")
    page.locator("#problem:not([hidden])").wait_for(timeout=SLOWLY)
    assert "another window" in page.locator("#problem").inner_text()
    assert page.locator("#gain").input_value() == "20"
    page.keyboard.press("Escape")
    page.keyboard.press("a")
    page.get_by_role("heading", name="blank").wait_for(timeout=SLOWLY)
    page.get_by_text("no page is seen").first.wait_for(timeout=SLOWLY)
    assert pd.read_csv(folder / "pages.csv", index_col="name").loc["six", "reviewed"] == "accepted"
    other.close(run_before_unload=False)


def test_a_crossing_is_dragged_on_the_photo(page, tmp_path):
    """The lattice has lost count of the squares in one region; one crossing brings it back."""
    column, row = BENT_NODE
    true = draw().gridpoint_xy[row, column].tolist()
    folder = tmp_path / "out"
    desk = write_run(folder, ("six",), bent=True)
    found = desk.load(desk.store.entries()[0]).shown.page.gridpoint_xy[row, column].tolist()
    before = likeness_in(folder)
    with serve(desk) as address:
        open_page(page, address)
        revision = ready(page)
        page.keyboard.press("5")
        lattice = page.locator("path.lattice")
        lattice.wait_for(state="attached", timeout=SLOWLY)
        bent = lattice.get_attribute("d")
        page.mouse.move(*on_screen(page, found))
        for _ in range(4):
            page.mouse.wheel(0, -200)
        zoomed = page.locator("#sheet").get_attribute("viewBox")
        drag(page, on_screen(page, found), on_screen(page, true))
        revision = ready(page, revision)
        marked = page.locator(f'circle.moved[data-node="{column},{row}"]')
        marked.wait_for(state="attached", timeout=SLOWLY)
        assert lattice.get_attribute("d") != bent
        assert page.locator("#sheet").get_attribute("viewBox") == zoomed
        place = [float(marked.get_attribute(name)) for name in ("cx", "cy")]
        np.testing.assert_allclose(place, true, atol=2)
        page.keyboard.press("z")
        revision = ready(page, revision)
        marked.wait_for(state="detached", timeout=SLOWLY)
        lattice.wait_for(state="attached", timeout=SLOWLY)
        assert lattice.get_attribute("d") == bent
        drag(page, on_screen(page, found), on_screen(page, true))
        revision = ready(page, revision)
        if shots := os.environ.get("SHOTS"):  # a folder for pictures to look at
            marked.wait_for(state="attached", timeout=SLOWLY)
            page.screenshot(path=Path(shots) / f"crossing-{page.viewport_size['width']}.png")
        page.locator("#save").click()
        ready(page, revision)
        assert page.locator("#corrections li").all_inner_texts() == ["grid moved at 1 crossing"]
    (crossing,) = read_record(folder / "six.review.json").corrections.crossings
    np.testing.assert_allclose(crossing.found, found, atol=0.1)
    np.testing.assert_allclose(crossing.true, true, atol=2)
    assert before < 0.5
    assert likeness_in(folder) > 0.8, "as well as it is read on the true lattice"


def likeness_in(folder):
    """How much lead II as it is written resembles what was printed."""
    truth = beating_leads()[LEADS.index("II"), :2400]
    return likeness(pd.read_csv(folder / "six.csv")["II"].to_numpy()[:2400], truth)
