"""What a process of its own does with a PDF file: list the objects of its pages, or render one of them.

PDFium reads a page whole before it tells how much is on it, and may take any time and memory for a hostile
one. So utils/pdf.py runs this file as a process that it can end. It needs pypdfium2 and nothing else. The
answer goes to the standard output: its header as JSON after the header's length in eight bytes, then arrays
of doubles, or the pixels of a page. Coordinates are in points of the page as the file has them.
"""

import ctypes
import json
import sys
from array import array
from contextlib import suppress
from typing import Any

LIST_MEMORY = 3 * 2**29  # bytes of address space; 200,000 objects take 0.6 GB
RENDER_MEMORY = 3 * 2**30  # bytes; a page of MAX_PIXELS in utils/images.py takes 0.7 GB, its copies as much
MAX_DEPTH = 12  # forms within forms; those of printer drivers are at most three deep
MAX_OBJECTS = 200_000  # of a page; a page that draws each of 60,000 samples by itself has as many strokes
MAX_POINTS = 1_000_000  # of all paths of a page; twelve leads of ten seconds at 1000 Hz have 120,000
MAX_CHARACTERS = 50_000  # of a page; grids that are set in a font have two thousand
MAX_SIDE_PT = 14_400  # longest side of a page that the PDF standard allows, 5.08 m


class Refused(Exception):
    """Why a file is not read, as a sentence."""


def limit_memory(most: int) -> None:
    """Where the system can, let this process fail rather than fill the memory."""
    try:
        import resource
    except ImportError:  # Windows
        return
    with suppress(ValueError, OSError):  # macOS refuses such limits
        resource.setrlimit(resource.RLIMIT_AS, (most, most))


def open_document(path: str) -> Any:
    try:
        import pypdfium2
    except ImportError:
        raise Refused("PDF files need `pip install pypdfium2`") from None
    try:
        document = pypdfium2.PdfDocument(path)
    except pypdfium2.PdfiumError as error:
        if "password" in str(error).lower():
            raise Refused("is protected by a password") from None
        raise Refused(str(error)) from None
    if not len(document):
        raise Refused("a PDF without pages")
    return document


class PageObjects:
    """The paths, characters and images of a page, collected from its objects and those of its forms."""

    def __init__(self, page: Any):
        import pypdfium2.raw as pdfium

        self.pdfium, self.page = pdfium, page
        self.points, self.characters = array("d"), array("d")
        self.paths: list[dict] = []
        self.images: list[dict] = []
        self.objects = self.mirrored = 0

    def collect(self) -> None:
        """Raises Refused for a page that holds more than any device prints."""
        pdfium = self.pdfium
        self.walk(pdfium.FPDFPage_CountObjects, pdfium.FPDFPage_GetObject, self.page.raw, IDENTITY, 0)
        self.read_characters()

    def walk(self, count: Any, get: Any, container: Any, outer: "Matrix", depth: int) -> None:
        """The objects of a page or a form; `outer` takes the container's coordinates to the page's."""
        pdfium = self.pdfium
        if depth > MAX_DEPTH:
            raise Refused(f"forms within forms, more than {MAX_DEPTH} deep")
        total = count(container)
        self.objects += total
        if self.objects > MAX_OBJECTS:
            raise Refused(f"{self.objects} objects on a page, above the limit of {MAX_OBJECTS}")
        for index in range(total):
            item = get(container, index)
            kind = pdfium.FPDFPageObj_GetType(item)
            if kind == pdfium.FPDF_PAGEOBJ_PATH:
                self.read_path(item, compose(self.matrix_of(item), outer))
            elif kind == pdfium.FPDF_PAGEOBJ_IMAGE:
                self.read_image(item, compose(self.matrix_of(item), outer))
            elif kind == pdfium.FPDF_PAGEOBJ_FORM:
                inner = compose(self.matrix_of(item), outer)
                self.walk(
                    pdfium.FPDFFormObj_CountObjects, pdfium.FPDFFormObj_GetObject, item, inner, depth + 1
                )

    def matrix_of(self, item: Any) -> "Matrix":
        matrix = self.pdfium.FS_MATRIX()
        if not self.pdfium.FPDFPageObj_GetMatrix(item, matrix):
            return IDENTITY
        return matrix.a, matrix.b, matrix.c, matrix.d, matrix.e, matrix.f

    def read_path(self, item: Any, matrix: "Matrix") -> None:
        """The points of a path on the page; each of its parts, from a MoveTo on, becomes an entry."""
        pdfium = self.pdfium
        fill, stroke = ctypes.c_int(), ctypes.c_int()
        pdfium.FPDFPath_GetDrawMode(item, fill, stroke)
        if not stroke.value and not fill.value:
            return
        red, green, blue, alpha = (ctypes.c_uint() for _ in range(4))
        colour = pdfium.FPDFPageObj_GetStrokeColor if stroke.value else pdfium.FPDFPageObj_GetFillColor
        colour(item, red, green, blue, alpha)
        width = ctypes.c_float()
        pdfium.FPDFPageObj_GetStrokeWidth(item, width)
        a, b, c, d, e, f = matrix
        style = {
            "colour": (red.value, green.value, blue.value, alpha.value),
            "width": width.value * abs(a * d - b * c) ** 0.5,
            "is_stroke": bool(stroke.value),
        }
        total = pdfium.FPDFPath_CountSegments(item)
        if len(self.points) // 2 + total > MAX_POINTS:
            raise Refused(f"more than {MAX_POINTS} points on a page")
        x, y, first, is_curved = ctypes.c_float(), ctypes.c_float(), len(self.points), False
        for index in range(total):
            segment = pdfium.FPDFPath_GetPathSegment(item, index)
            kind = pdfium.FPDFPathSegment_GetType(segment)
            if kind == pdfium.FPDF_SEGMENT_MOVETO and len(self.points) > first:
                self.add_path(first, style, is_curved)
                first, is_curved = len(self.points), False
            is_curved = is_curved or kind == pdfium.FPDF_SEGMENT_BEZIERTO
            pdfium.FPDFPathSegment_GetPoint(segment, x, y)
            self.points.extend((a * x.value + c * y.value + e, b * x.value + d * y.value + f))
            if pdfium.FPDFPathSegment_GetClose(segment):
                self.points.extend(self.points[first : first + 2])
        if len(self.points) > first:
            self.add_path(first, style, is_curved)

    def add_path(self, first: int, style: dict, is_curved: bool) -> None:
        count = (len(self.points) - first) // 2
        self.paths.append({"first": first // 2, "count": count, "is_curved": is_curved, **style})
        if len(self.paths) > MAX_OBJECTS:
            raise Refused(f"more than {MAX_OBJECTS} strokes on a page")

    def read_image(self, item: Any, matrix: "Matrix") -> None:
        """The place of an image, which is the unit square under its matrix, and its size in pixels."""
        width, height = ctypes.c_uint(), ctypes.c_uint()
        self.pdfium.FPDFImageObj_GetImagePixelSize(item, width, height)
        a, b, c, d, e, f = matrix
        corners = [(e + a * u + c * v, f + b * u + d * v) for u, v in ((0, 0), (1, 0), (1, 1), (0, 1))]
        self.images.append({"corners": corners, "pixels": (width.value, height.value)})

    def read_characters(self) -> None:
        """Of each character its code, origin, box and angle: eight doubles."""
        pdfium = self.pdfium
        text = self.page.get_textpage()
        total = pdfium.FPDFText_CountChars(text.raw)
        if total > MAX_CHARACTERS:
            raise Refused(f"{total} characters on a page, above the limit of {MAX_CHARACTERS}")
        x, y, box, matrix = ctypes.c_double(), ctypes.c_double(), pdfium.FS_RECTF(), pdfium.FS_MATRIX()
        for index in range(total):
            if pdfium.FPDFText_IsGenerated(text.raw, index) == 1:
                continue
            pdfium.FPDFText_GetCharOrigin(text.raw, index, x, y)
            pdfium.FPDFText_GetLooseCharBox(text.raw, index, box)
            code = pdfium.FPDFText_GetUnicode(text.raw, index)
            angle = pdfium.FPDFText_GetCharAngle(text.raw, index)
            if pdfium.FPDFText_GetMatrix(text.raw, index, matrix):
                self.mirrored += matrix.a * matrix.d < matrix.b * matrix.c
            self.characters.extend((code, x.value, y.value, box.left, box.bottom, box.right, box.top, angle))
        text.close()


Matrix = tuple[float, float, float, float, float, float]
IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


def compose(inner: Matrix, outer: Matrix) -> Matrix:
    """The matrix that applies `inner`, then `outer`; x' = a x + c y + e, y' = b x + d y + f."""
    a, b, c, d, e, f = inner
    p, q, r, s, t, u = outer
    return (
        p * a + r * b, q * a + s * b, p * c + r * d, q * c + s * d, p * e + r * f + t, q * e + s * f + u
    )  # fmt: skip


def check_size(page: Any) -> None:
    """Raise Refused for a page larger than the standard allows, of which nothing is read or rendered."""
    side = max(page.get_size())
    if not side <= MAX_SIDE_PT:
        raise Refused(f"a page of {side * 0.0254 / 72:.0f} m, above the limit of 5 m")


def list_objects(path: str, max_pages: int) -> None:
    """Write the objects of all pages."""
    document = open_document(path)
    if len(document) > max_pages:
        raise Refused(f"{len(document)} pages, above the limit of {max_pages}")
    pages, arrays = [], []
    for number in range(len(document)):
        page = document[number]
        try:
            check_size(page)
            objects = PageObjects(page)
            objects.collect()
        except Refused as error:
            raise Refused(f"page {number + 1}: {error}" if len(document) > 1 else str(error)) from None
        left, bottom, right, top = page.get_bbox()
        pages.append(
            {
                "box": (left, bottom, right, top),
                "rotation": page.get_rotation(),
                "paths": objects.paths,
                "images": objects.images,
                "points": len(objects.points),
                "characters": len(objects.characters),
                "mirrored": objects.mirrored,
            }
        )
        arrays += [objects.points, objects.characters]
        page.close()
    answer({"pages": pages}, *(item.tobytes() for item in arrays))


def render(path: str, number: int, dpi: float, max_pixels: int, max_side: int) -> None:
    """Write the pixels of a page, RGB row by row; a page that would be too large has a lower resolution."""
    document = open_document(path)
    page = document[number]
    check_size(page)
    width, height = (side * dpi / 72 for side in page.get_size())
    shrink = min(1.0, (max_pixels / (width * height)) ** 0.5, max_side / max(width, height))
    # Sides in pixels are rounded up: without the last factor 3300.0001 becomes 3301.
    scale = shrink * dpi / 72 * (1 - 1e-6)
    bitmap = page.render(scale=scale, rev_byteorder=True, prefer_bgrx=False)
    header = {
        "width": bitmap.width,
        "height": bitmap.height,
        "stride": bitmap.stride,
        "channels": bitmap.n_channels,
    }
    answer(header, bytes(bitmap.buffer))


def answer(header: dict, *parts: bytes) -> None:
    text = json.dumps(header).encode()
    out = sys.stdout.buffer
    out.write(len(text).to_bytes(8, "little"))
    out.write(text)
    for part in parts:
        out.write(part)
    out.flush()


def main() -> None:
    what, path, *numbers = sys.argv[1:]
    limit_memory(LIST_MEMORY if what == "objects" else RENDER_MEMORY)
    try:
        if what == "objects":
            list_objects(path, int(numbers[0]))
        else:
            number, dpi, max_pixels, max_side = numbers
            render(path, int(number), float(dpi), int(max_pixels), int(max_side))
    except Refused as error:
        answer({"error": str(error)})
    except MemoryError:
        answer({"error": "needs too much memory"})


if __name__ == "__main__":
    main()
