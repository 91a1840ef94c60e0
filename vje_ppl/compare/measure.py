"""Comparability of ELBOs: of the same images and encoder, with respect to the same base measure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from hydra.errors import HydraException

from vje_ppl.compare.columns import differences
from vje_ppl.compare.known_measures import known_measure
from vje_ppl.errors import UserError
from vje_ppl.settings.identity import canonical_json, new_addresses

#: The groups of keys in which runs must agree besides the base measure. The seed may differ, and so may everything that
#: the ELBO is used to compare: prior, guide, scale, β and optimization.
SAME = ("data", "without_class", "encoder", "augment", "norm")

#: The embedding width that a likelihood is built with; its base measure is the same at any width.
ANY_DIM = 2


def base_measure(likelihood: Mapping[str, Any], trust_targets: bool) -> str:
    """Return the measure that a likelihood's densities refer to: the attribute `base_measure` of the part.

    Only a likelihood with a part from outside vje_ppl is built.

    Args:
        likelihood: its configuration.
        trust_targets: whether to build a part from outside vje_ppl, which runs its code.

    Raises:
        UserError: if the likelihood may not or cannot be built, or has no base measure.
    """
    known = known_measure(new_addresses(likelihood))
    if known is not None:
        return known
    from vje_ppl.settings.build import build  # imports torch

    try:
        part = build(likelihood, "likelihood", trust_targets, dim=ANY_DIM)
    except HydraException as error:
        raise UserError(f"likelihood could not be built ({type(error).__name__}).") from error
    measure = getattr(part, "base_measure", None)
    if not isinstance(measure, str) or not measure:
        raise UserError(
            f"{type(part).__name__} has no base_measure; give the class one, such as base_measure = 'cartesian'."
        )
    return measure


def comparable(rows: Sequence[Mapping[str, Any]], measures: Sequence[str | None]) -> list[str | None]:
    """Group the rows whose ELBOs may be compared.

    Args:
        rows: dotted keys and values of each row's configuration.
        measures: each row's base measure; None where it is not known.

    Returns:
        The name of each row's group: the base measure, and, if several groups have that measure, the keys that
        distinguish them. None for a row that is alone in its group, unless it is the only row of the table.
    """
    kinds = [
        None if measure is None else (measure, canonical_json(_same(row)))
        for row, measure in zip(rows, measures, strict=True)
    ]
    groups = [kind for kind in dict.fromkeys(kinds) if kind is not None and (kinds.count(kind) > 1 or len(rows) == 1)]
    names: dict[tuple[str, str], str] = {}
    for measure in dict.fromkeys(measure for measure, _ in groups):
        alike = [kind for kind in groups if kind[0] == measure]
        names |= zip(alike, _names(measure, [_same(rows[kinds.index(kind)]) for kind in alike]), strict=True)
    return [None if kind is None else names.get(kind) for kind in kinds]


def _same(row: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in row.items() if key.partition(".")[0] in SAME}


def _names(measure: str, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the measure, followed by as many differing keys as distinguish the rows."""
    names: list[tuple[str, ...]] = [()] * len(rows)
    for column in differences(rows):
        cells = [f"no {column.name}" if cell is None else f"{column.name} {cell}" for cell in column.cells]
        longer = [(*name, cell) for name, cell in zip(names, cells, strict=True)]
        if len(set(longer)) > len(set(names)):
            names = longer
    return [f"{measure}; {', '.join(name)}" if name else measure for name in names]
