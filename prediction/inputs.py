"""What a user points at, and what its results are called: images, folders, patterns, PDF files."""

import glob
import os
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from utils.images import IMAGE_SUFFIXES
from utils.pdf import PDF_SUFFIX

SUFFIXES = (*IMAGE_SUFFIXES, PDF_SUFFIX)
RESERVED = Path("pages")  # pages.csv is the run's table
FURTHER_PAGE = re.compile(r"(.+)-p\d+")  # name of the results of a PDF's page from the second on


def find_inputs(inputs: Iterable[str | Path], output: Path | None = None) -> list[Path]:
    """The images meant by files, folders (without their subfolders) and glob patterns, each once.

    What lies below `output` is the program's own, and left out. Raises ValueError for what is not there or
    holds no images, and for images right in `output`, which results might replace.
    """
    own = None if output is None else Path(os.path.realpath(output))
    found: dict[Path, Path] = {}
    for item in inputs:
        for path in match(Path(item)):
            place = Path(os.path.realpath(path.parent)) / path.name
            if own is not None and place.parent == own and not glob.has_magic(str(item)):
                raise ValueError(f"{output}: holds images to be digitized; choose another --output")
            if own is None or not place.is_relative_to(own):
                found.setdefault(place, path)
    if not found:
        raise ValueError(f"{output}: all images lie in it; choose another --output")
    return list(found.values())


def match(item: Path) -> list[Path]:
    if item.is_dir():
        return find_images(item)
    if item.exists():
        return [item]
    if not glob.has_magic(str(item)):
        raise ValueError(f"{item}: no such file or folder")
    paths = [Path(name) for name in sorted(glob.glob(str(item), recursive=True))]
    paths = [path for path in paths if path.suffix.lower() in SUFFIXES and path.is_file()]
    if not paths:
        raise ValueError(f"{item}: matches no images ({', '.join(SUFFIXES)})")
    return paths


def find_images(folder: Path) -> list[Path]:
    """The images right in a folder, sorted. Raises ValueError when there are none."""
    if not folder.is_dir():
        raise ValueError(f"{folder}: no such folder")
    found = (path for path in folder.iterdir() if not path.name.startswith("."))
    paths = sorted(path for path in found if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise ValueError(f"{folder}: no images in it ({', '.join(SUFFIXES)})")
    return paths


def name_outputs(paths: list[Path]) -> dict[str, Path]:
    """A name for the results of each image: its path below the folder that all share, without the suffix.

    Where two in one folder would share a name, each keeps its suffix. So does a PDF beside an image that is
    called as one of its further pages might be, <name>-p2.
    """
    parents = [Path(os.path.realpath(path.parent)) for path in paths]
    shared = Path(os.path.commonpath(parents))
    places = [
        (parent.relative_to(shared), path.name, path.stem)
        for parent, path in zip(parents, paths, strict=True)
    ]
    stems = Counter((folder, stem) for folder, _, stem in places)
    stems[Path(), RESERVED.name] += 1
    pdfs = {(folder, stem) for folder, name, stem in places if name.lower().endswith(PDF_SUFFIX)}
    for folder, _, stem in places:
        further = FURTHER_PAGE.fullmatch(stem)
        if further and (folder, further.group(1)) in pdfs:
            stems[folder, further.group(1)] += 1
    whole = {(folder, name) for folder, name, _ in places}
    names = [
        folder / (stem if stems[folder, stem] == 1 and (folder, stem) not in whole else name)
        for folder, name, stem in places
    ]
    return {name.as_posix(): path for name, path in zip(names, paths, strict=True)}


def find_image(folder: Path, image_id: str) -> Path:
    """The image of a test id; the .png that it should be when there is none."""
    suffixes = (*SUFFIXES, *(suffix.upper() for suffix in SUFFIXES))
    candidates = [folder / f"{image_id}{suffix}" for suffix in suffixes]
    return next((path for path in candidates if path.exists()), candidates[0])
