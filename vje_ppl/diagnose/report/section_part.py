"""What one comparison adds to a section."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from vje_ppl.diagnose.report.section import Picture, Verdict


@dataclass(frozen=True, eq=False)
class Part:
    """Some of a section's verdicts, pictures and rows, as `Section` has them."""

    verdicts: list[Verdict] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


def joined(parts: Iterable[Part]) -> Part:
    """All of several parts, in order."""
    whole = Part()
    for part in parts:
        whole.verdicts.extend(part.verdicts)
        whole.pictures.extend(part.pictures)
        whole.rows.extend(part.rows)
    return whole


def enumerated(items: Iterable[str]) -> str:
    """Words with commas and an `and`: `a, b and c`."""
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last
