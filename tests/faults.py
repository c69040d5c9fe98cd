"""A corpus of bad inputs with what has to become of each. As a script it runs them all and prints the table:

python -m tests.faults
"""

import errno
import io
import os
import re
import resource
import shutil
import struct
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
import pandas as pd
import torch
from PIL import Image

import evaluate
import predict
from configs.page import LEADS
from models.checkpoint import CHECKPOINTS
from utils.command import run_main
from utils.images import read_rgb

ROOT = Path(__file__).parent.parent
GOOD = next((ROOT / "samples" / "train").glob("*/*-0001.png"))
FS = 100  # Hz: quick to write


@dataclass(frozen=True)
class ImageFault:
    """An image: made in a folder under a name, it ends in one of these outcomes, saying this."""

    make: Callable[[Path], None]
    outcomes: tuple[str, ...]
    says: str = ""
    suffix: str = ".png"


@dataclass(frozen=True)
class RunFault:
    """A whole run: `make` fills a folder and returns predict.py's arguments but for --output.

    `program` is predict or evaluate; the run ends in an exit code, saying this.
    """

    make: Callable[[Path], list]
    code: int
    says: str
    program: Callable[[], int] = predict.main
    during: Callable = None  # a context in which it runs
    output: str = "out"


def cut(kind: str, length: int) -> Callable[[Path], None]:
    """The first bytes of the good page in a format."""
    return lambda path: path.write_bytes(encoded(kind)[:length])


def write(data: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(data)


def save(kind: str, image: Callable[[], Image.Image] | None = None, **options) -> Callable[[Path], None]:
    """Whatever the suffix, a file of this kind; the good page unless another image is given."""
    return lambda path: (image() if image else Image.open(GOOD)).save(path, kind, **options)


def encoded(kind: str) -> bytes:
    buffer = io.BytesIO()
    Image.open(GOOD).convert("RGB").save(buffer, kind)
    return buffer.getvalue()


def png_header(width: int, height: int) -> bytes:
    """A PNG that claims a size and has little to show for it."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">2I5B", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(9999)))


def flat(value: int, shape: tuple[int, int] = (850, 1100)) -> Callable[[], Image.Image]:
    return lambda: Image.fromarray(np.full((*shape, 3), value, np.uint8))


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (850, 1100, 3), dtype=np.uint8))


def cat() -> Image.Image:
    """Two eyes and whiskers on fur."""
    fur = np.random.default_rng(1).normal(120, 40, (200, 260, 3)).clip(0, 255).astype(np.uint8)
    picture = cv2.GaussianBlur(cv2.resize(fur, (1300, 1000)), (0, 0), 4)
    for x in (450, 850):
        cv2.circle(picture, (x, 400), 90, (90, 200, 60), -1)
        cv2.ellipse(picture, (x, 400), (20, 80), 0, 0, 360, (10, 10, 10), -1)
    for slope in range(-3, 4):
        cv2.line(picture, (650, 650), (1200, 650 + 60 * slope), (240, 240, 240), 3)
        cv2.line(picture, (650, 650), (100, 650 + 60 * slope), (240, 240, 240), 3)
    return Image.fromarray(picture)


def two_pages() -> Image.Image:
    page = read_rgb(GOOD)
    return Image.fromarray(np.concatenate([page, page], axis=1))


def half_a_page() -> Image.Image:
    page = read_rgb(GOOD)
    return Image.fromarray(np.ascontiguousarray(page[:, : page.shape[1] // 2]))


def grey(kind: type, top: int) -> Callable[[], Image.Image]:
    """The good page in grey values up to `top`."""

    def image() -> Image.Image:
        values = np.asarray(Image.open(GOOD).convert("L")).astype(np.float64) / 255 * top
        return Image.fromarray(values.astype(kind))

    return image


def see_through() -> Image.Image:
    """Only the ink is opaque."""
    page = Image.open(GOOD).convert("RGBA")
    page.putalpha(Image.fromarray(255 * (np.asarray(page.convert("L")) < 250).astype(np.uint8)))
    return page


READ = ("done",)
NOT_READ = ("failed",)
NOT_TRUSTED = ("failed", "doubtful")
ANY = ("done", "doubtful")

IMAGES: dict[str, ImageFault] = {
    "empty file": ImageFault(write(b""), NOT_READ, "empty file"),
    "text": ImageFault(write(b"not an image"), NOT_READ, "not an image"),
    "random bytes": ImageFault(write(bytes(range(256)) * 40), NOT_READ, "not an image", ".jpg"),
    "an SVG": ImageFault(write(b"<svg xmlns='http://www.w3.org/2000/svg'/>"), NOT_READ, "not an image"),
    "truncated PNG": ImageFault(cut("PNG", 50_000), NOT_READ, "truncated"),
    "truncated JPEG": ImageFault(cut("JPEG", 50_000), NOT_READ, "truncated", ".jpg"),
    "truncated TIFF": ImageFault(cut("TIFF", 50_000), NOT_READ, "", ".tif"),
    "truncated WebP": ImageFault(cut("WEBP", 20_000), NOT_READ, "", ".webp"),
    "truncated PDF": ImageFault(cut("PDF", 3000), NOT_READ, "", ".pdf"),
    "text named .pdf": ImageFault(write(b"not a PDF"), NOT_READ, "", ".pdf"),
    "PDF of one page": ImageFault(save("PDF", resolution=200), READ, "", ".pdf"),
    "JPEG named .png": ImageFault(save("JPEG"), READ),
    "TIFF named .jpg": ImageFault(save("TIFF"), READ, "", ".jpg"),
    "bomb of 30000 x 30000": ImageFault(write(png_header(30_000, 30_000)), NOT_READ, "megapixels"),
    "40000 x 10": ImageFault(write(png_header(40_000, 10)), NOT_READ, "a side above the limit"),
    "0 x 0": ImageFault(write(png_header(0, 0)), NOT_READ, ""),
    "1 x 1": ImageFault(save("PNG", flat(255, (1, 1))), NOT_READ),
    "1 x 3000": ImageFault(save("PNG", flat(255, (3000, 1))), NOT_READ),
    "blank": ImageFault(save("PNG", flat(255)), NOT_READ, "grid lines are seen"),
    "black": ImageFault(save("PNG", flat(0)), NOT_READ, "grid lines are seen"),
    "noise": ImageFault(save("PNG", noise), NOT_READ, "grid lines are seen"),
    "a cat": ImageFault(save("JPEG", cat), NOT_READ, "", ".jpg"),
    "two pages side by side": ImageFault(save("PNG", two_pages), ANY),
    "page cut in half": ImageFault(save("PNG", half_a_page), NOT_TRUSTED),
    "page of 300 px": ImageFault(
        save("PNG", lambda: Image.open(GOOD).convert("RGB").resize((300, 232))), NOT_TRUSTED
    ),
    "floating-point TIFF": ImageFault(save("TIFF", grey(np.float32, 1)), NOT_READ, "floating-point", ".tif"),
    "grey of 12 bits": ImageFault(save("TIFF", grey(np.uint16, 4095)), READ, "", ".tif"),
    "grey of 16 bits": ImageFault(save("PNG", grey(np.uint16, 65535)), READ),
    "palette": ImageFault(save("PNG", lambda: Image.open(GOOD).convert("P")), READ),
    "CMYK": ImageFault(save("JPEG", lambda: Image.open(GOOD).convert("CMYK")), READ, "", ".jpg"),
    "transparent paper": ImageFault(save("PNG", see_through), READ),
    "damaged EXIF": ImageFault(save("JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff"), READ, "", ".jpg"),
    "a folder": ImageFault(lambda path: path.mkdir(), NOT_READ, "no such image"),
    "a link to nothing": ImageFault(lambda path: path.symlink_to("gone"), NOT_READ, "no such image"),
    "a pipe": ImageFault(lambda path: os.mkfifo(path), NOT_READ, "no such image"),
    "name of quotes and <tags>, 'x'": ImageFault(write(b""), NOT_READ, "empty file"),
    "name with\na new line": ImageFault(write(b""), NOT_READ, "empty file"),
    "-name like an option": ImageFault(write(b""), NOT_READ, "empty file"),
    "名前 ünïcode": ImageFault(write(b""), NOT_READ, "empty file"),
}


def asks(**changes) -> list[dict]:
    """The twelve rows of a test.csv for one image, the first of them changed."""
    counts = {lead: 10 * FS if lead == "II" else 5 * FS // 2 for lead in LEADS}
    rows = [{"id": "7", "lead": lead, "fs": FS, "number_of_rows": count} for lead, count in counts.items()]
    rows[0] |= changes
    return rows


def table(rows: list[dict] | bytes, image: bool = True) -> Callable[[Path], list]:
    """test.csv with these rows, or of these bytes, and the good page as image 7."""

    def make(folder: Path) -> list:
        (folder / "test").mkdir()
        if image:
            shutil.copy(GOOD, folder / "test" / "7.png")
        path = folder / "test.csv"
        if isinstance(rows, bytes):
            path.write_bytes(rows)
        else:
            pd.DataFrame(rows).to_csv(path, index=False)
        return [path]

    return make


def page(*arguments) -> Callable[[Path], list]:
    """The good page as page.png, and arguments."""

    def make(folder: Path) -> list:
        shutil.copy(GOOD, folder / "page.png")
        return [folder / "page.png", *arguments]

    return make


def weights(contents: Callable[[Path], object], stage: int = 2) -> Callable[[Path], list]:
    """The good page, and weights that `contents` writes to a path."""

    def make(folder: Path) -> list:
        contents(folder / "bad.pt")
        return [*page()(folder), f"--stage{stage}", folder / "bad.pt"]

    return make


class Exploit:
    def __reduce__(self):
        return os.mkdir, (os.path.join(tempfile.gettempdir(), "exploited"),)


def not_finite(path: Path) -> None:
    checkpoint = torch.load(CHECKPOINTS / "stage2.pt", weights_only=True)
    for weight in checkpoint["state_dict"].values():
        if weight.is_floating_point():
            weight.fill_(torch.nan)
    torch.save(checkpoint, path)


def truth(change: Callable[[pd.DataFrame], pd.DataFrame]) -> Callable[[Path], list]:
    """The good page beside its record, changed, for evaluate.py."""

    def make(folder: Path) -> list:
        record = pd.read_csv(GOOD.with_name(f"{GOOD.parent.name}.csv"))
        (folder / "data").mkdir()
        shutil.copy(GOOD, folder / "data" / "page.png")
        change(record).to_csv(folder / "data" / "page.csv", index=False)
        return [folder / "data"]

    return make


def with_value(lead: str, value: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def change(record: pd.DataFrame) -> pd.DataFrame:
        record.loc[record[lead].first_valid_index() + 3, lead] = value
        return record

    return change


@contextmanager
def small_disk() -> Iterator[None]:
    """No file may grow beyond 20 kB, as on a disk that is full."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


@contextmanager
def read_only() -> Iterator[None]:
    """No file may take its place; for root, to whom nothing is read-only."""
    with patch("os.replace", side_effect=PermissionError(errno.EACCES, "Permission denied", "signals.csv")):
        yield


RUNS: dict[str, RunFault] = {
    "no such input": RunFault(lambda folder: [folder / "gone.png"], 1, "gone.png: no such file"),
    "empty folder": RunFault(lambda folder: [folder], 1, "no images in it"),
    "pattern that matches nothing": RunFault(lambda folder: [folder / "*.png"], 1, "matches no images"),
    "two tables": RunFault(lambda folder: ["a.csv", "b.csv"], 1, "a test.csv comes alone"),
    "--fs 0": RunFault(page("--fs", 0), 1, "must be above 0"),
    "--fs -5": RunFault(page("--fs", -5), 1, "must be above 0"),
    "--fs of 1 GHz": RunFault(page("--fs", 10**9), 1, "at most"),
    "--fs fast": RunFault(page("--fs", "fast"), 2, "invalid int"),
    "--workers 0": RunFault(page("--workers", 0), 2, "whole number of at least 1"),
    "--device toaster": RunFault(page("--device", "toaster"), 1, "no such kind of device"),
    "--dask of nothing": RunFault(page("--dask", ""), 1, "no scheduler there"),
    "--dask without certificates": RunFault(page("--dask", "tls://127.0.0.1:9"), 1, "no scheduler there"),
    "unknown option": RunFault(page("--sharpen"), 2, "unrecognized"),
    "test.csv: empty": RunFault(table(b""), 1, r"test\.csv: empty file"),
    "test.csv: random bytes": RunFault(table(bytes(range(128, 256)) * 9), 1, r"test\.csv: "),
    "test.csv: header only": RunFault(table(b"id,lead,fs,number_of_rows\n"), 1, "no rows"),
    "test.csv: a column missing": RunFault(
        table([{"id": "7", "lead": "I", "fs": 1}]), 1, "column number_of_rows missing"
    ),
    "test.csv: id and lead twice": RunFault(table([*asks(), asks()[0]]), 1, "7 I twice"),
    "test.csv: id ../7": RunFault(table(asks(id="../7")), 1, "cannot be the name of a file"),
    "test.csv: id a/7": RunFault(table(asks(id="a/7")), 1, "cannot be the name of a file"),
    "test.csv: absolute id": RunFault(table(asks(id="/etc/passwd")), 1, "cannot be the name of a file"),
    "test.csv: blank id": RunFault(table(asks(id=None)), 1, "blank id"),
    "test.csv: unknown lead": RunFault(table(asks(lead="V7")), 1, "'V7' is not one of the leads"),
    "test.csv: fs 0": RunFault(table(asks(fs=0)), 1, "fs 0 in row 1"),
    "test.csv: fs -500": RunFault(table(asks(fs=-500)), 1, "fs -500 in row 1"),
    "test.csv: fs 99.5": RunFault(table(asks(fs=99.5)), 1, r"fs 99\.5 in row 1"),
    "test.csv: fs inf": RunFault(table(asks(fs=np.inf)), 1, "fs inf in row 1"),
    "test.csv: fs blank": RunFault(table(asks(fs=np.nan)), 1, "blank fs"),
    "test.csv: two fs for an image": RunFault(table(asks(fs=FS + 1)), 1, "more than one fs"),
    "test.csv: number_of_rows 0": RunFault(table(asks(number_of_rows=0)), 1, "number_of_rows 0"),
    "test.csv: number_of_rows 10^12": RunFault(table(asks(number_of_rows=10**12)), 1, "number_of_rows"),
    "test.csv: number_of_rows that disagrees": RunFault(
        table(asks(number_of_rows=77)), 0, "disagrees with fs"
    ),
    "test.csv: image missing": RunFault(table(asks(), image=False), 1, "no such image"),
    "test.csv: no folder of images": RunFault(
        lambda folder: [*table(asks())(folder), "--images", folder / "gone"], 1, "no such folder of images"
    ),
    "weights: missing": RunFault(page("--stage2", "gone.pt"), 1, "no such checkpoint"),
    "weights: text": RunFault(weights(lambda path: path.write_text("hello")), 1, "not a checkpoint"),
    "weights: truncated": RunFault(
        weights(lambda path: path.write_bytes((CHECKPOINTS / "stage0.pt").read_bytes()[:9999]), 0),
        1,
        "not a checkpoint",
    ),
    "weights: a pickle that would run code": RunFault(
        weights(lambda path: torch.save({"state_dict": Exploit()}, path)),
        1,
        "not a checkpoint of plain",
    ),
    "weights: of another stage": RunFault(
        weights(lambda path: shutil.copy(CHECKPOINTS / "stage0.pt", path)),
        1,
        "weights of stage 0",
    ),
    "weights: not finite": RunFault(weights(not_finite), 1, "not finite"),
    "output is a file": RunFault(page(), 1, "not a folder", output="page.png"),
    "output below a file": RunFault(page(), 1, "Not a directory", output="page.png/out"),
    "output that cannot be made": RunFault(page(), 1, "", output="/proc/out"),
    "read-only output": RunFault(page(), 1, "Permission denied", during=read_only),
    "disk full": RunFault(page(), 1, "File too large", during=small_disk),
    "truth: NaN": RunFault(truth(with_value("V2", np.nan)), 1, "lead V2 is blank", evaluate.main),
    "truth: inf": RunFault(truth(with_value("V2", np.inf)), 1, "infinite values in lead V2", evaluate.main),
    "truth: a lead missing": RunFault(
        truth(lambda record: record.drop(columns="aVL")), 1, "column aVL missing", evaluate.main
    ),
    "truth: not ten seconds": RunFault(truth(lambda record: record[:-3]), 1, "", evaluate.main),
    "truth: text": RunFault(
        truth(lambda record: record.astype(object).replace(record.iloc[2, 0], "high")),
        1,
        "could not",
        evaluate.main,
    ),
}


def call(program: Callable[[], int], *arguments: object) -> tuple[int, str]:
    """Run a program as the shell would: its exit code and what it says on stderr."""
    said = io.StringIO()
    command = [f"{program.__module__}.py", *map(str, arguments)]
    with patch("sys.argv", command), redirect_stderr(said), redirect_stdout(io.StringIO()):
        try:
            run_main(program)
        except SystemExit as end:
            code = end.code
    if isinstance(code, str):
        return 1, said.getvalue() + code
    return code or 0, said.getvalue()


def run_images(folder: Path) -> tuple[int, str, pd.DataFrame]:
    """All images of the corpus and a good one in one run: exit code, what was said, pages.csv by name."""
    pages = folder / "pages"
    pages.mkdir()
    shutil.copy(GOOD, pages / "good.png")
    for name, fault in IMAGES.items():
        fault.make(pages / f"{name}{fault.suffix}")
    one = ("--workers", 1, "--device", "cpu")  # in this process, whose tests remember what networks have seen
    code, said = call(predict.main, pages, "--output", folder / "out", "--fs", FS, *one)
    return code, said, pd.read_csv(folder / "out" / "pages.csv", keep_default_na=False).set_index("name")


def run_fault(fault: RunFault, folder: Path) -> tuple[int, str]:
    arguments = [*fault.make(folder), "--output", folder / fault.output]
    with fault.during() if fault.during else patch.dict(os.environ):
        return call(fault.program, *arguments)


def main() -> None:
    print("| input | outcome | exit code |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        code, _, rows = run_images(Path(folder))
        for name in IMAGES:
            row = rows.loc[name]
            text = f"{row['outcome']}: {row['warnings']}".rstrip(": ")
            print(f"| image: {' '.join(name.split())} | {text.replace(folder, '')} | {code} |")
    for name, fault in RUNS.items():
        with tempfile.TemporaryDirectory() as folder:
            code, said = run_fault(fault, Path(folder))
            lines = [line for line in said.replace(folder, "").splitlines() if re.search(fault.says, line)]
            print(f"| {name} | {lines[-1] if lines else 'written'} | {code} |")


if __name__ == "__main__":
    sys.exit(main())
