"""PDF files through prediction: which pages become which results, in which way; and hostile files."""

import time
import zlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from reportlab.lib.pdfencrypt import StandardEncryption
from reportlab.pdfgen.canvas import Canvas

import predict
from configs.layouts import COMPETITION
from configs.page import LEADS
from digitization.layout.page import NOTHING_KNOWN
from prediction.inputs import name_outputs
from prediction.pdf_files import process_file
from prediction.results import DONE, DOUBTFUL, FAILED, IMAGE, VECTOR, OutputOptions, Page, PageResult
from prediction.runs import is_file_done
from prediction.table import as_row, page_journal
from tests.vector_pages import CHEST, LIMB, Sheet, draw_cardiosoft, draw_ecgtizer, draw_muse, simulate
from utils import pdf
from utils.images import read_rgb
from utils.pdf import read_pdf_pages, render_pdf_page


class Networks:
    """Stands for the networks: they read every page as the competition's, with the doubts given."""

    def __init__(self, doubts=()):
        self.doubts, self.seen, self.known = list(doubts), [], NOTHING_KNOWN

    def __call__(self, image: np.ndarray, fs: int):
        self.seen.append(image.shape)
        page = SimpleNamespace(
            layout=COMPETITION, page_score=0.9, orientation=0, aspect=None, slip=None, doubts=[]
        )
        return SimpleNamespace(
            leads=np.zeros((12, 10 * fs), np.float32), fs=fs, page=page, layout=COMPETITION, gaps={},
            confidence=np.ones(12), imputed=np.zeros((12, 10 * fs), bool), imputed_seconds=0.0,
            limb_residual=float("nan"), doubts=self.doubts, draw_overlay=lambda image: image,
        )  # fmt: skip


def process(path: Path, out: Path, networks: Networks | None = None, **outputs: bool) -> list[PageResult]:
    """The results of a file in the order of their names."""
    options = OutputOptions(out, signals=True, **outputs)
    found = process_file(networks or Networks(), Page(path.stem, path), options)
    return sorted(found, key=lambda result: result.page.name)


def test_a_page_with_curves_needs_no_networks_and_leaves_all_files(tmp_path):
    leads = draw_muse(tmp_path / "muse.pdf")
    networks = Networks()
    (result,) = process(tmp_path / "muse.pdf", tmp_path, networks, wfdb=True, overlay=True, entry=True)
    assert (result.outcome, result.warnings, networks.seen) == (DONE, [], [])
    row = as_row(result)
    assert (row["source"], row["native_hz"], row["layout"]) == (VECTOR, 500.0, "3x4+V1+II+V5")
    table = pd.read_csv(tmp_path / "muse.csv")
    np.testing.assert_allclose(table["II"], leads["II"], atol=2e-3)
    assert "points at 500.0 Hz" in (tmp_path / "wfdb" / "muse.hea").read_text()
    assert "the curves in the file" in result.entry.body
    drawn, page = read_rgb(tmp_path / "muse.overlay.jpg"), render_pdf_page(tmp_path / "muse.pdf", 0, 150)
    assert drawn.shape == page.shape
    assert (drawn != page).any()


def test_pages_that_carry_on_are_one_record_and_others_their_own(tmp_path):
    sheet = Sheet(tmp_path / "file.pdf")
    leads = simulate(500, 10)
    for names in (LIMB, CHEST, LIMB):
        for row, lead in enumerate(names):
            sheet.curve(20, 40 + 25 * row, leads[lead], 0.05)
            sheet.text(20, 33 + 25 * row, lead)
        sheet.text(10, 210, "25 mm/s 10 mm/mV")
        sheet.next_page()
    sheet.text(20, 40, "Dear colleague")
    sheet.save()
    first, second, third = process(tmp_path / "file.pdf", tmp_path)
    assert [result.page.name for result in (first, second, third)] == ["file", "file-p3", "file-p4"]
    assert [result.pdf_pages for result in (first, second, third)] == ["1-2", "3", "4"]
    assert [result.outcome for result in (first, second, third)] == [DONE, DONE, FAILED]
    assert pd.read_csv(tmp_path / "file.csv").notna().all().all()
    assert third.warnings == ["holds neither curves nor a picture of an ECG"]


@pytest.mark.parametrize(("picture_doubts", "source"), [([], IMAGE), (["blurred"], VECTOR)])
def test_where_the_curves_are_doubtful_an_undoubted_picture_wins(tmp_path, picture_doubts, source):
    draw_muse(tmp_path / "muse.pdf", gain_text="5mm/mV")
    networks = Networks(picture_doubts)
    (result,) = process(tmp_path / "muse.pdf", tmp_path, networks)
    assert (result.source, result.outcome) == (source, DOUBTFUL)
    assert networks.seen == [(2550, 3300, 3)]  # 300 dpi
    (warning,) = result.warnings
    assert "gain 5 mm/mV by its text, but pulse 10 mm/mV" in warning
    assert warning.startswith("read as a picture, as the curves in the file are doubtful") == (
        source == IMAGE
    )


def test_curves_without_names_are_read_as_a_picture_and_the_warning_says_so(tmp_path):
    draw_muse(tmp_path / "muse.pdf", names={"V3": "?"})
    (result,) = process(tmp_path / "muse.pdf", tmp_path)
    assert (result.source, result.outcome) == (IMAGE, DOUBTFUL)
    assert result.warnings == [
        "read as a picture, as its curves are not: 1 of 12 curves have no name beside them"
    ]


def test_a_scan_is_read_at_its_own_resolution(tmp_path):
    Image.new("RGB", (1100, 850), "white").save(tmp_path / "scan.pdf", resolution=100)
    Image.new("RGB", (2200, 1700), "white").save(tmp_path / "fine.pdf", resolution=200)
    networks = Networks()
    for name in ("scan", "fine"):
        (result,) = process(tmp_path / f"{name}.pdf", tmp_path, networks)
        assert (result.source, result.outcome) == (IMAGE, DONE)
    assert networks.seen == [(850, 1100, 3), (1700, 2200, 3)]


def test_a_scan_marked_with_a_line_is_a_scan(tmp_path):
    Image.new("RGB", (1100, 850), "white").save(tmp_path / "scan.png")
    sheet = Sheet(tmp_path / "marked.pdf")
    sheet.canvas.drawImage(str(tmp_path / "scan.png"), 0, 0, 792, 612)
    sheet.curve(20, 60, np.sin(np.arange(100) / 9), 0.5)
    sheet.save()
    (result,) = process(tmp_path / "marked.pdf", tmp_path)
    assert (result.source, result.outcome) == (IMAGE, DONE)


def test_a_file_is_done_when_all_its_pages_are(tmp_path):
    draw_cardiosoft(tmp_path / "page.pdf")
    outputs = OutputOptions(tmp_path / "out", signals=True)
    (tmp_path / "out").mkdir()
    page = Page("page", tmp_path / "page.pdf")
    journal = page_journal(tmp_path / "out" / "pages.csv")
    (result,) = process_file(Networks(), page, outputs)
    with journal.replace([]):
        journal.add(as_row(result) | {"networks": "n"})
    journal = page_journal(tmp_path / "out" / "pages.csv")
    assert is_file_done(page, journal, outputs, "n")
    journal.rows["page-p3"] = {**journal.rows["page"], "name": "page-p3", "outcome": FAILED}
    assert not is_file_done(page, journal, outputs, "n")


def test_an_image_named_like_a_further_page_has_another_name(tmp_path):
    paths = [tmp_path / name for name in ("a.pdf", "a-p2.png", "b.pdf")]
    assert list(name_outputs(paths)) == ["a.pdf", "a-p2", "b"]


@pytest.mark.slow
def test_predict_reads_all_pages_and_resumes(tmp_path, monkeypatch, capsys):
    draw_cardiosoft(tmp_path / "two.pdf", further=("V3r",))
    draw_ecgtizer(tmp_path / "one.pdf")
    arguments = ["predict.py", str(tmp_path), "--output", str(tmp_path / "out"), "--workers", "1"]
    monkeypatch.setattr("sys.argv", arguments)
    assert predict.main() == 0
    rows = pd.read_csv(tmp_path / "out" / "pages.csv").set_index("name")
    assert rows["source"].to_dict() == {"one": "vector", "two": "vector"}
    assert rows.loc["two", "pdf_pages"] == "1-3"
    written = (tmp_path / "out" / "two.csv").stat().st_mtime_ns
    monkeypatch.setattr("sys.argv", [*arguments, "--resume"])
    assert predict.main() == 0
    assert (tmp_path / "out" / "two.csv").stat().st_mtime_ns == written
    assert "0 pages" in capsys.readouterr().out


def make_pdf(content: bytes, box: str = "0 0 842 595", forms: list[bytes] | None = None) -> bytes:
    """A PDF of one page; `forms` are streams, each of which may call the next one as /F."""
    forms = forms or []

    def stream(data: bytes, entries: bytes = b"") -> bytes:
        packed = zlib.compress(data)
        return b"<<%s/Filter/FlateDecode/Length %d>>stream\n%s\nendstream" % (entries, len(packed), packed)

    def calls(number: int) -> bytes:
        return b"/Resources<</XObject<</F %d 0 R>>>>" % min(5 + number, 4 + len(forms)) if forms else b""

    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[%s]/Contents 4 0 R%s>>" % (box.encode(), calls(0)),
        stream(content),
        *(
            stream(form, b"/Type/XObject/Subtype/Form/BBox[0 0 9 9]" + calls(number + 1))
            for number, form in enumerate(forms)
        ),
    ]
    body = b"%PDF-1.7\n"
    places = []
    for number, item in enumerate(objects, start=1):
        places.append(len(body))
        body += b"%d 0 obj\n%s\nendobj\n" % (number, item)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    end = b"trailer\n<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(body))
    return body + b"xref\n0 %d\n0000000000 65535 f \n%s" % (len(objects) + 1, table) + end


HOSTILE = {
    "objects": (lambda: make_pdf(b"0 0 m 1 1 l S\n" * 300_000), "300000 objects on a page"),
    "points": (lambda: make_pdf(b"0 0 m " + b"1 1 l\n" * 1_100_000 + b"S"), "more than 1000000 points"),
    "nested forms": (lambda: make_pdf(b"/F Do", forms=[b"/F Do"] * 30), "forms within forms"),
    "a form in itself": (lambda: make_pdf(b"/F Do", forms=[b"/F Do"]), "forms within forms"),
    "doubling forms": (lambda: make_pdf(b"/F Do", forms=[b"/F Do /F Do"] * 40), "PDFium gives up"),
    "kilometre": (lambda: make_pdf(b"0 0 m 9 9 l S", box="0 0 2834645 2834645"), "a page of 1000 m"),
    "broken": (lambda: make_pdf(b"0 0 m 9 9 l S").replace(b"startxref", b"x")[:150], "PDFium"),
    "no PDF": (lambda: b"not a PDF", "PDFium: Data format error"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_ends_in_its_line(name, tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "READ_SECONDS", 3)
    make, reason = HOSTILE[name]
    (tmp_path / "hostile.pdf").write_bytes(make())
    started = time.monotonic()
    (result,) = process(tmp_path / "hostile.pdf", tmp_path)
    (warning,) = result.warnings
    assert result.outcome == FAILED
    assert "\n" not in warning
    assert reason in warning or "takes longer than 3 s" in warning  # whichever limit comes first
    assert time.monotonic() - started < 20


def test_a_file_with_a_password_says_so(tmp_path):
    canvas = Canvas(str(tmp_path / "secret.pdf"), encrypt=StandardEncryption("secret", strength=128))
    canvas.drawString(9, 9, "I")
    canvas.save()
    with pytest.raises(ValueError, match="protected by a password"):
        read_pdf_pages(tmp_path / "secret.pdf")


def test_a_file_of_many_pages_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(pdf, "MAX_PAGES", 1)
    draw_cardiosoft(tmp_path / "two.pdf")
    with pytest.raises(ValueError, match="2 pages, above the limit of 1"):
        read_pdf_pages(tmp_path / "two.pdf")


def test_every_lead_is_known():
    assert (*LIMB, *CHEST) == LEADS
