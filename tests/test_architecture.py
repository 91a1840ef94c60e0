"""Every import arrow points down: where a module may import from, and how many rooms there are."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = {f"vje_ppl.{name}": ROOT / name for name in ("models", "guides", "configs")} | {"vje_ppl": ROOT / "vje_ppl"}

#: The rooms of the package, floor by floor; a module imports from its own room and from lower floors. Imports inside
#: functions and for type checkers count as any other.
FLOORS = (
    ("errors",),
    ("parallel", "distributions", "networks", "numpyro_port", "configs"),
    ("program", "data"),
    ("models", "guides", "methods"),
    ("settings",),
    ("terminal",),
    ("runs",),
    ("features", "pictures"),
    ("measures", "testing", "crosscheck", "compare"),
    ("score",),
    ("train",),
    ("evaluate", "benchmark", "export", "sklearn"),
    ("diagnose", "reproduce"),
)
FLOOR = {room: number for number, rooms in enumerate(FLOORS) for room in rooms}

#: What `ls vje_ppl` shows, at most.
MOST_ENTRIES = 30


def modules() -> dict[str, Path]:
    """Every module but the package itself, which imports what it exports."""
    found = {}
    for name, folder in FOLDERS.items():
        for path in folder.rglob("*.py"):
            parts = [name, *path.relative_to(folder).with_suffix("").parts]
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    del found["vje_ppl"]
    return found


def imports(module: str, path: Path) -> set[str]:
    """What a module imports of the package."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                found.add(full if full in MODULES else str(node.module))
    return found & MODULES.keys()


MODULES = modules()
IMPORTS = {module: imports(module, path) for module, path in MODULES.items()}


def room(module: str) -> str:
    return module.split(".")[1]


def test_no_import_points_up():
    upward = [
        f"{module} imports {one}"
        for module, imported in IMPORTS.items()
        for one in imported
        if room(module) != room(one) and FLOOR[room(module)] <= FLOOR[room(one)]
    ]
    assert sorted(upward) == []


def test_no_import_leads_back_to_where_it_began():
    left = dict(IMPORTS)
    while free := {module for module, imported in left.items() if not imported & left.keys()}:
        left = {module: imported for module, imported in left.items() if module not in free}
    assert sorted(left) == [], "these modules import each other, or from those that do"


def test_the_hall_has_few_doors():
    entries = sorted(path.name for path in (ROOT / "vje_ppl").iterdir() if path.is_file() or any(path.rglob("*.py")))
    assert len(entries) <= MOST_ENTRIES, entries
    assert {room(module) for module in MODULES} == FLOOR.keys()


def packages() -> list[Path]:
    folders = [FOLDERS["vje_ppl.models"], FOLDERS["vje_ppl.guides"], *(ROOT / "vje_ppl").iterdir()]
    inits = [path for folder in folders if not folder.is_symlink() for path in folder.rglob("__init__.py")]
    return sorted(path.parent for path in inits)


@pytest.mark.parametrize("package", packages(), ids=lambda package: package.relative_to(ROOT).as_posix())
def test_a_package_lists_its_files(package):
    text = ast.get_docstring(ast.parse((package / "__init__.py").read_text(encoding="utf-8"))) or ""
    files = {path.name for path in package.glob("*.py")} - {"__init__.py"}
    files -= {"__main__.py"} if "command.py" in files else set()  # which then only imports the command
    folders = {path.parent.name for path in package.glob("*/__init__.py")}
    named = set(re.findall(r"\b\w+\.py\b", text))
    assert named <= files, "the docstring names files that are not there"
    if "see `vje_ppl." not in text:  # a twin of a package that lists them
        assert files <= named, "the docstring leaves out files"
        assert {name for name in folders if f"{name}/" not in text} == set(), "the docstring leaves out folders"
