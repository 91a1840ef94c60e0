"""Writes the pages of the reference, one for each package that installs, into `docs/api/` (which git ignores)."""

from __future__ import annotations

import inspect
import pkgutil
from importlib import import_module
from pathlib import Path
from types import ModuleType

from setuptools import find_packages
from sphinx.application import Sphinx
from sphinx.pycode import ModuleAnalyzer

ROOT = Path(__file__).parents[2]


def packages() -> list[str]:
    """The packages that install, those without code left out."""
    return sorted(name for name in find_packages(str(ROOT), include=["vje_ppl*"]) if name != "vje_ppl.configs")


def modules(package: ModuleType) -> list[str]:
    """The public modules of a package, not those of its subpackages."""
    found = pkgutil.iter_modules(package.__path__, f"{package.__name__}.")
    return [one.name for one in found if not one.ispkg and not one.name.rsplit(".", 1)[1].startswith("_")]


def names(module: str) -> list[str]:
    """What a module itself defines in public: classes, functions, and constants with a comment that documents them."""
    found = vars(import_module(module))
    documented = {name for scope, name in ModuleAnalyzer.for_module(module).find_attr_docs() if not scope}
    mine = {name for name, value in found.items() if getattr(value, "__module__", None) == module and value.__doc__}
    return [name for name in found if name in documented | mine and not name.startswith("_")]


def page(name: str) -> str:
    """A package's page: what it says of itself, and its modules with all that is public in them."""
    package = import_module(name)
    said = inspect.getdoc(package) or ""
    blocks = [f"# `{name}`", said]
    for module in modules(package):
        heading = module.removeprefix(f"{name}.")
        members = f"\n   :members: {', '.join(names(module))}" if names(module) else ""
        blocks += [f"## {heading}", f"```{{eval-rst}}\n.. automodule:: {module}{members}\n```"]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _write_pages(app: Sphinx) -> None:
    folder = Path(app.srcdir) / "api"
    folder.mkdir(exist_ok=True)
    wanted = {folder / f"{name}.md": page(name) for name in packages()}
    for stale in set(folder.glob("*.md")) - set(wanted):
        stale.unlink()
    for path, text in wanted.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:  # what is unchanged is not built anew
            path.write_text(text, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, bool]:
    """Write the pages before Sphinx looks for any."""
    app.connect("builder-inited", _write_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
