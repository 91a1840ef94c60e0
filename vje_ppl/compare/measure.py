"""Whose ELBOs may be compared: runs whose densities are of the same thing, by the same measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.errors import HydraException

from vje_ppl.compare.columns import differences
from vje_ppl.errors import UserError
from vje_ppl.settings.build import build
from vje_ppl.settings.identity import canonical_json

#: What an ELBO is of, beside the likelihood: the groups of keys in which runs must agree. The seed may differ, and so
#: may whatever the ELBO is there to compare: prior, guide, scale, β, and how they were optimized.
SAME = ("data", "encoder", "augment", "norm")

#: The embedding width that a likelihood is built with to be asked; its measure is the same at any.
ANY_DIM = 2


def base_measure(likelihood: Mapping[str, Any], trust_targets: bool) -> str:
    """The measure that a likelihood's densities refer to: the attribute `base_measure` of the part that is built.

    Args:
        likelihood: its configuration.
        trust_targets: whether to build a part that vje_ppl does not bring. A configuration is code.

    Raises:
        UserError: if it may not or cannot be built, or declares no measure.
    """
    try:
        part = build(likelihood, "likelihood", trust_targets, dim=ANY_DIM)
    except HydraException as error:
        raise UserError(f"likelihood could not be built ({type(error).__name__}).") from error
    measure = getattr(part, "base_measure", None)
    if not isinstance(measure, str) or not measure:
        raise UserError(f"{type(part).__name__} declares no base_measure; give it one, a name in a sentence or less.")
    return measure


def comparable(rows: Sequence[Mapping[str, Any]], measures: Sequence[str | None]) -> list[str | None]:
    """Groups of rows whose ELBOs may be compared.

    Args:
        rows: dotted keys and values of each row's configuration.
        measures: each row's base measure; None where it is not known.

    Returns:
        For each row the name of its group: the base measure, and where several groups share that one, what tells
        them apart. None for a row that shares with no other; but a table of one row cannot be misread, and names it.
    """
    kinds = [
        None if measure is None else (measure, canonical_json(_same(row)))
        for row, measure in zip(rows, measures, strict=True)
    ]
    groups = [kind for kind in dict.fromkeys(kinds) if kind is not None and (kinds.count(kind) > 1 or len(rows) == 1)]
    names: dict[tuple[str, str], str] = {}
    for measure in dict.fromkeys(measure for measure, _ in groups):
        alike = [kind for kind in groups if kind[0] == measure]
        columns = differences([_same(rows[kinds.index(kind)]) for kind in alike]).columns
        for number, kind in enumerate(alike):
            cells = [(column.name, column.cells[number]) for column in columns]
            told = ", ".join(f"no {name}" if cell is None else f"{name} {cell}" for name, cell in cells)
            names[kind] = f"{measure}; {told}" if told else measure
    return [None if kind is None else names.get(kind) for kind in kinds]


def _same(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key.partition(".")[0] in SAME}
