"""What all scripts do in the same way: log messages, read whole numbers, say why nothing could be done."""

import argparse
import logging
import os
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

log = logging.getLogger("ecg_digitization")  # all messages of this program; scripts show them on stderr
Item = TypeVar("Item")

LINE_EVERY = 60.0  # s, between lines of progress where there is no terminal


def progress(items: Iterable[Item], total: int, unit: str, done: int = 0) -> Iterator[Item]:
    """The items, with a bar of how many there are, how fast they come and how long the rest takes.

    `done` of the total were done before. Where stderr is no terminal, a line comes every minute.
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
    """Writes messages to stderr, above a bar of progress."""

    def emit(self, record: logging.LogRecord) -> None:
        tqdm.write(self.format(record), file=sys.stderr)
        sys.stderr.flush()


def show_log() -> None:
    """Have a script show the program's messages on stderr; who imports the program decides for themselves."""
    if not log.handlers:
        log.addHandler(ProgressLogHandler())
        log.setLevel(logging.INFO)


def positive_int(text: str) -> int:
    """An argument's text as a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return number


def describe_error(error: Exception) -> str:
    """What an error says, one of the system's as "file: reason"."""
    if isinstance(error, OSError) and error.strerror:
        file = error.filename2 or error.filename
        return f"{file}: {error.strerror}" if file else error.strerror
    return str(error)


def run_main(main: Callable[[], int | None], interrupted: str = "interrupted") -> None:
    """Call main and exit with what it returns; a ValueError or OSError becomes one line on stderr.

    Ctrl-C ends this process at once, and with it the workers of utils.workers.
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
