"""Pack what predict.py needs, code and weights, as a Kaggle dataset: a folder to upload, and a zip beside it.

    kaggle datasets create -p outputs/kaggle-dataset --dir-mode zip

Without --dir-mode zip Kaggle's command leaves out subfolders. The zip is for kaggle.com's own upload page.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from utils.files import atomic_write

ROOT = Path(__file__).resolve().parents[1]
CONTENTS = (
    *(
        "predict.py",
        "LICENSE",
        "README.md",
        "checkpoints/README.md",
        "checkpoints/stage?.pt",
        "checkpoints/stage2_layouts.pt",
        "checkpoints/landmarks.pt",
        "checkpoints/close_ups.pt",
    ),
    *("configs/*.py", "models/*.py", "utils/*.py", "digitization/*.py", "digitization/*/*.py"),
    *("datasets/__init__.py", "datasets/competition.py", "datasets/labels.py"),
    *("prediction/*.py", "prediction/templates/*"),
)
OWNER = "INSERT_OWNER_HERE"
METADATA = {
    "title": "ECG digitization: code and weights",
    "subtitle": "Paper ECGs to signals: predict.py and its networks",
    "description": "Made by `make kaggle-dataset`. Licence: MIT, see LICENSE.",
    "licenses": [{"name": "other"}],  # Kaggle's command knows no MIT
}


def find_contents(root: Path) -> list[Path]:
    """The files that prediction needs, relative to the repository; ValueError where there are none."""
    found: set[Path] = set()
    for pattern in CONTENTS:
        paths = {path.relative_to(root) for path in root.glob(pattern)}
        if not (wanted := paths - find_ignored(root, paths)):
            raise ValueError(f"{root / pattern}: no such file")
        found |= wanted
    return sorted(found)


def find_ignored(root: Path, paths: set[Path]) -> set[Path]:
    """Those of the paths that git ignores; none where there is no git."""
    if not shutil.which("git"):
        return set()
    command = ["git", "-C", str(root), "check-ignore", "-z", "--stdin"]
    listed = "\0".join(path.as_posix() for path in paths)
    result = subprocess.run(command, input=listed, capture_output=True, text=True)
    return {Path(name) for name in result.stdout.split("\0") if name}


def pack_dataset(root: Path, folder: Path, owner: str = OWNER) -> Path:
    """Make `folder` and `folder`.zip of a repository, each whole or not there; returns the zip."""
    contents = find_contents(root)
    partial, old = (folder.with_name(f".{folder.name}.{os.getpid()}.{kind}") for kind in ("partial", "old"))
    archive = folder.with_name(f"{folder.name}.zip")
    if folder.exists() and not (folder / "dataset-metadata.json").is_file():
        raise ValueError(f"{folder}: there, and no dataset of this program; choose another --output")
    try:
        for path in contents:
            (partial / path).parent.mkdir(parents=True, exist_ok=True)
            (partial / path).write_bytes((root / path).read_bytes() or b"\n")  # Kaggle may drop empty files
        metadata = {"id": f"{owner}/ecg-digitization", **METADATA}
        (partial / "dataset-metadata.json").write_text(json.dumps(metadata, indent=2) + "\n")
        with atomic_write(archive) as unfinished:
            shutil.make_archive(str(unfinished.with_suffix("")), "zip", partial)
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
    finally:
        for leftover in (partial, old):
            shutil.rmtree(leftover, ignore_errors=True)
    return archive


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--output", type=Path, default=ROOT / "outputs" / "kaggle-dataset")
    parser.add_argument("--owner", default=OWNER, help="your name on Kaggle, for dataset-metadata.json")
    args = parser.parse_args()
    archive = pack_dataset(ROOT, args.output, args.owner)
    print(f"{args.output} and {archive}, {archive.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    try:
        main()
    except (ValueError, OSError) as error:
        sys.exit(f"pack_dataset.py: {error}")
