"""Atomic writing, locking and comparing of files."""

import glob
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout


@contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, which replaces it once the block ends without an error.

    Creates the folder if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def open_text(path: Path, mode: str = "w") -> IO[str]:
    """Open a text file in UTF-8; file names that are not valid text are written with backslash escapes."""
    return open(path, mode, encoding="utf-8", errors="backslashreplace", newline="")


def as_utf8(text: str) -> bytes:
    """A text in UTF-8, as a file from open_text has it."""
    return text.encode(errors="backslashreplace")


@contextmanager
def folder_lock(folder: Path, lock: Path | None = None) -> Iterator[None]:
    """Lock a folder against other runs. Raises ValueError when another run holds the lock.

    `lock` is the lock file; None stands for one in this machine's folder of temporary files.
    """
    if lock is None:
        place = hashlib.sha256(os.path.realpath(folder).encode(errors="surrogateescape")).hexdigest()[:16]
        lock = Path(tempfile.gettempdir()) / f"ecg-digitization-{place}.lock"
    try:
        with FileLock(lock, timeout=0):
            yield
    except Timeout:
        raise ValueError(f"{folder}: another run is writing there") from None


def remove_partial_files(folder: Path) -> None:
    """Remove the partial files of killed writers from a folder, to which nothing else may be writing."""
    for path in folder.glob(".*.partial*"):
        path.unlink(missing_ok=True)


def remove_partial_files_of(path: Path) -> None:
    """Remove the partial files of killed writers of one file, to which nothing else may be writing."""
    for partial in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
        partial.unlink(missing_ok=True)


def is_newer(path: Path, made: Path) -> bool:
    """Whether `made`, which was made from `path`, is out of date: missing or older."""
    return not made.exists() or (path.exists() and path.stat().st_mtime > made.stat().st_mtime)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's contents, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
