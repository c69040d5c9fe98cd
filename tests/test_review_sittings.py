"""What a review finds again: drafts of a server that was killed, what predict.py was told, PDF pages."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import review.store
from configs.layouts import find_layout
from digitization.layout.page import NOTHING_KNOWN, Known
from prediction.pdf_files import process_file, read_page_image
from prediction.results import DONE, DOUBTFUL, FAILED, VECTOR, OutputOptions, Page
from prediction.runs import is_done, is_file_done, predict_images, reviewed_names
from prediction.table import page_journal
from review.corrections import Corrections
from review.record import known_of_json, known_to_json, read_record
from review.session import Desk
from review.store import CURVES, Store
from tests.review_pages import InkDigitizer, InkEngine, draw, write_run
from tests.test_review_store import HOST, client_of, corrected, entry_of, load_script
from utils.files import folder_lock
from utils.images import write_png

DPI = 100  # of a scan in a PDF file


def server_anew(desk) -> Desk:
    """The desk of a server started after another one ended."""
    return Desk(Store(desk.store.folder), desk.digitizer, desk.networks)


@pytest.fixture
def desk(tmp_path):
    return write_run(tmp_path / "out", ("six",))


def test_a_draft_outlives_the_server_and_can_be_undone(desk):
    page = desk.load(entry_of(desk))
    desk.act(page, {"do": "gain", "value": 20}, page.revision)
    assert page.is_kept
    before = (desk.store.folder / "six.csv").read_bytes()
    again = server_anew(desk)
    assert "changed, not saved yet" in client_of(again).get("/", headers=HOST).text
    opened = again.load(entry_of(again))
    assert (opened.corrections, opened.is_saved) == (Corrections(gain=20.0), False)
    assert opened.shown.layout.mm_per_mv == 20
    assert (desk.store.folder / "six.csv").read_bytes() == before
    assert entry_of(again).row["reviewed"] == ""
    again.act(opened, {"do": "undo"}, opened.revision)
    assert opened.is_saved
    assert read_record(desk.store.path("six")).draft is None


def test_a_draft_that_cannot_be_kept_is_still_there_and_said_so(desk):
    page = desk.load(entry_of(desk))
    with folder_lock(desk.store.folder):
        desk.act(page, {"do": "gain", "value": 20}, page.revision)
    assert not page.is_kept
    assert page.corrections == Corrections(gain=20.0)
    desk.act(page, {"do": "gain", "value": 5}, page.revision)
    assert page.is_kept


def test_a_second_sitting_knows_what_predict_was_told_and_not_what_was_corrected(desk):
    page = desk.load(entry_of(desk))
    zero_line = {"do": "zero_line", "row": 0, "point": [20, page.shown.page.zero_lines[0] + 0.1]}
    desk.act(page, zero_line, page.revision)
    assert read_record(desk.store.path("six")).draft == page.corrections
    assert page.corrections.layout == "6x2", "the layout is that whose rows are counted"
    desk.save(page, page.revision, "an expert", accepted=False)
    entry = entry_of(server_anew(desk))
    assert entry.record.draft is None, "it is saved"
    assert entry.row["layout_source"] == "given"
    assert entry.known == NOTHING_KNOWN
    known = Known(find_layout("6x2"), speed=50.0)
    for value in (known, Known(competition=True), NOTHING_KNOWN):
        assert known_of_json(known_to_json(value)) == value


def test_what_predict_wrote_anew_is_not_accepted_any_more(desk, tmp_path):
    page = corrected(desk)
    desk.save(page, page.revision, "an expert", accepted=True)
    assert entry_of(desk).row["source"] == "image"
    renewed = write_run(tmp_path / "out", ("six",))
    assert not entry_of(renewed).is_reviewed
    assert "predict.py wrote it anew" in client_of(renewed).get("/", headers=HOST).text


def test_a_long_list_is_shown_in_parts(desk, monkeypatch):
    lines = desk.store.table.read_text().splitlines()
    more = [f"more{number}{lines[1].removeprefix('six')}" for number in range(5)]
    desk.store.table.write_text("\n".join([*lines, *more]) + "\n")
    monkeypatch.setattr("review.app.MAX_LISTED", 4)
    text = client_of(desk).get("/", headers=HOST).text
    assert text.count("<tr>") == 5, "a head and four pages"
    assert "0 of 6 pages reviewed" in text
    assert "2 more pages follow" in text


def write_scan(path, images) -> None:
    """A PDF file whose pages are images."""
    first, *others = (Image.fromarray(image) for image in images)
    first.save(path, resolution=DPI, save_all=True, append_images=others, quality=95)


def test_a_scan_in_a_pdf_file_is_corrected_like_an_image(tmp_path):
    drawn = draw()
    white = np.full_like(drawn.image, 255)
    write_scan(tmp_path / "scan.pdf", [white, drawn.image])
    digitizer, folder = InkDigitizer(drawn), tmp_path / "out"
    folder.mkdir()

    class Engine(InkEngine):
        def digitize(self, pages, outputs):
            for page in pages:
                yield from process_file(digitizer, page, outputs)

    engine, outputs = Engine(digitizer), OutputOptions(folder, signals=True)
    pages = [Page("scan", tmp_path / "scan.pdf")]
    predict_images(engine, pages, outputs)
    desk = Desk(Store(folder), digitizer, engine.networks)
    outcomes = {entry.name: entry.outcome for entry in desk.store.entries()}
    assert outcomes == {"scan": FAILED, "scan-p2": DOUBTFUL}
    page = desk.load(entry_of(desk, "scan-p2"))
    assert page.image.shape == drawn.image.shape
    page.act({"do": "gain", "value": 20}, page.revision)
    desk.save(page, page.revision, "an expert", accepted=True)
    row = entry_of(desk, "scan-p2").row
    assert (row["outcome"], row["pdf_pages"], row["source"], row["gain"]) == (DONE, "2", "image", "20.0")

    written = pd.read_csv(folder / "scan-p2.csv")
    journal = page_journal(folder / "pages.csv")
    assert not is_file_done(pages[0], journal, outputs, engine.networks), "its first page failed"
    assert reviewed_names(pages[0], journal, outputs) == ("scan-p2",)
    predict_images(engine, pages, outputs, resume=True)
    first = desk.load(entry_of(desk, "scan"))
    desk.set_aside(first, first.revision, "an expert")
    assert is_file_done(pages[0], page_journal(folder / "pages.csv"), outputs, "other networks")
    assert entry_of(desk, "scan-p2").row["reviewed"] == "accepted"
    pd.testing.assert_frame_equal(pd.read_csv(folder / "scan-p2.csv"), written)


def test_a_page_of_a_pdf_that_is_no_picture_is_refused(tmp_path):
    write_scan(tmp_path / "scan.pdf", [np.full((850, 1100, 3), 255, np.uint8)])
    assert read_page_image(tmp_path / "scan.pdf").shape == (850, 1100, 3)
    with pytest.raises(ValueError, match="no picture of an ECG"):
        read_page_image(tmp_path / "scan.pdf", 1)
    write_png(tmp_path / "page.png", np.full((30, 40, 3), 255, np.uint8))
    assert read_page_image(tmp_path / "page.png").shape == (30, 40, 3)


def test_pages_read_by_their_curves_come_last_and_say_why_they_are_not_corrected(desk):
    table = pd.read_csv(desk.store.table, dtype=str, keep_default_na=False)
    curves = table.assign(name="curves", source=VECTOR, confidence="0.0")
    pd.concat([curves, table]).to_csv(desk.store.table, index=False)
    six, other = desk.store.entries()
    assert (six.name, other.name, other.problem) == ("six", "curves", review.store.CURVES)
    assert CURVES.split(";")[0] in client_of(desk).get("/", headers=HOST).text
    with pytest.raises(ValueError, match="curves"):
        desk.load(other)


def test_a_page_in_which_there_is_nothing_to_be_read_is_set_aside(tmp_path):
    desk = write_run(tmp_path / "out", (), blank=True)
    outputs = OutputOptions(desk.store.folder, signals=True, overlay=True)
    page = desk.load(entry_of(desk, "blank"))
    assert not is_done(page.entry.page, page.entry.row, outputs, desk.networks)
    with pytest.raises(ValueError, match="only be set aside"):
        desk.save(page, page.revision, "an expert", accepted=True)
    desk.set_aside(page, page.revision, "an expert")
    entry = entry_of(server_anew(desk), "blank")
    assert (entry.outcome, entry.row["reviewed"], entry.is_reviewed) == (FAILED, "set aside", False)
    assert is_done(entry.page, entry.row, outputs, "other networks"), "predict.py --resume leaves it alone"
    assert (pd.read_csv(desk.store.folder / "blank.csv") == 0).all(axis=None)
    text = client_of(desk).get("/", headers=HOST).text
    assert "1 of 1 pages reviewed" in text
    renewed = write_run(tmp_path / "out", (), blank=True)
    assert entry_of(renewed, "blank").row["reviewed"] == ""
    assert load_script().apply_again(renewed, "night run") == 0
    assert entry_of(renewed, "blank").row["reviewed"] == "set aside"
