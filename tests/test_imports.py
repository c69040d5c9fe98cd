"""The layers of the repository: imports run downward only, and no two files import each other."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
# From the foundation up: a layer imports from itself and from those before it.
LAYERS = (
    "configs",
    "utils",
    "models",
    "digitization",
    "synthesis",
    "datasets",
    "prediction",
    "review",
    "data_preparation",
    "training",
)
PRODUCT = sorted(path for layer in LAYERS for path in (ROOT / layer).rglob("*.py"))
SCRIPTS = [ROOT / name for name in ("train.py", "predict.py", "evaluate.py", "review.py")]
MAX_LINES = 300  # of a file, beyond which it usually holds two nouns
MAX_SHARE = 0.2  # of the code that one folder holds


def module_name(path: Path) -> str:
    name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
    return name.removesuffix(".__init__")


MODULES = {module_name(path) for path in PRODUCT}


def imported_modules(path: Path) -> set[str]:
    """The modules that a file imports, at its top or inside functions, as dotted names."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: a relative import"
            names = {f"{node.module}.{name.name}" for name in node.names}
            modules |= names & MODULES or {node.module}
    return modules


GRAPH = {module_name(path): imported_modules(path) & MODULES for path in PRODUCT}


def layer_of(module: str) -> int:
    return LAYERS.index(module.split(".")[0])


@pytest.mark.parametrize("path", PRODUCT, ids=module_name)
def test_imports_run_downward(path):
    upward = {name for name in GRAPH[module_name(path)] if layer_of(name) > layer_of(module_name(path))}
    assert not upward
    scripts = {script.stem for script in SCRIPTS}
    assert not scripts & imported_modules(path)


def test_no_files_import_each_other():
    unfinished = {module: names - {module} for module, names in GRAPH.items()}
    while True:
        free = {module for module, names in unfinished.items() if not names}
        if not free:
            break
        unfinished = {module: names - free for module, names in unfinished.items() if module not in free}
    assert not unfinished, f"among these files there is a cycle: {sorted(unfinished)}"


def test_files_and_folders_stay_readable():
    lines = {path: len(path.read_text().splitlines()) for path in (*PRODUCT, *SCRIPTS)}
    assert {path.name: n for path, n in lines.items() if n > MAX_LINES} == {}
    folders: dict[Path, int] = {}
    for path, n in lines.items():
        folders[path.parent] = folders.get(path.parent, 0) + n
    assert {path.name: n for path, n in folders.items() if n > MAX_SHARE * sum(lines.values())} == {}
