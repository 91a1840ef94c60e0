"""The configuration keys in which runs differ, as few and as short as tell the runs apart."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from vje_ppl.settings.groups import METHOD
from vje_ppl.settings.identity import canonical_json

TARGET = "._target_"

#: A group with more differing keys than this is one column, of letters that the notes explain.
MOST_IN_A_GROUP = 4

Leaves = Mapping[str, Any]


@dataclass(frozen=True)
class Column:
    """A configuration key in which rows differ.

    Attributes:
        key: the dotted key; for a part's `_target_` that of the part.
        name: the shortest end of it that means no other key.
        cells: one text a row; None where the row has no such key.
    """

    key: str
    name: str
    cells: tuple[str | None, ...]


@dataclass(frozen=True)
class Differences:
    """Columns, and sentences about the keys that they stand for."""

    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def differences(rows: Sequence[Leaves], taken: Collection[str] = ()) -> Differences:
    """What rows of dotted keys and values differ in.

    A key that only some parts have, and those all with one value, follows from the choice of the part and is left out.
    So is one that equals another in every row; a note names it. An augmentation that goes with the data set is left
    out, so are heads that go with the method, and a group with many differing keys is folded into one column of
    letters, each with a note.

    Args:
        rows: a mapping a row.
        taken: names that columns must not have.
    """
    keys = [key for key in _ordered(rows) if _varies(rows, key) and not _follows_from_a_part(rows, key)]
    notes: list[str] = []
    if _goes_with_data(rows, keys):
        keys = [key for key in keys if _group(key) != "augment"]
        notes.append("The augmentation goes with the data set.")
    heads = [key for key in keys if _group(key) == METHOD != key]
    if heads and _goes_with_method(rows, heads):
        keys = [key for key in keys if key not in heads]
        notes.append("Heads and weights of a loss go with the method.")
    keys, stands_for = _without_equals(rows, keys)
    for group in dict.fromkeys(map(_group, keys)):
        members = [key for key in keys if _group(key) == group and key != group]
        if len(members) > MOST_IN_A_GROUP:
            rows, keys, note = _folded(rows, keys, group, members)
            notes.append(note)
    known = {_display(key): _display(key) for row in rows for key in row}
    columns = []
    for key in keys:
        hidden = [_display(other) for other in stands_for.get(key, [])]
        name = _short(_display(key), set(known) - set(hidden), taken)
        columns.append(Column(_display(key), name, _texts(rows, key)))
        if hidden:
            notes.append(f"{name} stands for {' and '.join(hidden)} as well, the same wherever there is one.")
    return Differences(tuple(columns), tuple(notes))


def class_name(target: Any) -> str:
    """The last part of a dotted path."""
    return str(target).rpartition(".")[2]


def _ordered(rows: Sequence[Leaves]) -> list[str]:
    """All keys: groups in order of appearance, a group's own class first in it."""
    seen = list(dict.fromkeys(key for row in rows for key in row))
    groups = list(dict.fromkeys(map(_group, seen)))
    return sorted(seen, key=lambda key: (groups.index(_group(key)), _display(key) != _group(key)))


def _varies(rows: Sequence[Leaves], key: str) -> bool:
    return len({_value(row, key) for row in rows}) > 1


def _value(row: Leaves, key: str) -> str | None:
    return canonical_json(row[key]) if key in row else None


def _presence_follows(rows: Sequence[Leaves], key: str) -> bool:
    """Whether some part that holds the key decides, by its class, or the method does, if there is such a key."""
    parts = _display(key).split(".")
    holders = [".".join(parts[:length]) for length in range(len(parts) - 1, 0, -1)]
    for chosen in (METHOD, *(name for part in holders for name in (part, f"{part}{TARGET}"))):
        decided = {(_value(row, chosen), key in row) for row in rows}
        if chosen != key and _varies(rows, chosen) and len(decided) == len({value for value, _ in decided}):
            return True
    return False


def _follows_from_a_part(rows: Sequence[Leaves], key: str) -> bool:
    present = {_value(row, key) for row in rows if key in row}
    return len(present) == 1 and _presence_follows(rows, key)


def _goes_with_data(rows: Sequence[Leaves], keys: Sequence[str]) -> bool:
    names = [_value(row, "data") for row in rows]
    pairs = {
        (name, canonical_json({key: row[key] for key in row if _group(key) == "augment"}))
        for name, row in zip(names, rows, strict=True)
    }
    return any(_group(key) == "augment" for key in keys) and len(set(names)) > 1 and len(pairs) == len(set(names))


def _goes_with_method(rows: Sequence[Leaves], heads: Sequence[str]) -> bool:
    methods = [_value(row, METHOD) for row in rows]
    pairs = {
        (method, canonical_json({key: row[key] for key in heads if key in row}))
        for method, row in zip(methods, rows, strict=True)
    }
    return len(pairs) == len(set(methods))


def _without_equals(rows: Sequence[Leaves], keys: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Keys without those that equal an earlier one wherever they are, and which those are."""
    kept: list[str] = []
    stands_for: dict[str, list[str]] = {}
    for key in sorted(keys, key=lambda key: (key.count("."), keys.index(key))):
        equal = [other for other in kept if _equal(rows, key, other)]
        if equal:
            stands_for.setdefault(equal[0], []).append(key)
        else:
            kept.append(key)
    return [key for key in keys if key in kept], stands_for


def _equal(rows: Sequence[Leaves], key: str, other: str) -> bool:
    same = all(_value(row, key) == _value(row, other) for row in rows if key in row)
    both = all((key in row) == (other in row) for row in rows)
    return same and (both or _presence_follows(rows, key))


def _folded(
    rows: Sequence[Leaves], keys: Sequence[str], group: str, members: Sequence[str]
) -> tuple[list[Leaves], list[str], str]:
    """The rows with one more key, the group's, in place of its members."""
    folded = f"{group} (see note)"
    variants = [canonical_json({key: row.get(key) for key in members if key in row}) for row in rows]
    letters = {variant: _letter(number) for number, variant in enumerate(dict.fromkeys(variants))}
    extended: list[Leaves] = [{**row, folded: letters[v]} for row, v in zip(rows, variants, strict=True)]
    place = min(keys.index(key) for key in members)
    remaining = [*keys[:place], folded, *(key for key in keys[place:] if key not in members)]
    names = ", ".join(_display(key).removeprefix(f"{group}.") for key in members)
    return extended, remaining, f"The letters under {folded} differ in {names}."


def _letter(number: int) -> str:
    return chr(ord("A") + number) if number < 26 else f"{chr(ord('A') + number % 26)}{number // 26}"


def _short(key: str, known: Collection[str], taken: Collection[str]) -> str:
    parts = key.split(".")
    for length in range(1, len(parts)):
        name = ".".join(parts[-length:])
        others = [other for other in known if other != key and (other == name or other.endswith(f".{name}"))]
        if not others and name not in taken:
            return name
    return key


def _texts(rows: Sequence[Leaves], key: str) -> tuple[str | None, ...]:
    values = {_value(row, key): row[key] for row in rows if key in row}
    if key.endswith(TARGET):
        targets = [str(value) for value in values.values()]
        texts = {text: _tail(str(value), targets) for text, value in values.items()}
    else:
        texts = {text: shown(value) for text, value in values.items()}
    return tuple(texts[_value(row, key)] if key in row else None for row in rows)


def _tail(target: str, all_targets: Sequence[str]) -> str:
    """The end of a dotted path that no other target shares."""
    others = [other for other in all_targets if other != target]
    parts = target.split(".")
    for length in range(1, len(parts)):
        tail = ".".join(parts[-length:])
        if not any(other == tail or other.endswith(f".{tail}") for other in others):
            return tail
    return target


def shown(value: Any) -> str:
    """A value of the configuration as one would type it."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False)


def _display(key: str) -> str:
    return key.removesuffix(TARGET)


def _group(key: str) -> str:
    return key.partition(".")[0]
