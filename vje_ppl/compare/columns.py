"""The configuration keys in which runs differ, under short names."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vje_ppl.settings.groups import METHOD
from vje_ppl.settings.identity import canonical_json

TARGET = "._target_"

#: The configuration of a run: values by dotted key.
Leaves = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A configuration key in which rows differ.

    Attributes:
        name: the shortest end of the dotted key that names no other key; the class of a part goes by the part's name.
        cells: one text per row; None where the row has no such key.
    """

    name: str
    cells: tuple[str | None, ...]


def differences(rows: Sequence[Leaves], taken: Collection[str] = ()) -> list[Column]:
    """List the keys in which rows differ.

    Three kinds of keys get no column of their own:

    - a key that only some rows have, all with the same value, because of their method or the class of a part:
      `prior.df` of a Student-t prior beside a Laplace prior;
    - a key of the augmentation that has one value for each data set;
    - a key that ends like another and has the same value in every row: `encoder.norm` beside `norm`.

    Args:
        rows: one mapping per row.
        taken: names that no column may have.

    Returns:
        The columns: groups in order of appearance, the class of a part before its arguments.
    """
    known = {_display(key) for row in rows for key in row}
    alike: dict[tuple[object, ...], list[str]] = {}
    for key in _ordered(rows):
        if _varies(rows, key) and not _follows(rows, key):
            end = _display(key).rpartition(".")[2]
            alike.setdefault((end, *(_value(row, key) for row in rows)), []).append(key)
    columns = []
    for first, *others in alike.values():
        name = _short(_display(first), known - set(map(_display, others)), taken)
        columns.append(Column(name, _texts(rows, first)))
    return columns


def class_name(target: Any) -> str:
    """Return the last part of a dotted path."""
    return str(target).rpartition(".")[2]


def shown(value: Any) -> str:
    """Return a value of the configuration as a user would type it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _ordered(rows: Sequence[Leaves]) -> list[str]:
    seen = list(dict.fromkeys(key for row in rows for key in row))
    groups = list(dict.fromkeys(map(_group, seen)))
    return sorted(seen, key=lambda key: (groups.index(_group(key)), _display(key) != _group(key)))


def _varies(rows: Sequence[Leaves], key: str) -> bool:
    return len({_value(row, key) for row in rows}) > 1


def _value(row: Leaves, key: str) -> str | None:
    return canonical_json(row[key]) if key in row else None


def _follows(rows: Sequence[Leaves], key: str) -> bool:
    """Return whether the value or the presence of a key follows from a key that it depends on."""
    choices = ["data"] if _group(key) == "augment" else []
    if len({_value(row, key) for row in rows if key in row}) == 1:
        parts = _display(key).split(".")
        holders = [".".join(parts[:length]) for length in range(1, len(parts))]
        choices += [METHOD, *holders, *(f"{holder}{TARGET}" for holder in holders)]
    return any(choice != key and _decides(rows, choice, key) for choice in choices)


def _decides(rows: Sequence[Leaves], choice: str, key: str) -> bool:
    pairs = {(_value(row, choice), _value(row, key)) for row in rows}
    return len(dict(pairs)) == len(pairs)


def _short(key: str, known: Collection[str], taken: Collection[str]) -> str:
    parts = key.split(".")
    for length in range(1, len(parts)):
        name = ".".join(parts[-length:])
        others = [other for other in known if other != key and (other == name or other.endswith(f".{name}"))]
        if not others and name not in taken:
            return name
    return key


def _texts(rows: Sequence[Leaves], key: str) -> tuple[str | None, ...]:
    if key.endswith(TARGET):
        targets = {str(row[key]) for row in rows if key in row}
        return tuple(_short(str(row[key]), targets, ()) if key in row else None for row in rows)
    return tuple(shown(row[key]) if key in row else None for row in rows)


def _display(key: str) -> str:
    return key.removesuffix(TARGET)


def _group(key: str) -> str:
    return key.partition(".")[0]
