"""Which mistakes the tests notice: those of benchmarks/mutants.py made one by one, as a Markdown table.

The tracked files are copied to a temporary folder, where the tests run as in a clone, without the material
that is not ours to commit. A line that is no longer there stops the run with its name.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.mutants import MUTANTS, Mutant
from utils.command import positive_int, run_main

ROOT = Path(__file__).resolve().parents[1]
TIMEOUT_S = 900  # of one run of test files; a mistake that makes them hang is noticed
NO_TESTS = 5  # pytest's exit code where none was selected


def copy_tracked(target: Path) -> None:
    """The files that git tracks, as they are in the working tree."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True)
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, target / name)


def insert_mistake(text: str, mutant: Mutant) -> str:
    """The file's text with the mistake in it; ValueError when the line is not there exactly once."""
    if (found := text.count(mutant.old)) != 1:
        raise ValueError(f"{mutant.file}: {found or 'not'} found: {mutant.old.strip()!r}")
    return text.replace(mutant.old, mutant.new)


def first_failure(tree: Path, guards: Sequence[str], selected: str) -> str | None:
    """The first test of some files that fails, of those that `selected` marks; None when all pass."""
    files = [f"tests/test_{name}.py" for name in guards]
    if missing := [name for name in files if not (tree / name).is_file()]:
        raise ValueError(f"not among the tracked files: {', '.join(missing)}")
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "--no-header", "--tb=no", "-m", selected]
    environment = os.environ | {"PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    try:
        result = subprocess.run(
            [*command, "-p", "no:cacheprovider", *files],
            cwd=tree, env=environment, capture_output=True, text=True, timeout=TIMEOUT_S,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return f"no end after {TIMEOUT_S} s"
    if result.returncode in (0, NO_TESTS):
        return None
    named = re.search(r"^(?:FAILED|ERROR) (\S+?\.py)(?:::(\w+))?", result.stdout, re.MULTILINE)
    return (named[2] or named[1]) if named else (result.stdout + result.stderr).strip().splitlines()[-1]


def try_mutant(tree: Path, mutant: Mutant) -> str | None:
    """The test that notices a mistake, the fast ones asked first; None when none does."""
    path = tree / mutant.file
    text = path.read_text(encoding="utf-8")
    path.write_text(insert_mistake(text, mutant), encoding="utf-8")
    try:
        guards = mutant.guards.split()
        return first_failure(tree, guards, "not slow") or first_failure(tree, guards, "slow")
    finally:
        path.write_text(text, encoding="utf-8")


def describe(mutant: Mutant) -> str:
    """What is changed, for a table's cell."""
    old, new = (" ".join(text.split()) for text in (mutant.old, mutant.new))
    return f"`{old}` → " + (f"`{new}`" if new else "left out")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", type=positive_int, nargs="+", help="numbers of the mistakes to try")
    parser.add_argument(
        "--skip-check", action="store_true", help="do not run the tests without a mistake first"
    )
    args = parser.parse_args()
    chosen = [(n, mutant) for n, mutant in enumerate(MUTANTS, start=1) if n in (args.only or [n])]
    for _, mutant in chosen:
        insert_mistake((ROOT / mutant.file).read_text(encoding="utf-8"), mutant)
    with tempfile.TemporaryDirectory(prefix="mutations.") as folder:
        tree = Path(folder) / "tree"
        copy_tracked(tree)
        guards = sorted({name for _, mutant in chosen for name in mutant.guards.split()})
        if not args.skip_check and (failing := first_failure(tree, guards, "slow or not slow")):
            raise ValueError(f"{failing} fails without any mistake")
        print("| | File | Mistake | Noticed by |\n|---|---|---|---|")
        noticed = 0
        for number, mutant in chosen:
            test = try_mutant(tree, mutant)
            noticed += test is not None
            print(f"| {number} | {mutant.file} | {describe(mutant)} | {test or '**nobody**'} |", flush=True)
    print(f"\n{noticed} of {len(chosen)} mistakes are noticed.")


if __name__ == "__main__":
    run_main(main)
