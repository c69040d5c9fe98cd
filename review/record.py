"""What is known of a page's review, and the JSON beside the page that holds it."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from configs.layouts import find_layout
from digitization.layout.page import NOTHING_KNOWN, Known
from prediction.results import Page
from review.corrections import PARSERS, Corrections
from utils.files import atomic_write, open_text

VERSION = 1  # of the JSON
SAVED, SAVING = "saved", "saving"  # states of the JSON: all files follow it, or not yet
SET_ASIDE = "set aside"  # what is noted of a page in which there is nothing to be read
MAX_JSON = 10_000_000  # bytes of the largest file of corrections that is read


@dataclass(frozen=True)
class Record:
    """What is known of a page's review.

    revision: how often it was saved; history: when, and by whom.
    known: what predict.py was told of the page, before a person corrected it.
    draft: the corrections that are not saved yet; None where there are no others.
    """

    revision: int = 0
    state: str = SAVED
    accepted: bool = False
    corrections: Corrections = field(default_factory=Corrections)
    history: tuple[Mapping[str, Any], ...] = ()
    known: Known = NOTHING_KNOWN
    draft: Corrections | None = None

    @property
    def was_set_aside(self) -> bool:
        """Whether a person said last that there is nothing to be read."""
        return bool(self.history) and list(self.history[-1]["what"]) == [SET_ASIDE]

    def noted(
        self, who: str, what: list[str], corrections: Corrections, known: Known, accepted: bool
    ) -> "Record":
        """The review once somebody saved the page, with a note of what was done."""
        when = datetime.now(timezone.utc).isoformat(timespec="seconds")
        note = {"when": when, "who": showable(who), "what": what, "accepted": accepted}
        return Record(self.revision + 1, SAVED, accepted, corrections, (*self.history, note), known)


def changes(before: Corrections, after: Corrections) -> list[str]:
    """What was done since, as lines; those taken back begin with "not any more"."""
    old, new = before.describe(), after.describe()
    added = list(new)
    gone = []
    for line in old:
        if line in added:
            added.remove(line)
        else:
            gone.append(f"not any more: {line}")
    return added + gone


def read_record(path: Path) -> Record:
    """The review in a file, an empty one where there is none. Raises ValueError for another file."""
    if not path.exists():
        return Record()
    if path.stat().st_size > MAX_JSON:
        raise ValueError(f"{path.name}: too large for a page's corrections")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["version"] != VERSION:
            raise ValueError(f"{path.name}: version {values['version']!r}, not {VERSION}")
        return Record(
            int(values["revision"]),
            str(values["state"]),
            bool(values["accepted"]),
            Corrections.of_json(values["corrections"]),
            tuple(map(as_note, values["history"])),
            known_of_json(values.get("known", {})),
            None if values.get("draft") is None else Corrections.of_json(values["draft"]),
        )
    except (KeyError, TypeError, UnicodeDecodeError, json.JSONDecodeError, OverflowError,
            RecursionError) as error:  # fmt: skip
        raise ValueError(f"{path.name}: not a page's corrections ({type(error).__name__})") from None


def as_note(values: Any) -> Mapping[str, Any]:
    """What somebody did to a page and when, as texts that can be shown. Raises KeyError, TypeError."""
    what = [showable(line) for line in values["what"]]
    texts = {"when": showable(values["when"]), "who": showable(values["who"]), "what": what}
    return texts | {"accepted": bool(values["accepted"])}


def showable(text: Any) -> str:
    """A text in which nothing is left that cannot be written in UTF-8."""
    return str(text).encode("utf-8", "backslashreplace").decode("utf-8")


def write_record(path: Path, page: Page, record: Record, state: str) -> None:
    values = {
        "version": VERSION,
        "page": page.name,
        "image": str(page.path),
        "revision": record.revision,
        "state": state,
        "accepted": record.accepted,
        "corrections": record.corrections.to_json(),
        "known": known_to_json(record.known),
        "history": list(record.history),
    }
    if record.draft is not None:
        values["draft"] = record.draft.to_json()
    with atomic_write(path) as partial, open_text(partial) as file:
        json.dump(values, file, ensure_ascii=False, indent=1)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())


def known_to_json(known: Known) -> dict[str, Any]:
    """Plain values of what is known, without what is not."""
    layout = None if known.layout is None else known.layout.name
    values = {
        "layout": layout,
        "speed": known.speed,
        "gain": known.gain,
        "competition": known.competition or None,
    }
    return {name: value for name, value in values.items() if value is not None}


def known_of_json(values: Any) -> Known:
    """The inverse of `known_to_json`. Raises ValueError or KeyError for anything else."""
    if not isinstance(values, Mapping):
        raise ValueError("known: not an object")
    given: dict[str, Any] = {n: PARSERS[n](value) for n, value in values.items() if n != "competition"}
    if "layout" in given:
        given["layout"] = find_layout(given["layout"])
    return Known(**given, competition=bool(values.get("competition", False)))
