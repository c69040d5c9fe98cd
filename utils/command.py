"""What all scripts say in the same way: numbers that must be counts, and why nothing could be done."""

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path


def count(text: str) -> int:
    """An argument's text as a whole number of at least 1."""
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise argparse.ArgumentTypeError(f"{text}: must be a whole number of at least 1")
    return number


def run(main: Callable[[], int | None], interrupted: str = "interrupted") -> None:
    """Call main and exit with what it returns; a ValueError or OSError becomes one line on stderr.

    Ctrl-C ends this process at once, and with it the workers of utils.workers.
    """
    name = Path(sys.argv[0]).name
    try:
        sys.exit(main())
    except (ValueError, OSError) as error:
        sys.exit(f"{name}: {error}")
    except KeyboardInterrupt:
        print(f"{name}: {interrupted}", file=sys.stderr, flush=True)
        sys.stdout.flush()
        os._exit(130)
