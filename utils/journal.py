"""A table of what is done, so that a run which was killed can go on."""

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from utils.files import atomic_write, open_text


class Journal:
    """A CSV file with a row for each item, whose key is the first column; `rows` has those there, by key.

    Of several rows for an item the last counts; rows that a kill cut short do not. `newer_columns` may be
    missing from files of older versions, and are blank then. An empty file has no rows. Raises ValueError for
    a file with other columns.
    """

    def __init__(self, path: Path, columns: Sequence[str], newer_columns: Sequence[str] = ()):
        self.path, self.columns, self.newer_columns = path, columns, newer_columns
        self.rows: dict[str, Mapping] = self.read() if path.exists() else {}

    def read(self) -> dict[str, Mapping]:
        try:
            with self.path.open(newline="", encoding="utf-8") as file:
                reader = csv.DictReader(file)
                if reader.fieldnames is None:
                    return {}
                if {*reader.fieldnames, *self.newer_columns} != set(self.columns):
                    raise ValueError(f"{self.path}: columns of another program; choose another folder")
                blank = dict.fromkeys(self.newer_columns, "")
                whole = [row for row in reader if None not in row and None not in row.values()]
                return {row[self.columns[0]]: blank | row for row in whole}
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{self.path}: {error}") from error

    @contextmanager
    def replace(self, keys: Iterable[str]) -> Iterator[None]:
        """A context in which `add` gives the items of `keys` new rows; their old ones are gone at once.

        The file is written whole at its start and its end, in between it grows by a row at a time.
        """
        for key in keys:
            self.rows.pop(key, None)
        self.write()
        with open_text(self.path, "a") as self.file:
            try:
                yield
            finally:
                self.write()

    def write(self) -> None:
        with atomic_write(self.path) as partial, open_text(partial) as file:
            writer = csv.DictWriter(file, self.columns, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows.values())

    def add(self, row: Mapping) -> None:
        """Append the row of an item that is done; it is on disk when this returns."""
        self.rows[str(row[self.columns[0]])] = row
        csv.DictWriter(self.file, self.columns, lineterminator="\n").writerow(row)
        self.file.flush()
