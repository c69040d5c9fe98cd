"""Reading and writing the competition's folder: records, images and tables.

The format is described in competition.md ("Data"). `root` is the folder that holds train/, test/, train.csv
and test.csv. A faulty file raises ValueError with its name and the reason; writing is atomic.
"""

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from configs.layouts import mask_unprinted
from configs.page import IMAGE_TYPES, LEADS, MAX_FS
from utils.files import atomic_write
from utils.submission import row_ids

# An id is used in file names: no path or CSV separators, no control characters, no leading dot.
ID_PATTERN = r"[^./\\,\"'\x00-\x1f][^/\\,\"'\x00-\x1f]{0,199}"
ALLOWED_RANGES = {"fs": (1, MAX_FS), "sig_len": (1, 10**8), "number_of_rows": (1, 10**8), "fold": (0, 1000)}
TRAIN_COLUMNS = ("id", "fs", "sig_len")
DATA = Path("data")  # the scripts' default for the competition's folder
TEST_COLUMNS = ("id", "lead", "fs", "number_of_rows")
FOLD_COLUMNS = ("id", "fs", "sig_len", "fold")


def check_data(root: Path) -> None:
    """Raise ValueError, naming the command that makes training data, where `root` has no folder train/."""
    if not (Path(root) / "train").is_dir():
        raise ValueError(
            f"{root}: no folder with train/ in it; put the competition's data there, or synthesize pages: "
            f"python data_preparation/synthesize.py --out {root} --count 20"
        )


def record_path(root: Path, record: str) -> Path:
    """The path of a training record's signals."""
    return Path(root) / "train" / record / f"{record}.csv"


def image_path(root: Path, record: str, image_type: str) -> Path:
    """The path of a training record's image of a type in IMAGE_TYPES."""
    return Path(root) / "train" / record / f"{record}-{image_type}.png"


def list_images(root: Path) -> pd.DataFrame:
    """The training images in the folder, sorted by path: image_id, record, type, path."""
    folder = Path(root) / "train"
    rows = []
    for path in sorted(folder.glob("*/*.png")):
        record, _, image_type = path.stem.rpartition("-")
        if record == path.parent.name and image_type in IMAGE_TYPES:
            rows.append((path.stem, record, image_type, path))
    if not rows:
        raise ValueError(f"{folder}: no images <id>/<id>-<type>.png")
    return pd.DataFrame(rows, columns=["image_id", "record", "type", "path"])


def read_record(path: Path) -> np.ndarray:
    """The signals of a record: (12, L) float32 mV in the order of LEADS, NaN where the file is blank.

    Every lead must be finite in the interval in which the page shows it, see configs.layouts.lead_slice.
    """
    table = read_csv(path, LEADS)
    try:
        leads = table[list(LEADS)].to_numpy(np.float32).T
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if np.isinf(leads).any():
        raise ValueError(f"{path}: infinite values in lead {LEADS[np.isinf(leads).any(axis=1).argmax()]}")
    gaps = np.isnan(leads) & ~np.isnan(mask_unprinted(np.nan_to_num(leads)))
    if gaps.any():
        raise ValueError(f"{path}: lead {LEADS[gaps.any(axis=1).argmax()]} is blank in its own time")
    return np.ascontiguousarray(leads)


def read_train_table(root: Path) -> pd.DataFrame:
    """train.csv: id (str), fs (Hz), sig_len (samples)."""
    return read_table(Path(root) / "train.csv", TRAIN_COLUMNS, key=["id"])


def write_train_table(root: Path, rows: list[tuple[str, int, int]] | pd.DataFrame) -> None:
    """Write train.csv from rows (id, fs, sig_len)."""
    write_csv(Path(root) / "train.csv", pd.DataFrame(rows, columns=list(TRAIN_COLUMNS)))


def read_test_table(path: Path) -> pd.DataFrame:
    """test.csv: id (str), lead, fs (Hz), number_of_rows (samples requested)."""
    table = read_table(path, TEST_COLUMNS, key=["id", "lead"])
    unknown = table["lead"][~table["lead"].isin(LEADS)]
    if len(unknown):
        raise ValueError(f"{path}: {unknown.iloc[0]!r} is not one of the leads {', '.join(LEADS)}")
    rates = table.groupby("id")["fs"].nunique()
    if (rates > 1).any():
        raise ValueError(f"{path}: image {rates.index[rates > 1][0]} has more than one fs")
    return table


def write_test_table(path: Path, rows: list[tuple[str, str, int, int]] | pd.DataFrame) -> None:
    """Write test.csv from rows (id, lead, fs, number_of_rows)."""
    write_csv(path, pd.DataFrame(rows, columns=list(TEST_COLUMNS)))


def read_folds(root: Path) -> pd.DataFrame:
    """train_folds.csv: id (str), fs, sig_len, fold (0, 1, ...)."""
    if not (Path(root) / "train_folds.csv").exists():
        raise ValueError(f"{root}: no train_folds.csv; run data_preparation/make_folds.py {root}")
    return read_table(Path(root) / "train_folds.csv", FOLD_COLUMNS, key=["id"])


def write_folds(root: Path, folds: pd.DataFrame) -> None:
    """Write train_folds.csv with the columns id, fs, sig_len, fold."""
    write_csv(Path(root) / "train_folds.csv", folds[list(FOLD_COLUMNS)])


def write_sample_submission(path: Path, test_table: pd.DataFrame) -> None:
    """Write the parquet template of a submission: every requested id, with the value 0."""
    table = pd.DataFrame({"id": row_ids(test_table)}).assign(value=np.float32(0))
    with atomic_write(Path(path)) as partial:
        table.to_parquet(partial, index=False)


def read_sample_submission(path: Path) -> pd.DataFrame:
    """The parquet template of a submission: id (str), value."""
    table = pd.read_parquet(path)
    check_columns(path, list(table.columns), ("id", "value"))
    return table


def read_table(path: Path, columns: tuple[str, ...], key: list[str]) -> pd.DataFrame:
    """A table with text ids and whole numbers within ALLOWED_RANGES; the values of `key` must be unique."""
    text = {
        "dtype": {"id": str, "lead": str},
        "keep_default_na": False,
        "na_values": [""],
    }  # "NA" may be an id
    table = read_csv(path, columns, **text)[list(columns)]
    for column in columns:
        if table[column].isna().any():
            raise ValueError(f"{path}: blank {column} in row {table[column].isna().argmax() + 1}")
        if column in ("id", "lead"):
            continue
        numbers = pd.to_numeric(table[column], errors="coerce")
        least, most = ALLOWED_RANGES[column]
        wrong = ~((numbers % 1 == 0) & numbers.between(least, most))
        if wrong.any():
            value = table[column][wrong].iloc[0]
            raise ValueError(
                f"{path}: {column} {value} in row {wrong.argmax() + 1} is not a whole number "
                f"from {least} to {most}"
            )
        table[column] = numbers.astype(np.int64)
    invalid = ~table["id"].str.fullmatch(ID_PATTERN)
    if invalid.any():
        raise ValueError(f"{path}: id {table['id'][invalid].iloc[0]!r} cannot be the name of a file")
    repeated = table.duplicated(key)
    if repeated.any():
        raise ValueError(f"{path}: {' '.join(table[repeated][key].iloc[0])} twice")
    return table


def read_csv(path: Path, columns: tuple[str, ...], **options) -> pd.DataFrame:
    """A CSV table that has rows and each of the given columns once; `options` are pandas.read_csv's."""
    path = Path(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = csv.reader(file)
            header, first = next(lines, []), next(lines, [])
        check_columns(path, header, columns)
        if len(first) > len(header):
            raise ValueError(f"{path}: rows of {len(first)} fields under a header of {len(header)}")
        table = pd.read_csv(path, **options)
    except OSError as error:
        raise ValueError(f"{path}: {error.strerror}") from error
    except (pd.errors.ParserError, UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path}: {error}") from error
    if not len(table):
        raise ValueError(f"{path}: no rows")
    return table


def check_columns(path: Path, header: list[str], columns: tuple[str, ...]) -> None:
    if not header:
        raise ValueError(f"{path}: empty file")
    for column in columns:
        if header.count(column) != 1:
            raise ValueError(f"{path}: column {column} {'twice' if column in header else 'missing'}")


def write_csv(path: Path, table: pd.DataFrame, **options) -> None:
    with atomic_write(Path(path)) as partial:
        table.to_csv(partial, index=False, **options)
