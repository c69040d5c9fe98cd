"""The pages of a PDF file as values: their paths, texts and images, in mm of the page as it is shown.

A process of its own reads the file (utils/pdf_child.py), so that a hostile one takes neither time nor memory.
Points (N, 2) are (x, y), right and down from the page's top left corner, /Rotate undone, taken as 1/72 inch.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

MM_PER_POINT = 25.4 / 72
MAX_PAGES = 60  # pages of a file; reports of a stress test have thirty
READ_SECONDS = 15  # limit for all pages of a file; a page takes 0.02 to 0.2 s
RENDER_SECONDS = 30  # limit for a page, of which scans of 178 megapixels take about five
PDF_SUFFIX = ".pdf"
PDF_DPI = 300  # resolution at which PDF pages are rendered; 11 x 8.5 inches become 3300 x 2550 px
CHILD = Path(__file__).with_name("pdf_child.py")
NUMBERS_PER_CHARACTER = 8  # code, origin, box, angle
# A new text begins where the next character is farther off than these, in heights of the characters.
MAX_GAP, MAX_STEP_BACK, MAX_RISE = 1.0, 0.5, 0.2


@dataclass(frozen=True)
class Line:
    """A line through points (N, 2) mm, from a MoveTo to the next; `colour` is RGBA, `width` in mm."""

    points: np.ndarray
    colour: tuple[int, int, int, int]
    width: float
    is_stroke: bool
    is_curved: bool

    @property
    def style(self) -> tuple:
        """What lines drawn with the same pen share."""
        return (self.colour, round(self.width, 3), self.is_stroke)


@dataclass(frozen=True)
class Text:
    """Characters side by side; x, y is where the first one stands, on the base line; all in mm.

    `turns` counts the quarter turns clockwise by which the text is turned from upright.
    """

    text: str
    x: float
    y: float
    width: float
    height: float
    turns: int


@dataclass(frozen=True)
class Picture:
    """An image on the page: its corners' bounds (left, top, right, bottom) in mm, its size in pixels."""

    box: tuple[float, float, float, float]
    pixels: tuple[int, int]

    @property
    def area(self) -> float:
        left, top, right, bottom = self.box
        return (right - left) * (bottom - top)


@dataclass(frozen=True)
class PdfPage:
    """A page of a PDF; width and height in mm, number from 0; whether most of its characters are mirrored."""

    number: int
    width: float
    height: float
    lines: tuple[Line, ...]
    texts: tuple[Text, ...]
    pictures: tuple[Picture, ...]
    is_mirrored: bool = False

    def turned_back(self, turns: int) -> "PdfPage":
        """The page turned counter-clockwise by quarter turns."""
        width, height = (self.width, self.height) if turns % 2 == 0 else (self.height, self.width)
        corners = turn_points(np.array([[0, 0], [self.width, self.height]]), turns)
        corner = corners.min(axis=0)

        def place(points: np.ndarray) -> np.ndarray:
            return turn_points(points, turns) - corner

        def bounds(picture: Picture) -> tuple[float, float, float, float]:
            ends = place(np.array(picture.box).reshape(2, 2))
            left, top = ends.min(axis=0).tolist()
            right, bottom = ends.max(axis=0).tolist()
            return left, top, right, bottom

        lines = tuple(replace(line, points=place(line.points)) for line in self.lines)
        texts = []
        for text in self.texts:
            x, y = place(np.array([[text.x, text.y]]))[0].tolist()
            texts.append(replace(text, x=x, y=y, turns=(text.turns - turns) % 4))
        pictures = tuple(replace(picture, box=bounds(picture)) for picture in self.pictures)
        return PdfPage(self.number, width, height, lines, tuple(texts), pictures, self.is_mirrored)


def run_child(path: Path, seconds: float, *arguments: object) -> tuple[dict, bytes]:
    """The header and the rest of what the child answers; ValueError with its reason if it has one."""
    what, *numbers = (str(argument) for argument in arguments)
    try:
        done = subprocess.run(
            [sys.executable, str(CHILD), what, str(path), *numbers],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"takes longer than {seconds:g} s to read: nothing that a device prints") from None
    if done.returncode or len(done.stdout) < 8:
        raise ValueError("PDFium gives up: the file is broken, or needs more memory than any page does")
    start = 8 + int.from_bytes(done.stdout[:8], "little")
    header = json.loads(done.stdout[8:start])
    if "error" in header:
        raise ValueError(header["error"])
    return header, done.stdout[start:]


def read_pdf_pages(path: Path) -> list[PdfPage]:
    """All pages of a PDF. Raises ValueError for one that cannot be read, or holds more than any page does."""
    header, body = run_child(path, READ_SECONDS, "objects", MAX_PAGES)
    pages, start = [], 0
    for number, raw in enumerate(header["pages"]):
        stop = start + 8 * raw["points"]
        points = np.frombuffer(body[start:stop]).reshape(-1, 2)
        start, stop = stop, stop + 8 * raw["characters"]
        characters = np.frombuffer(body[start:stop]).reshape(-1, NUMBERS_PER_CHARACTER)
        start = stop
        pages.append(make_page(number, raw, points, characters))
    return pages


def make_page(number: int, raw: dict, points: np.ndarray, characters: np.ndarray) -> PdfPage:
    """A page of what the child tells of it, with /Rotate undone."""
    box, rotation = raw["box"], raw["rotation"] // 90 % 4
    size = np.array([box[2] - box[0], box[3] - box[1]]) * MM_PER_POINT
    width, height = size if rotation % 2 == 0 else size[::-1]
    placed = place_points(points, box, rotation)
    lines = tuple(
        Line(
            placed[item["first"] : item["first"] + item["count"]],
            tuple(item["colour"]),
            item["width"] * MM_PER_POINT,
            item["is_stroke"],
            item["is_curved"],
        )
        for item in raw["paths"]
        if np.isfinite(placed[item["first"] : item["first"] + item["count"]]).all()
    )
    pictures = []
    for item in raw["images"]:
        corners = place_points(np.array(item["corners"]), box, rotation)
        inside = np.clip(corners, 0, [width, height])
        bounds = (*inside.min(axis=0).tolist(), *inside.max(axis=0).tolist())
        pictures.append(Picture(bounds, tuple(item["pixels"])))
    texts = tuple(join_characters(characters, box, rotation))
    is_mirrored = 2 * raw["mirrored"] > len(characters)
    return PdfPage(number, float(width), float(height), lines, texts, tuple(pictures), is_mirrored)


def place_points(points: np.ndarray, box: tuple, rotation: int) -> np.ndarray:
    """Points (N, 2) of the file in mm right and down from the corner that is top left after `rotation`.

    `rotation` counts quarter turns clockwise, as /Rotate does.
    """
    left, bottom, right, top = box
    x, y = points[:, 0], points[:, 1]
    turned = ((x - left, top - y), (y - bottom, x - left), (right - x, y - bottom), (top - y, right - x))
    return np.stack(turned[rotation], axis=-1) * MM_PER_POINT


def join_characters(characters: np.ndarray, box: tuple, rotation: int) -> list[Text]:
    """The texts of characters (N, 8) in the order of the file: those that follow one another on a line."""
    if not len(characters):
        return []
    origins = place_points(characters[:, 1:3], box, rotation)
    corners = [place_points(characters[:, columns], box, rotation) for columns in ((3, 4), (5, 6))]
    turns = np.round(rotation + characters[:, 7] / (np.pi / 2)).astype(int) % 4  # both are clockwise
    texts: list[Text] = []
    run: list[int] = []
    along, across, ends, heights = np.empty((4, len(characters)))
    for turn in range(4):
        of_turn = turns == turn
        upright = [turn_points(part[of_turn], turn) for part in (origins, *corners)]
        along[of_turn], across[of_turn] = upright[0].T
        ends[of_turn] = np.maximum(upright[1][:, 0], upright[2][:, 0])
        heights[of_turn] = np.abs(upright[1][:, 1] - upright[2][:, 1])

    def finish() -> None:
        text = "".join(chr(int(characters[index, 0])) for index in run)
        if text.strip():
            shown = [index for index in run if chr(int(characters[index, 0])).strip()]
            x, y = origins[shown[0]].tolist()
            width, height = ends[shown[-1]] - along[shown[0]], float(np.median(heights[run]))
            texts.append(Text(text.strip(), x, y, float(width), height, int(turns[shown[0]])))

    for index in range(len(characters)):
        if run:
            last, size = run[-1], max(heights[run[-1]], heights[index], 1e-6)
            gap = (along[index] - ends[last]) / size
            rise = abs(across[index] - across[last]) / size
            if turns[index] != turns[last] or rise > MAX_RISE or not -MAX_STEP_BACK <= gap <= MAX_GAP:
                finish()
                run = []
        run.append(index)
    finish()
    return texts


def turn_points(points: np.ndarray, turns: int) -> np.ndarray:
    """Points (N, 2) right and down about the origin, turned back by quarter turns clockwise."""
    x, y = points[:, 0], points[:, 1]
    return np.stack(((x, y), (y, -x), (-x, -y), (-y, x))[turns], axis=-1)


def render_pdf_page(path: Path, number: int = 0, dpi: float = PDF_DPI, max_pixels: int = 178_000_000,
                    max_side: int = 32_766) -> np.ndarray:  # fmt: skip
    """A page as (H, W, 3) uint8 RGB, at `dpi` or at the most that the limits in pixels allow.

    Raises ValueError where that is not possible.
    """
    header, body = run_child(path, RENDER_SECONDS, "render", number, dpi, max_pixels, max_side)
    rows = np.frombuffer(body, np.uint8).reshape(header["height"], header["stride"])
    pixels = rows[:, : header["width"] * header["channels"]].reshape(len(rows), header["width"], -1)
    rgb = pixels[..., :3] if pixels.shape[2] >= 3 else np.repeat(pixels, 3, axis=2)
    return np.ascontiguousarray(rgb)
