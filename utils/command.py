"""Functions common to all scripts: logging, progress, argument types and error messages."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("ecg_digitization")  # logger of the whole program; scripts show it on stderr
Item = TypeVar("Item")

LINE_EVERY = 60.0  # time between lines of progress where stderr is no terminal, s


def progress(items: Iterable[Item], total: int, unit: str, done: int = 0) -> Iterator[Item]:
    """Yield the items and show a progress bar, or a line every minute where stderr is no terminal.

    `done` of the `total` items were finished before; `unit` is the singular of their name.
    """
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, initial=done, unit=unit, smoothing=0.05)
        return
    started = last_message = time.monotonic()
    for number, item in enumerate(items, 1):
        yield item
        now = time.monotonic()
        if now - last_message >= LINE_EVERY and done + number < total:
            last_message, rate = now, number / (now - started)
            left = (total - done - number) / rate / 60
            log.info(f"{done + number} of {total} {unit}s, {rate:.2f} {unit}s/s, {left:.0f} min left")


class ProgressLogHandler(logging.Handler):
    """Writes log messages to stderr, above a progress bar."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)
        sys.stderr.flush()


def show_log() -> None:
    """Show the program's log on stderr. Scripts call it; importing a module configures no logging."""
    if not log.handlers:
        log.addHandler(ProgressLogHandler())
        log.setLevel(logging.INFO)


def positive_int(text: str) -> int:
    """An argparse type: a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return number


def describe_error(error: Exception) -> str:
    """The message of an error; that of the operating system as "file: reason"."""
    if isinstance(error, OSError) and error.strerror:
        file = error.filename2 or error.filename
        return f"{file}: {error.strerror}" if file else error.strerror
    return str(error)


def run_main(main: Callable[[], int | None], interrupted: str = "interrupted") -> None:
    """Call main and exit with its return value; a ValueError or OSError becomes one line on stderr.

    Ctrl-C prints `interrupted` and ends the process at once, and with it the workers of utils.workers.
    """
    name = Path(sys.argv[0]).name
    show_log()
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"{name}: {describe_error(error)}")
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(130)
