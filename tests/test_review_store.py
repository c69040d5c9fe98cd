"""The folder of a review: what is saved, by whom, and what becomes of faults."""

import importlib.util
import json
import re

import numpy as np
import pandas as pd
import pytest
import wfdb
from starlette.testclient import TestClient

import review.store
from configs.page import LEADS
from prediction.results import OutputOptions, Page
from prediction.runs import is_done
from review.app import MAX_BODY, build_app, cookie_name
from review.corrections import Corrections
from review.record import SAVED, SAVING, read_record
from review.store import Stale, Store
from tests.review_pages import write_run
from utils.files import folder_lock

PORT, TOKEN = 8123, "a-token-of-chance"
HOST = {"host": f"127.0.0.1:{PORT}"}
FROM_HERE = {**HOST, "origin": f"http://127.0.0.1:{PORT}"}


@pytest.fixture
def desk(tmp_path):
    return write_run(tmp_path / "out", ("six",))


def entry_of(desk, name="six"):
    return next(entry for entry in desk.store.entries() if entry.name == name)


def corrected(desk):
    """The page with its gain corrected, not saved."""
    page = desk.load(entry_of(desk))
    page.act({"do": "gain", "value": 20}, page.revision)
    return page


def client_of(desk, cookie=True) -> TestClient:
    client = TestClient(build_app(desk, TOKEN, PORT, "an expert"), base_url=f"http://127.0.0.1:{PORT}")
    if cookie:
        client.cookies.set(cookie_name(PORT), TOKEN)
    return client


def load_script():
    """review.py, whose name is that of the package too."""
    spec = importlib.util.spec_from_file_location("review_script", "review.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


def test_what_is_saved_is_what_predict_writes_and_a_second_sitting_goes_on(desk):
    folder = desk.store.folder
    before = pd.read_csv(folder / "six.csv")
    page = corrected(desk)
    desk.save(page, page.revision, "an expert", accepted=False)
    after = pd.read_csv(folder / "six.csv")
    np.testing.assert_allclose(after["II"][500:2000], before["II"][500:2000] / 2, atol=0.05)
    record = wfdb.rdrecord(str(folder / "wfdb" / "six"))
    np.testing.assert_allclose(record.p_signal[:, 1], after["II"], atol=0.001)
    assert (folder / "six.overlay.jpg").stat().st_size > 10_000
    row = pd.read_csv(folder / "pages.csv").iloc[0]
    assert (row["reviewed"], row["gain"], row["gain_source"]) == ("corrected", 20, "given")
    written = json.loads((folder / "six.review.json").read_text())
    assert written["corrections"] == {"gain": 20.0}
    assert written["history"][0]["who"] == "an expert"
    assert written["history"][0]["what"] == ["gain 20 mm/mV"]
    again = desk.load(entry_of(desk))
    assert again.corrections == Corrections(gain=20.0)
    assert again.shown.layout.mm_per_mv == 20
    desk.save(again, again.revision, "another", accepted=True)
    entry = entry_of(desk)
    assert (entry.outcome, entry.row["reviewed"], entry.is_reviewed) == ("done", "accepted", True)
    assert [note["who"] for note in entry.record.history] == ["an expert", "another"]


def test_resume_keeps_what_was_corrected_whatever_the_networks(desk):
    page = corrected(desk)
    outputs = OutputOptions(desk.store.folder, signals=True)
    assert not is_done(page.entry.page, entry_of(desk).row, outputs, "other networks")
    desk.save(page, page.revision, "an expert", accepted=False)
    assert is_done(page.entry.page, entry_of(desk).row, outputs, "other networks")
    assert not is_done(Page("six", page.entry.page.path, 250), entry_of(desk).row, outputs, "other networks")


def test_corrections_are_made_again_after_the_run_was_written_anew(desk, tmp_path):
    page = corrected(desk)
    desk.save(page, page.revision, "an expert", accepted=True)
    corrected_leads = pd.read_csv(desk.store.folder / "six.csv")
    renewed = write_run(tmp_path / "out", ("six",))
    assert entry_of(renewed).row["reviewed"] == ""
    assert load_script().apply_again(renewed, "night run") == 0
    pd.testing.assert_frame_equal(pd.read_csv(desk.store.folder / "six.csv"), corrected_leads)
    assert entry_of(renewed).row["reviewed"] == "accepted"


def test_of_two_people_the_second_is_told(desk):
    first, second = corrected(desk), desk.load(entry_of(desk))
    desk.save(first, first.revision, "first", accepted=True)
    with pytest.raises(Stale, match="by another review"):
        desk.save(second, second.revision, "second", accepted=True)
    assert entry_of(desk).record.corrections == Corrections(gain=20.0)


@pytest.mark.parametrize("step", ["write_files", "as_row"])
def test_a_server_killed_while_it_saves_leaves_whole_files_and_says_so(desk, monkeypatch, step):
    folder = desk.store.folder
    page = corrected(desk)
    before = (folder / "six.csv").read_bytes()

    def killed(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(review.store, step, killed)
    with pytest.raises(KeyboardInterrupt):
        desk.save(page, page.revision, "an expert", accepted=True)
    monkeypatch.undo()
    entry = entry_of(desk)
    assert entry.record.state == SAVING
    assert not entry.is_reviewed
    assert entry.row["reviewed"] == ""
    if step != "as_row":
        assert (folder / "six.csv").read_bytes() == before
    assert not list(folder.glob(".*partial*"))
    text = client_of(desk).get("/", headers=HOST).text
    assert "saving was interrupted" in text
    again = desk.load(entry)
    assert again.corrections == Corrections(gain=20.0)
    assert not again.is_saved
    desk.save(again, again.revision, "an expert", accepted=True)
    assert entry_of(desk).record.state == SAVED


def test_nothing_is_saved_while_predict_writes_there(desk):
    page = corrected(desk)
    with folder_lock(desk.store.folder), pytest.raises(ValueError, match="another run is writing"):
        desk.save(page, page.revision, "an expert", accepted=True)
    assert not (desk.store.folder / "six.review.json").exists()
    assert page.corrections == Corrections(gain=20.0)


def test_a_folder_that_changes_underneath_is_noticed(desk):
    page = corrected(desk)
    client = client_of(desk)
    (desk.store.folder / "pages.csv").write_text((desk.store.folder / "pages.csv").read_text().split("\n")[0])
    with pytest.raises(ValueError, match="no longer"):
        desk.save(page, page.revision, "an expert", accepted=True)
    assert client.get(f"/page/{page.entry.id}", headers=HOST).status_code == 404
    (desk.store.folder / "pages.csv").unlink()
    answer = client.get("/", headers=HOST)
    assert answer.status_code == 422
    assert "pages.csv is gone" in answer.text


def test_hostile_names_and_files_do_no_harm(desk):
    folder = desk.store.folder
    lines = (folder / "pages.csv").read_text().splitlines()
    names = ["../../outside", "<script>alert(1)</script>", "ü b/ ‮name", "n" * 300, "/etc/passwd"]
    copies = [f'"{name}"{lines[1].removeprefix("six")}' for name in names]
    (folder / "pages.csv").write_text("\n".join([*lines, *copies]) + "\n")
    (folder / "six.review.json").write_text('{"version": 99}')
    client = client_of(desk)
    text = client.get("/", headers=HOST).text
    assert "<script>alert" not in text, text
    assert "&lt;script&gt;alert(1)" in text, text
    assert text.count("leads out of the folder") == 2
    assert "version 99, not 1" in text
    outside = next(entry for entry in desk.store.entries() if entry.name == names[0])
    assert client.get(f"/page/{outside.id}/state", headers=HOST).json()["status"] in ("loading", "failed")
    with pytest.raises(ValueError, match="leads out of the folder"):
        desk.load(outside)
    with pytest.raises(ValueError, match="too long"):
        desk.load(next(entry for entry in desk.store.entries() if entry.name == names[3]))
    spaced = desk.load(next(entry for entry in desk.store.entries() if entry.name == names[2]))
    desk.save(spaced, spaced.revision, "an expert", accepted=True)
    assert (folder / f"{names[2]}.csv").exists()


def test_a_folder_of_something_else_is_refused(tmp_path):
    with pytest.raises(ValueError, match="takes a folder"):
        Store(tmp_path)
    (tmp_path / "pages.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match="columns of another"):
        Store(tmp_path)


def test_a_file_of_corrections_that_is_broken_is_named(tmp_path):
    path = tmp_path / "x.review.json"
    for text in ("", "[]", "{}", '{"version": 1}', "[" * 100_000):
        path.write_text(text)
        with pytest.raises(ValueError):  # noqa: PT011
            read_record(path)


def test_only_who_knows_the_token_is_served(desk):
    stranger = client_of(desk, cookie=False)
    for address in ("/", "/static/review.js", f"/page/{entry_of(desk).id}", "/?token=wrong"):
        assert stranger.get(address, headers=HOST).status_code == 403
    answer = stranger.get(f"/?token={TOKEN}", headers=HOST, follow_redirects=False)
    assert answer.status_code == 303
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert stranger.get("/", headers=HOST).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"host": "evil.example"},
        {"host": f"127.0.0.1:{PORT + 1}"},
        {**HOST, "origin": "http://evil.example"},
        {**HOST, "origin": "null"},
    ],
)
def test_requests_of_other_sites_are_refused(desk, headers):
    client = client_of(desk)
    assert client.get("/", headers=headers).status_code == 403
    assert client.post("/page/x/act", headers=headers, json={"revision": 1}).status_code == 403


def test_requests_carry_little_and_only_json(desk):
    client, page = client_of(desk), f"/page/{entry_of(desk).id}"
    assert client.post(f"{page}/act", headers=HOST, json={}).status_code == 403, "no origin"
    form = {"files": {"file": b"x"}}
    assert client.post(f"{page}/act", headers=FROM_HERE, **form).status_code == 415
    json_type = {**FROM_HERE, "content-type": "application/json"}
    assert client.post(f"{page}/act", headers=json_type, content=b"[" * (MAX_BODY + 1)).status_code == 413
    assert client.post(f"{page}/act", headers=json_type, content=b"[" * 10_000).status_code == 400
    assert client.post(f"{page}/act", headers=FROM_HERE, json=[1]).status_code == 400
    assert client.put(page, headers=FROM_HERE, content=b"x").status_code == 405
    assert client.post("/", headers=FROM_HERE, json={"revision": 1}).status_code == 405
    for path in ("/static/../app.py", "/static/..%2fapp.py", "/page/..%2f..%2fetc", "/page/six", "/six.csv"):
        assert client.get(path, headers=HOST).status_code == 404


def test_a_page_is_opened_corrected_and_saved_over_http(desk):
    client, base = client_of(desk), f"/page/{entry_of(desk).id}"
    answer = client.get(base, headers=HOST)
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert not re.findall(r"https?://(?!www\.w3\.org)", answer.text)
    while (state := client.get(f"{base}/state", headers=HOST).json())["status"] == "loading":
        pass
    assert state["doubts"] == ["gain not seen, 10 mm/mV is assumed"] or len(state["doubts"]) == 2
    for picture in ("sheet.jpg", "photo.jpg"):
        assert client.get(f"{base}/{picture}", headers=HOST).content[:2] == b"\xff\xd8"
    assert np.shape(client.get(f"{base}/grid", headers=HOST).json())[2] == 2

    def post(path, **values):
        return client.post(f"{base}/{path}", headers=FROM_HERE, json=values)

    changed = post("act", revision=state["revision"], action={"do": "gain", "value": 20})
    assert changed.json()["corrections"] == ["gain 20 mm/mV"]
    stale = post("act", revision=state["revision"], action={"do": "gain", "value": 5})
    assert (stale.status_code, stale.json()["layout"]["gain"]) == (409, 20)
    refused = post("act", revision=changed.json()["revision"], action={"do": "gain", "value": 0})
    assert (refused.status_code, refused.json()["status"]) == (422, "refused")
    saved = post("save", revision=changed.json()["revision"], accept=True)
    assert saved.json()["accepted"] is True
    assert entry_of(desk).row["reviewed"] == "accepted"
    assert len(pd.read_csv(desk.store.folder / "six.csv").columns) == len(LEADS)
