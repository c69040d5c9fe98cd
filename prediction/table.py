"""pages.csv: a row for each page of a run, which says how it went."""

import csv
from collections.abc import Iterable
from pathlib import Path

from configs.page import LEADS
from prediction.results import PageResult
from utils.files import atomic_write, open_text
from utils.kaggle_metric import to_db

COLUMNS = (
    *("name", "image", "type", "fs", "outcome", "page_score", "orientation", "aspect", "confidence"),
    *("unseen_s", "imputed_s", "limb_residual_mv", "score_db", "grid_median_px", "grid_p95_px", "seconds"),
    *(f"confidence_{lead}" for lead in LEADS),
    *(f"snr_db_{lead}" for lead in LEADS),
    *("slip", "networks", "warnings"),
)


NEWER_COLUMNS = ("imputed_s", "slip", "networks")  # which version 0.2.0 did not write


class PageTable:
    """pages.csv: a row for each page as it is done, so that a run which was killed can go on.

    `rows` are those that an earlier run left there; those of `names`, the pages of this run, are replaced.
    `networks` tells what reads them from what others read, see prediction.engine.EngineOptions.
    """

    def __init__(self, path: Path, rows: dict[str, dict], names: Iterable[str], networks: str):
        again, self.networks = set(names), networks
        self.path, self.rows = path, {name: row for name, row in rows.items() if name not in again}
        self.write()
        self.file = open_text(path, "a")
        self.writer = csv.DictWriter(self.file, COLUMNS, lineterminator="\n")

    def __enter__(self) -> "PageTable":
        return self

    def __exit__(self, *_) -> None:
        self.file.close()
        self.write()

    def write(self) -> None:
        with atomic_write(self.path) as partial, open_text(partial) as file:
            writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
            writer.writeheader()
            writer.writerows(self.rows.values())

    def add(self, result: PageResult) -> None:
        row = as_row(result) | {"networks": self.networks}
        self.rows[result.page.name] = row
        self.writer.writerow(row)
        self.file.flush()


def read_page_rows(path: Path) -> dict[str, dict]:
    """The last whole row of each page in pages.csv, by name; ValueError when its columns are others."""
    if not path.exists():
        return {}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            reader = csv.DictReader(file)
            if {*(reader.fieldnames or ()), *NEWER_COLUMNS} == set(COLUMNS):
                whole = [row for row in reader if None not in row and None not in row.values()]
                return {row["name"]: dict.fromkeys(NEWER_COLUMNS, "") | row for row in whole}
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: {error}") from error
    raise ValueError(f"{path}: not a pages.csv of this program; choose another --output")


def as_row(result: PageResult) -> dict[str, object]:
    """A PageResult as a row of pages.csv, blank where nothing was measured."""

    def number(value, digits: int = 4):
        return "" if value is None else round(float(value), digits)

    row: dict[str, object] = {
        "name": result.page.name,
        "image": str(result.page.path),
        "type": result.page.type,
        "fs": result.page.fs,
        "outcome": result.outcome,
        "page_score": number(result.page_score),
        "orientation": "" if result.orientation is None else result.orientation,
        "aspect": number(result.aspect),
        "confidence": number(None if result.confidence is None else result.confidence.mean()),
        "unseen_s": number(None if result.confidence is None else result.gap_seconds, 2),
        "imputed_s": number(result.imputed_seconds, 2),
        "limb_residual_mv": number(result.limb_residual),
        "score_db": number(None if result.ratio is None else to_db(result.ratio), 3),
        "grid_median_px": number(result.grid_median),
        "grid_p95_px": number(result.grid_p95),
        "seconds": number(result.seconds, 2),
        "slip": "" if result.slip is None else str(result.slip),
        "warnings": "; ".join(result.warnings),
    }
    for index, lead in enumerate(LEADS):
        row[f"confidence_{lead}"] = number(
            result.confidence[index] if result.confidence is not None else None
        )
        ratio = None if result.lead_ratios is None else to_db(result.lead_ratios[index])
        row[f"snr_db_{lead}"] = number(ratio, 3)
    return row
