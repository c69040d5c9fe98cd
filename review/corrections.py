"""What a person corrected on a page, as a value that is written as JSON.

All places are (x, y) in px of the image as it is in its file. So they stay right when other weights find the
page a little elsewhere. Rows are counted from the top of the page, columns of leads from the left.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from configs.layouts import GAIN_RANGE, SPEED_RANGE, find_layout
from configs.page import LEADS
from configs.stage0 import ORIENTATIONS

Point = tuple[float, float]
INK, STRAIGHT, UNREADABLE = "ink", "straight", "unreadable"
KINDS = (INK, STRAIGHT, UNREADABLE)  # of stretches
LARGEST = 1e12  # beyond which a number is none of a page's
MAX_PX = 1e5  # px, greatest coordinate: images have 32,766 px a side at most
MAX_SQUARES = 120  # squares, longest side of a rectangle of the grid: the widest sheets have 100
MAX_POINTS = 400  # points of one stretch
MAX_ITEMS = 500  # crossings or stretches of one page
MAX_ROWS = 24  # rows of a page


@dataclass(frozen=True)
class Rectangle:
    """Four crossings of the grid: the corners of a rectangle of `across` x `down` squares of 5 mm.

    corners: top left, top right, bottom right and bottom left of the upright page.
    """

    corners: tuple[Point, Point, Point, Point]
    across: int
    down: int


@dataclass(frozen=True)
class Crossing:
    """A crossing of the grid that is at `true`, and was found at `found` after those dragged before it."""

    found: Point
    true: Point


@dataclass(frozen=True)
class Stretch:
    """A part of a row's trace, from the first of its points to the last.

    kind: the trace follows the ink from point to point, or straight lines, or it cannot be read.
    """

    row: int
    kind: str
    points: tuple[Point, ...]


@dataclass(frozen=True)
class Corrections:
    """The corrections of a page; what was not corrected is None or empty.

    orientation: 0..7, see digitization/geometry/orientation.py.
    rectangle, crossings: where the grid is.
    layout, speed, gain: the name of the layout, mm/s, mm/mV.
    zero_lines: (row, a point on its zero line).
    start, end: points where the rows begin and end, at their middle height.
    boundaries: (number, a point where the leads of two columns meet), counted from 1.
    names: (row, column, lead), "-aVR" for a lead printed upside down.
    stretches: in the order in which they were made; later ones lie over earlier ones.
    """

    orientation: int | None = None
    rectangle: Rectangle | None = None
    crossings: tuple[Crossing, ...] = ()
    layout: str | None = None
    speed: float | None = None
    gain: float | None = None
    zero_lines: tuple[tuple[int, Point], ...] = ()
    start: Point | None = None
    end: Point | None = None
    boundaries: tuple[tuple[int, Point], ...] = ()
    names: tuple[tuple[int, int, str], ...] = ()
    stretches: tuple[Stretch, ...] = ()

    @property
    def moves_page(self) -> bool:
        """Whether the page has to be found anew: turned, or its grid given."""
        return self.orientation is not None or self.rectangle is not None

    @property
    def moves_rows(self) -> bool:
        """Whether its rows are others than those found on its grid."""
        given = (self.layout, self.speed, self.gain, self.start, self.end)
        return any(value is not None for value in given) or bool(
            self.zero_lines or self.boundaries or self.names
        )

    def without_rows(self) -> "Corrections":
        """These without all that counts rows, columns or places on the rows."""
        return replace(self, zero_lines=(), start=None, end=None, boundaries=(), names=(), stretches=())

    def describe(self) -> list[str]:
        """A line for each correction, in the order in which they are applied."""
        lines = []
        if self.orientation is not None:
            lines.append(f"turned to orientation {self.orientation}")
        if self.rectangle:
            lines.append(f"grid by a rectangle of {self.rectangle.across} x {self.rectangle.down} squares")
        if self.crossings:
            lines.append(f"grid moved at {count(len(self.crossings), 'crossing')}")
        if self.layout:
            lines.append(f"layout {self.layout}")
        if self.speed:
            lines.append(f"paper speed {self.speed:g} mm/s")
        if self.gain:
            lines.append(f"gain {self.gain:g} mm/mV")
        if self.zero_lines:
            lines.append("zero line of row " + ", ".join(str(row + 1) for row, _ in self.zero_lines))
        ends = [name for name, place in (("beginning", self.start), ("end", self.end)) if place]
        if ends:
            lines.append(" and ".join(ends) + " of the rows")
        if self.boundaries:
            lines.append("boundary " + ", ".join(str(number) for number, _ in self.boundaries))
        lines += [f"row {row + 1}, column {column + 1} is {lead}" for row, column, lead in self.names]
        words = {INK: "redrawn along the ink", STRAIGHT: "redrawn straight", UNREADABLE: "unreadable"}
        lines += [f"a stretch of row {s.row + 1} {words[s.kind]}" for s in self.stretches]
        return lines

    def to_json(self) -> dict[str, Any]:
        """Plain values, without what was not corrected."""
        default = Corrections()
        whole = asdict(self)
        return {
            field.name: whole[field.name]
            for field in fields(self)
            if getattr(self, field.name) != getattr(default, field.name)
        }

    @classmethod
    def of_json(cls, values: Any) -> "Corrections":
        """The inverse of `to_json`. Raises ValueError for what no page can have."""
        if not isinstance(values, Mapping):
            raise ValueError("corrections: not an object")
        known = {field.name for field in fields(cls)}
        if unknown := set(values) - known:
            raise ValueError(f"corrections: {min(unknown)!r} is not known; written by a newer version?")
        found: dict[str, Any] = {}
        for name, value in values.items():
            if value is not None:
                found[name] = PARSERS[name](value)
        return cls(**found)


def count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def as_number(value: Any, least: float, most: float, what: str) -> float:
    """A finite number in a range; ValueError for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not abs(value) <= LARGEST:
        raise ValueError(f"{what}: not a number")
    if not least <= value <= most:
        raise ValueError(f"{what} {value:g}: must be from {least:g} to {most:g}")
    return float(value)


def as_int(value: Any, least: int, most: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{what}: {value!r} is not a whole number")
    return int(as_number(value, least, most, what))


def as_point(value: Any) -> Point:
    x, y = as_list(value, 2, 2, "a place")
    return as_number(x, -MAX_PX, MAX_PX, "x"), as_number(y, -MAX_PX, MAX_PX, "y")


def as_list(value: Any, least: int, most: int, what: str) -> Sequence[Any]:
    if not isinstance(value, (list, tuple)) or not least <= len(value) <= most:
        raise ValueError(f"{what}: not a list of {least} to {most} values")
    return value


def as_fields(value: Any, names: tuple[str, ...], what: str) -> list[Any]:
    """The values of an object with exactly these names."""
    if not isinstance(value, Mapping) or set(value) != set(names):
        raise ValueError(f"{what}: not an object with {', '.join(names)}")
    return [value[name] for name in names]


def as_rectangle(value: Any) -> Rectangle:
    corners, across, down = as_fields(value, ("corners", "across", "down"), "rectangle")
    first, second, third, fourth = (as_point(corner) for corner in as_list(corners, 4, 4, "corners"))
    sides = (as_int(side, 1, MAX_SQUARES, "squares") for side in (across, down))
    return Rectangle((first, second, third, fourth), *sides)


def as_crossing(value: Any) -> Crossing:
    found, true = as_fields(value, ("found", "true"), "crossing")
    return Crossing(as_point(found), as_point(true))


def as_stretch(value: Any) -> Stretch:
    row, kind, points = as_fields(value, ("row", "kind", "points"), "stretch")
    if kind not in KINDS:
        raise ValueError(f"stretch: {kind!r} is not one of {', '.join(KINDS)}")
    points = tuple(as_point(point) for point in as_list(points, 2, MAX_POINTS, "points"))
    return Stretch(as_int(row, 0, MAX_ROWS, "row"), kind, points)


def as_layout(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"layout: {value!r} is not a name")
    return find_layout(value).name


def as_place(value: Any) -> tuple[int, Point]:
    number, point = as_list(value, 2, 2, "a numbered place")
    return as_int(number, 0, MAX_ROWS, "number"), as_point(point)


def as_name(value: Any) -> tuple[int, int, str]:
    row, column, lead = as_list(value, 3, 3, "the name of a lead")
    if not isinstance(lead, str) or lead.removeprefix("-") not in LEADS:
        raise ValueError(f"{lead!r} is not one of the leads {', '.join(LEADS)}")
    return as_int(row, 0, MAX_ROWS, "row"), as_int(column, 0, len(LEADS), "column"), lead


PARSERS = {
    "orientation": lambda value: as_int(value, 0, ORIENTATIONS - 1, "orientation"),
    "rectangle": as_rectangle,
    "crossings": lambda value: tuple(map(as_crossing, as_list(value, 0, MAX_ITEMS, "crossings"))),
    "layout": as_layout,
    "speed": lambda value: as_number(value, *SPEED_RANGE, "speed"),
    "gain": lambda value: as_number(value, *GAIN_RANGE, "gain"),
    "zero_lines": lambda value: tuple(map(as_place, as_list(value, 0, MAX_ROWS, "zero_lines"))),
    "start": as_point,
    "end": as_point,
    "boundaries": lambda value: tuple(map(as_place, as_list(value, 0, len(LEADS), "boundaries"))),
    "names": lambda value: tuple(map(as_name, as_list(value, 0, MAX_ITEMS, "names"))),
    "stretches": lambda value: tuple(map(as_stretch, as_list(value, 0, MAX_ITEMS, "stretches"))),
}
