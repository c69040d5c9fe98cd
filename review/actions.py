"""What a person does in the browser, as changes of a page's corrections.

An action is an object with `do`, its name, and its own values. Places in it are (x, y) in squares of the
straightened paper, or for the grid in px of the upright image, as the browser shows them.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from configs.layouts import GAIN_RANGE, SPEED_RANGE
from configs.page import LEADS
from configs.stage0 import ORIENTATIONS
from digitization.geometry.orientation import (
    apply_orientation,
    orient_points,
    shape_of_upright,
    undo_orientation,
)
from review.corrections import (
    MAX_ITEMS,
    MAX_POINTS,
    MAX_ROWS,
    PARSERS,
    Corrections,
    Crossing,
    Rectangle,
    as_int,
    as_layout,
    as_list,
    as_number,
    as_point,
    as_stretch,
)
from review.places import FoundPage, Places

TURNS = {  # of the image as it is shown
    "left": lambda shown: np.rot90(shown, 1),
    "right": lambda shown: np.rot90(shown, -1),
    "over": lambda shown: np.rot90(shown, 2),
    "mirrored": lambda shown: shown[:, ::-1],
}


def act(
    action: Any, corrections: Corrections, page: FoundPage | None, orientation: int, shape: tuple[int, ...]
) -> Corrections:
    """The corrections after an action on a page as it is shown, of an image (height, width).

    `page` is None where none was found; `orientation` is that in which the image is shown. Raises ValueError
    for what cannot be done.
    """
    if not isinstance(action, Mapping) or not isinstance(action.get("do"), str):
        raise ValueError("not an action")
    do = action["do"]
    if do in PAPER_ACTIONS:
        return PAPER_ACTIONS[do](action, corrections, orientation, shape)
    if do in SCALE_ACTIONS:
        return SCALE_ACTIONS[do](action, corrections)
    if do not in ROW_ACTIONS:
        raise ValueError(f"{do!r} is no action")
    if page is None:
        raise ValueError("no page is found yet: mark its grid first")
    return ROW_ACTIONS[do](action, corrections, page, Places.of(page, shape))


def turn(action: Mapping, corrections: Corrections, orientation: int, shape: tuple[int, ...]) -> Corrections:
    """Turn the image as it is shown by a quarter or a half, or mirror it left to right."""
    how = action.get("how")
    if how not in TURNS:
        raise ValueError(f"{how!r}: not one of {', '.join(TURNS)}")
    after = orientation_after(orientation, TURNS[how])
    return replace(corrections.without_rows(), orientation=after, rectangle=None, crossings=())


def orientation_after(orientation: int, change: Callable[[np.ndarray], np.ndarray]) -> int:
    """The orientation whose undoing shows an image as that of another does, but for a change of view."""
    shown = np.arange(6).reshape(2, 3)  # pixels that are all different
    image = apply_orientation(shown, orientation)
    wanted = change(shown)
    return next(o for o in range(ORIENTATIONS) if np.array_equal(undo_orientation(image, o), wanted))


def to_file(points: list, orientation: int, shape: tuple[int, ...]) -> list[tuple[float, float]]:
    """Points px of the upright image to px of the image as it is in its file."""
    xy = orient_points(np.array(points, np.float64), orientation, shape_of_upright(orientation, shape))
    return rounded(xy)


def rounded(xy: np.ndarray) -> list[tuple[float, float]]:
    """Points (N, 2) as pairs, to a hundredth of a px."""
    return [(round(float(x), 2), round(float(y), 2)) for x, y in xy]


def set_rectangle(
    action: Mapping, corrections: Corrections, orientation: int, shape: tuple[int, ...]
) -> Corrections:
    corners = [as_point(point) for point in as_list(action.get("corners"), 4, 4, "corners")]
    first, second, third, fourth = to_file(corners, orientation, shape)
    rectangle = PARSERS["rectangle"](
        {
            "corners": [first, second, third, fourth],
            "across": action.get("across"),
            "down": action.get("down"),
        }
    )
    assert isinstance(rectangle, Rectangle)
    kept = orientation if corrections.orientation is None else corrections.orientation
    return replace(corrections.without_rows(), rectangle=rectangle, crossings=(), orientation=kept)


def move_crossing(
    action: Mapping, corrections: Corrections, orientation: int, shape: tuple[int, ...]
) -> Corrections:
    """One crossing dragged from where it is shown to where it is. One may be dragged again."""
    points = [as_point(action.get("found")), as_point(action.get("true"))]
    crossing = Crossing(*to_file(points, orientation, shape))
    crossings = as_list((*corrections.crossings, crossing), 1, MAX_ITEMS, "crossings")
    return replace(corrections, crossings=tuple(crossings))


def set_layout(action: Mapping, corrections: Corrections) -> Corrections:
    """Another layout; what counts its rows and columns no longer fits."""
    name = as_layout(action.get("layout"))
    return replace(corrections.without_rows(), layout=name)


def set_speed(action: Mapping, corrections: Corrections) -> Corrections:
    return replace(corrections, speed=as_number(action.get("value"), *SPEED_RANGE, "speed"))


def set_gain(action: Mapping, corrections: Corrections) -> Corrections:
    return replace(corrections, gain=as_number(action.get("value"), *GAIN_RANGE, "gain"))


def pinned(corrections: Corrections, page: FoundPage) -> Corrections:
    """The corrections with the layout as it is: what follows counts its rows and columns."""
    return replace(corrections, layout=corrections.layout or page.layout.name)


def in_file(point: Any, places: Places) -> tuple[float, float]:
    return rounded(places.to_image([as_point(point)]))[0]


def set_numbered(pairs: tuple, number: int, value: Any) -> tuple:
    return tuple(sorted((*((n, v) for n, v in pairs if n != number), (number, value))))


def move_zero_line(action: Mapping, corrections: Corrections, page: FoundPage, places: Places) -> Corrections:
    row = as_int(action.get("row"), 0, min(MAX_ROWS, page.layout.row_count - 1), "row")
    lines = set_numbered(corrections.zero_lines, row, in_file(action.get("point"), places))
    return replace(pinned(corrections, page), zero_lines=lines)


def move_end(action: Mapping, corrections: Corrections, page: FoundPage, places: Places) -> Corrections:
    """The beginning or the end of the rows moved; what is not moved stays where it is."""
    side = action.get("side")
    if side not in ("start", "end"):
        raise ValueError(f"{side!r}: not start or end")
    point = in_file(action.get("point"), places)
    corrected = pinned(corrections, page)
    return replace(corrected, start=point) if side == "start" else replace(corrected, end=point)


def move_boundary(action: Mapping, corrections: Corrections, page: FoundPage, places: Places) -> Corrections:
    number = as_int(action.get("number"), 1, max(page.layout.columns - 1, 1), "number")
    boundaries = set_numbered(corrections.boundaries, number, in_file(action.get("point"), places))
    return replace(pinned(corrections, page), boundaries=boundaries)


def name_lead(action: Mapping, corrections: Corrections, page: FoundPage, places: Places) -> Corrections:
    """A lead named; where another place of the rows has that name, the two change places."""
    layout = page.layout
    row = as_int(action.get("row"), 0, layout.row_count - 1, "row")
    column = as_int(action.get("column"), 0, layout.columns - 1, "column")
    lead = action.get("lead")
    if not isinstance(lead, str) or lead.removeprefix("-") not in LEADS:
        raise ValueError(f"{lead!r} is not one of the leads {', '.join(LEADS)}")
    grid = layout.rows if row < len(layout.rows) else tuple((name,) for name in layout.rhythm)
    first = 0 if row < len(layout.rows) else len(layout.rows)
    before = grid[row - first][column if row < len(layout.rows) else 0]
    names = {(r, c): name for r, c, name in corrections.names}
    for r, others in enumerate(grid):
        for c, other in enumerate(others):
            if other.removeprefix("-") == lead.removeprefix("-"):
                names[r + first, c] = before
    names[row, column] = lead
    listed = tuple((r, c, name) for (r, c), name in sorted(names.items()))
    return replace(pinned(corrections, page), names=listed)


def redraw(action: Mapping, corrections: Corrections, page: FoundPage, places: Places) -> Corrections:
    """A stretch of a row's trace redrawn through points, or unreadable from the first to the last."""
    points = [as_point(point) for point in as_list(action.get("points"), 2, MAX_POINTS, "points")]
    if np.ptp([x for x, _ in points]) <= 0:
        raise ValueError("the points lie above one another")
    row = as_int(action.get("row"), 0, page.layout.row_count - 1, "row")
    stretch = as_stretch({"row": row, "kind": action.get("kind"), "points": rounded(places.to_image(points))})
    return replace(corrections, stretches=(*corrections.stretches, stretch))


PAPER_ACTIONS = {"turn": turn, "rectangle": set_rectangle, "crossing": move_crossing}
SCALE_ACTIONS = {"layout": set_layout, "speed": set_speed, "gain": set_gain}
ROW_ACTIONS = {
    "zero_line": move_zero_line,
    "end": move_end,
    "boundary": move_boundary,
    "name": name_lead,
    "redraw": redraw,
}
