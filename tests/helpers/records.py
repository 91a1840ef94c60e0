"""Records of cells with known figures, as `run_cell` writes them."""

from __future__ import annotations

from typing import Any

from vje_ppl.reproduce.cell import Cell
from vje_ppl.reproduce.results import Results
from vje_ppl.reproduce.study import Block, Study


def results(*blocks: Block, records: dict[tuple, dict[str, Any]], name: str = "any") -> Results:
    """Results of a study; `records` are by (block, variant, seed, *swept values), the others are not finished."""
    cells, found = [], {}
    for block in blocks:
        for variant in block.variants:
            for seed in block.seeds:
                for point in block.points():
                    config = {"block": block.name, "variant": variant, "seed": seed, **point}
                    cell = Cell(block.name, variant, point, seed, (), (), config, {})
                    cells.append(cell)
                    key = (block.name, variant, seed, *point.values())
                    if key in records:
                        found[cell.file_name] = record(cell, **records[key])
    return Results(Study(name, "small", "A title", blocks), cells, found)


def record(cell: Cell, **given: Any) -> dict[str, Any]:
    """What a finished cell leaves, with these parts."""
    metrics = {"epoch": 2, "seconds": 1.0, "data": {"name": cell.block, "images": 100}}
    return {
        "block": cell.block,
        "variant": cell.variant,
        "point": dict(cell.point),
        "seed": cell.seed,
        "metrics": metrics | given.get("metrics", {}),
        "history": given.get("history", []),
        "evaluation": given.get("evaluation", {}),
    }


def block(name: str, *variants: str, **given: Any) -> Block:
    """A block of these variants."""
    return Block(name, (), ("eval=[knn]",), dict.fromkeys(variants, ()), **given)
