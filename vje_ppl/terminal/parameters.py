"""The parameters of classes and functions, read from their source: importing it would import torch."""

from __future__ import annotations

import ast
from importlib.util import find_spec
from pathlib import Path

#: Packages whose classes have ordinary constructors; a user's module may make its classes in any way.
_READABLE = ("vje_ppl", "torch")

Definition = ast.ClassDef | ast.FunctionDef


def parameters(target: str) -> ast.arguments | None:
    """Return the parameters of a class or function of vje_ppl or torch, as its source declares them.

    Args:
        target: its dotted path, through imports or not.

    Returns:
        None if they can only be found by importing it.
    """
    module, _, name = target.rpartition(".")
    found = _find(module, name)
    if found is None:
        return None
    place, definition = found
    if definition.decorator_list:
        return None
    if isinstance(definition, ast.FunctionDef):
        return definition.args
    for statement in definition.body:
        if isinstance(statement, ast.FunctionDef) and statement.name == "__init__":
            return statement.args
    inherited = definition.bases[0] if definition.bases else None
    return parameters(f"{place}.{inherited.id}") if isinstance(inherited, ast.Name) else None


def _find(module: str, name: str) -> tuple[str, Definition] | None:
    """Return the module that defines a name, and the definition; follow imports."""
    for statement in _statements(module):
        if isinstance(statement, Definition) and statement.name == name:
            return module, statement
        if isinstance(statement, ast.ImportFrom) and statement.level == 0:
            for alias in statement.names:
                if name == (alias.asname or alias.name):
                    return _find(str(statement.module), alias.name)
    return None


def _statements(module: str) -> list[ast.stmt]:
    package, *parts = module.split(".")
    spec = find_spec(package) if package in _READABLE else None
    if spec is None or spec.origin is None:
        return []
    path = Path(spec.origin).parent.joinpath(*parts)
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8")).body if file.is_file() else []
