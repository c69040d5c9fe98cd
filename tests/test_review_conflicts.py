"""Two people, two servers, predict.py in between, saving that fails: nothing is lost or overwritten."""

import json

import numpy as np
import pandas as pd
import pytest

import review.store
from configs.layouts import find_layout
from data_preparation.from_reviews import write_reviews
from digitization.layout.page import Known
from prediction.pdf_files import process_file
from prediction.results import OutputOptions, Page
from review.corrections import Corrections
from review.record import read_record
from review.store import Stale, Unfinished
from tests.review_pages import write_run
from tests.test_review_sittings import server_anew
from tests.test_review_store import FROM_HERE, HOST, client_of, entry_of, load_script
from utils.images import write_png


@pytest.fixture
def desk(tmp_path):
    return write_run(tmp_path / "out", ("six",))


def open_now(desk):
    """The page as the server shows it, opened again if it has to be."""
    return desk.open(entry_of(desk)).result()


def set_gain(desk, page, gain):
    desk.act(page, {"do": "gain", "value": gain}, page.revision)


def test_what_is_not_saved_is_neither_applied_nor_learnt_and_stays(desk, tmp_path):
    page = open_now(desk)
    desk.save(page, page.revision, "an expert", accepted=True)
    accepted = (desk.store.folder / "six.csv").read_bytes()
    set_gain(desk, page, 20)
    again = server_anew(desk)
    assert load_script().apply_again(again, "night run") == 0
    assert (desk.store.folder / "six.csv").read_bytes() == accepted
    assert read_record(desk.store.path("six")).draft == Corrections(gain=20.0)
    with pytest.raises(ValueError, match="1 accepted pages that can be read"):
        write_reviews(again, tmp_path / "data")
    (written,) = (tmp_path / "data" / "train").glob("*-rows1/*.csv")
    np.testing.assert_allclose(
        pd.read_csv(written)["II"], pd.read_csv(desk.store.folder / "six.csv")["II"], atol=1e-3
    )


def test_a_page_that_could_not_be_saved_can_be_saved_once_the_reason_is_gone(desk):
    page = open_now(desk)
    set_gain(desk, page, 20)
    wfdb = desk.store.folder / "wfdb"
    wfdb.write_text("in the way")
    with pytest.raises(Unfinished):
        desk.save(page, page.revision, "an expert", accepted=True)
    assert not entry_of(desk).is_reviewed
    assert open_now(desk) is page
    wfdb.unlink()
    set_gain(desk, page, 5)
    assert page.is_kept
    desk.save(page, page.revision, "an expert", accepted=True)
    assert entry_of(desk).is_reviewed
    assert entry_of(desk).row["gain"] == "5.0"


def test_a_window_of_an_earlier_opening_accepts_nothing_it_did_not_show(desk):
    seen = open_now(desk).revision
    desk.pages.clear()  # as if other pages were opened meanwhile
    page = open_now(desk)
    with pytest.raises(Stale):
        desk.save(page, seen, "an expert", accepted=True)


def test_of_two_servers_the_second_sees_what_the_first_did_and_may_go_back_to_its_own(desk):
    other = server_anew(desk)
    page, elsewhere = open_now(desk), open_now(other)
    set_gain(desk, page, 20)
    with pytest.raises(Stale):
        set_gain(other, elsewhere, 5)
    shown = open_now(other)
    assert shown is not elsewhere
    assert shown.corrections == Corrections(gain=20.0)
    other.act(shown, {"do": "undo"}, shown.revision)
    assert shown.corrections == Corrections(gain=5.0)
    other.save(shown, shown.revision, "another", accepted=True)
    again = open_now(desk)
    assert (again.corrections, again.is_saved) == (Corrections(gain=5.0), True)


def test_a_stale_answer_shows_the_page_as_it_is(desk):
    client, base = client_of(desk), f"/page/{entry_of(desk).id}"
    page = open_now(desk)
    seen = page.revision
    set_gain(desk, page, 20)
    answer = client.post(f"{base}/save", headers=FROM_HERE, json={"revision": seen, "accept": True})
    assert (answer.status_code, answer.json()["status"]) == (409, "stale")
    assert answer.json()["layout"]["gain"] == 20
    assert answer.json()["revision"] == page.revision


def test_a_page_written_anew_or_photographed_anew_is_opened_anew(desk, tmp_path):
    page = open_now(desk)
    assert open_now(desk) is page
    desk.save(page, page.revision, "an expert", accepted=True)
    assert open_now(desk) is page
    write_run(tmp_path / "out", ("six",))
    renewed = open_now(desk)
    assert renewed is not page
    image = renewed.entry.page.path
    write_png(image, renewed.image)
    assert open_now(desk) is not renewed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("history", [1]),
        ("history", "ab"),
        ("history", [{"when": 1, "what": []}]),
        ("revision", float("inf")),
        ("corrections", {"gain": 10**400}),
        ("known", {"gain": "x"}),
    ],
)
def test_a_list_with_a_broken_review_is_shown_and_names_it(desk, name, value):
    page = open_now(desk)
    desk.save(page, page.revision, "who \udcff", accepted=True)
    path = desk.store.path("six")
    path.write_text(json.dumps(json.loads(path.read_text()) | {name: value}))
    answer = client_of(desk).get("/", headers=HOST)
    assert answer.status_code == 200
    assert entry_of(desk).problem
    assert load_script().apply_again(server_anew(desk), "night run") == 1


def test_who_may_have_any_name(desk):
    page = open_now(desk)
    desk.save(page, page.revision, "who \udcff", accepted=True)
    assert "who \\udcff" in client_of(desk).get("/", headers=HOST).text


def test_what_could_not_be_read_back_is_refused(desk):
    page = open_now(desk)
    stretch = {"do": "redraw", "row": 0, "kind": "straight", "points": [[10, 5], [11, 5]]}
    page.corrections = Corrections(
        stretches=tuple(
            [
                Corrections.of_json(
                    {"stretches": [{"row": 0, "kind": "straight", "points": [[10, 5], [11, 5]]}]}
                ).stretches[0]
            ]
            * 500
        )
    )
    with pytest.raises(ValueError, match="stretches"):
        desk.act(page, stretch, page.revision)


def test_options_of_review_count_for_pages_of_which_nothing_was_known(desk):
    desk.digitizer.known = Known(find_layout("6x2"), speed=50.0)
    assert open_now(desk).reader.known == desk.digitizer.known


def test_reviewed_pages_of_a_pdf_outlive_a_file_that_cannot_be_split(tmp_path, caplog):
    (tmp_path / "scan.pdf").write_bytes(b"%PDF-1.7 broken")
    outputs = OutputOptions(tmp_path, signals=True)
    page = Page("scan", tmp_path / "scan.pdf", kept=("scan",))
    assert process_file(None, page, outputs) == []
    assert not (tmp_path / "scan.csv").exists()
    assert "left as they were" in caplog.text


def test_pages_read_by_their_curves_are_no_failures_of_apply(desk):
    table = pd.read_csv(desk.store.table, dtype=str, keep_default_na=False)
    table.assign(source="vector", limb_residual_mv="inf").to_csv(desk.store.table, index=False)
    assert load_script().apply_again(server_anew(desk), "night run") == 0
    assert client_of(desk).get("/", headers=HOST).status_code == 200
    assert review.store.CURVES in client_of(desk).get("/", headers=HOST).text
