"""A table of what is done survives kills."""

from pathlib import Path

import pytest

from utils.journal import Journal

COLUMNS = ("name", "outcome", "slip")


def read(path: Path) -> dict[str, str]:
    return {name: row["outcome"] for name, row in Journal(path, COLUMNS, ("slip",)).rows.items()}


@pytest.fixture
def path(tmp_path) -> Path:
    """The table of a run over two items."""
    path = tmp_path / "pages.csv"
    journal = Journal(path, COLUMNS)
    with journal.replace(["a", "b"]):
        journal.add({"name": "a", "outcome": "done, with a comma"})
        journal.add({"name": "b", "outcome": "failed"})
    return path


def test_a_row_is_on_disk_as_soon_as_it_is_added(path):
    journal = Journal(path, COLUMNS)
    with journal.replace(["b", "c"]):
        assert read(path) == {"a": "done, with a comma"}, "what is done again is not there any more"
        journal.add({"name": "b", "outcome": "done"})
        assert read(path) == {"a": "done, with a comma", "b": "done"}


def test_an_error_leaves_what_was_done(path):
    journal = Journal(path, COLUMNS)

    def fail_in_the_middle() -> None:
        with journal.replace(["b", "c"]):
            journal.add({"name": "c", "outcome": "done"})
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail_in_the_middle()
    assert read(path) == {"a": "done, with a comma", "c": "done"}


@pytest.mark.parametrize("rest", ["c,do", "c", 'c,"done', "c,done,none,more\n"])
def test_a_row_that_a_kill_cut_short_does_not_count(rest, path):
    with path.open("a") as file:
        file.write(rest)
    assert read(path) == {"a": "done, with a comma", "b": "failed"}


def test_an_empty_file_has_no_rows(path):
    path.write_text("")  # as a machine that loses its power can leave it
    assert read(path) == {}


def test_of_several_rows_the_last_counts(path):
    with path.open("a") as file:
        file.write("b,done,\n")
    assert read(path)["b"] == "done"


def test_columns_of_older_versions_are_blank_and_other_columns_are_refused(tmp_path):
    path = tmp_path / "pages.csv"
    path.write_text("name,outcome\na,done\n")
    assert Journal(path, COLUMNS, ("slip",)).rows["a"]["slip"] == ""
    for text in ("name,outcome\na,done\n", "id,fs\n1,2\n"):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"pages\.csv: columns of another program"):
            Journal(path, COLUMNS)
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(ValueError, match=r"pages\.csv: "):
        Journal(path, COLUMNS)
