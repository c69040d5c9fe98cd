"""Files that are whole or not there."""

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
    """A path beside `path` to write to, which takes its place once the block ends without an error.

    Makes the folder when there is none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{os.getpid()}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def open_text(path: Path, mode: str = "w") -> IO[str]:
    """A file for text in UTF-8 of any names, those of bytes that are no text too."""
    return open(path, mode, encoding="utf-8", errors="backslashreplace", newline="")


@contextmanager
def folder_lock(folder: Path, lock: Path | None = None) -> Iterator[None]:
    """A folder to write to, for one run at a time; ValueError when another is there.

    Without a file to `lock` it is one of this machine's, so that none is left in the folder.
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
    """Remove what writers that were killed left half-written in a folder. Nobody may be writing there."""
    for path in folder.glob(".*.partial*"):
        path.unlink(missing_ok=True)


def remove_partial_files_of(path: Path) -> None:
    """Remove what writers of this one file left half-written beside it. Nobody else may be writing it."""
    for partial in path.parent.glob(f".{glob.escape(path.stem)}.*.partial{glob.escape(path.suffix)}"):
        partial.unlink(missing_ok=True)


def is_newer(path: Path, made: Path) -> bool:
    """Whether `made` from `path` is out of date: not there, or older."""
    return not made.exists() or (path.exists() and path.stat().st_mtime > made.stat().st_mtime)


def hash_file(path: Path) -> str:
    """The SHA-256 of a file's contents, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()
