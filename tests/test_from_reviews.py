"""Accepted pages as training data, which stage 2's data on disk reads."""

import numpy as np
import pytest

from configs.page import MASK_WIDTH
from data_preparation.from_reviews import record_id, write_reviews
from datasets.prepared import FOLDER, prepared_images, read_prepared
from review.corrections import UNREADABLE
from review.picture import describe_page
from tests.review_pages import write_run


@pytest.mark.slow
def test_accepted_pages_are_read_as_training_data(tmp_path):
    desk = write_run(tmp_path / "out", ("one", "two", "unseen"))
    with pytest.raises(ValueError, match="0 accepted pages"):
        write_reviews(desk, tmp_path / "none")
    for entry in desk.store.entries():
        page = desk.load(entry)
        layout = describe_page(page)["layout"]
        y = layout["zeroLines"][0]
        points = [[layout["start"] + 10, y], [layout["start"] + 15, y]]
        page.act({"do": "redraw", "row": 0, "kind": UNREADABLE, "points": points}, page.revision)
        desk.save(page, page.revision, "an expert", accepted=entry.name != "unseen")
    assert write_reviews(desk, tmp_path / "data") == 0
    outside, held = prepared_images(tmp_path / "data", tmp_path / "data", 0)
    ids = [sorted({name.rsplit("-rows", 1)[0] for name in part["record"]}) for part in (outside, held)]
    assert sorted(ids) == [["one"], ["two"]], "the rows of a page share its fold"
    assert len(outside) == len(held) == 2
    first = outside[outside["record"].str.endswith("rows1")].iloc[0]
    sample = read_prepared(first["rect"], first["signals"])
    assert sample["y"].shape == (4, MASK_WIDTH)
    assert sample["group"].layout.name == "6x2"
    assert sample["group"].rows == (0, 1, 2, 3)
    known = np.isfinite(sample["y"])
    assert known[0].sum() == pytest.approx(known[1].sum() - 5 * 78.6, abs=8), "a second is unreadable"
    column = np.flatnonzero(known[1])[1000]
    y = round(float(sample["y"][1, column]))
    shown = sample["image"][:, column].max(axis=1)
    assert shown[y - 2 : y + 3].min() < shown[y - 40 : y + 40].max() - 50, "the trace is where the ink is"
    grid = np.load(tmp_path / "data" / FOLDER / f"{first['image_id']}.gridpoint_xy.npy")
    assert grid.shape[2] == 2
    second = outside[outside["record"].str.endswith("rows2")].iloc[0]
    assert not np.isfinite(read_prepared(second["rect"], second["signals"])["y"][2:]).any()


def test_ids_are_names_of_files():
    assert record_id("a/b c", 0) != record_id("a/b_c", 0)
    assert len(record_id("n" * 300, 1)) < 110
    assert not set(record_id("../ü\"'", 0)) & set("./\\,\"'")
