"""Correct pages by hand in a browser: python review.py OUT.

OUT is a folder that predict.py wrote to. Its pages are listed, the doubtful ones first; each can be turned,
its grid, layout, speed, gain, rows and leads corrected, its traces redrawn, and it can be accepted. What is
saved are the files that predict.py writes (<name>.csv, wfdb/, <name>.overlay.jpg), the column `reviewed` of
pages.csv, and <name>.review.json, who changed what. predict.py --resume leaves such pages alone; after
predict.py wrote them anew, with other networks for instance, --apply makes the same corrections again.

The pages are served to this machine only, and to those who know the address that is printed.

Exit code: 0 done; 1 nothing could be done, or with --apply some pages could not be corrected again; 2 the
command was not understood.
"""

import argparse
import getpass
import secrets
import socket
import sys
import webbrowser
from pathlib import Path

from models.checkpoint import add_stage_arguments, checkpoint_path
from prediction.arguments import add_digitizer_arguments, digitizer_options
from review.corrections import Corrections
from review.session import Desk
from review.store import CURVES, Store
from utils.command import log, progress, run_main

HOST = "127.0.0.1"
TOKEN_BYTES = 24  # of chance in the address


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path, metavar="OUT", help="folder that predict.py wrote to")
    parser.add_argument("--port", type=int, default=0, help="port to serve at (default: any that is free)")
    parser.add_argument("--no-browser", action="store_true", help="print the address, and open no browser")
    parser.add_argument(
        "--apply", action="store_true", help="make all corrections again that were saved, without a browser"
    )
    parser.add_argument(
        "--who", default=login(), help="name that is noted with what is saved (default: %(default)s)"
    )
    add_stage_arguments(parser, (0, 1))
    add_digitizer_arguments(parser)
    args = parser.parse_args()
    if not 0 <= args.port <= 65535:
        parser.error(f"--port {args.port}: must be from 0 to 65535")
    return args


def login() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a user id without a name
        return "unknown"


def apply_again(desk: Desk, who: str) -> int:
    """Correct all pages again that were saved; returns how many could not be."""
    entries = [entry for entry in desk.store.entries() if entry.problem or entry.record.revision]
    entries = [entry for entry in entries if entry.problem != CURVES]
    failed = 0
    for entry in progress(entries, len(entries), "page"):
        try:
            page = desk.load(entry, with_draft=False)
            note = f"{who} (--apply)"
            if page.shown is None and entry.record.was_set_aside:
                desk.set_aside(page, page.revision, note)
            elif page.shown is None:
                raise ValueError(page.reason)
            elif not entry.record.was_set_aside:  # else it is read now, and for a person to look at
                desk.save(page, page.revision, note, entry.record.accepted, keeps_draft=True)
        except (ValueError, OSError) as error:
            failed += 1
            log.warning(f"warning: {entry.name}: {error}")
    corrected = sum(entry.record.corrections != Corrections() for entry in entries)
    print(
        f"{len(entries) - failed} of {len(entries)} reviewed pages are written again, {corrected} of them "
        "corrected"
    )
    return failed


def serve(desk: Desk, port: int, who: str, browser: bool) -> None:
    """Serve until Ctrl-C. Raises OSError for a port that is taken."""
    import uvicorn

    from review.app import build_app

    listener = socket.create_server((HOST, port))
    port = listener.getsockname()[1]
    token = secrets.token_urlsafe(TOKEN_BYTES)
    address = f"http://{HOST}:{port}/?token={token}"
    print(f"{address}\nserved to this machine only; Ctrl-C ends it", flush=True)
    if browser:
        webbrowser.open(address)
    config = uvicorn.Config(build_app(desk, token, port, who), log_level="warning", access_log=False)
    uvicorn.Server(config).run(sockets=[listener])


def main() -> int:
    """Returns the exit code; raises ValueError or OSError when nothing can be done."""
    args = parse_arguments()
    store = Store(args.folder)
    options = digitizer_options(args, args.stage0, args.stage1, args.stage2 or [checkpoint_path(2)])
    log.info("loading the networks")
    desk = Desk.of_options(store, options, args.threads)
    if args.apply:
        return int(apply_again(desk, args.who) > 0)
    try:
        serve(desk, args.port, args.who, not args.no_browser)
    except ImportError as error:
        sys.exit(f"review.py: needs `pip install starlette uvicorn` ({error})")
    return 0


if __name__ == "__main__":
    run_main(main, "ended; what is saved is whole")
