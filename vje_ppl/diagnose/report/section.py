"""What each part of a diagnosis leaves: verdicts, pictures, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from matplotlib.figure import Figure


class Level(IntEnum):
    """How a verdict reads; the worst of several is their maximum."""

    INFORMATION = 0
    GOOD = 1
    CAUTION = 2
    BAD = 3


def level_of(value: float, doubted: float, refused: float) -> Level:
    """GOOD up to `doubted`, CAUTION up to `refused`; BAD above it, and for what is not a number."""
    return Level.GOOD if value <= doubted else Level.CAUTION if value <= refused else Level.BAD


@dataclass(frozen=True)
class Verdict:
    """A judgement in plain words.

    Attributes:
        name: what is judged, a few words, unique in a report.
        level: how it came out.
        sentence: what this run shows, with the number.
        threshold: what the level was decided by, such as `k-hat above 0.7`; empty for mere information.
    """

    name: str
    level: Level
    sentence: str
    threshold: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure and the sentences under it.

    Attributes:
        name: of its file, without an ending.
        figure: what is drawn.
        normal: what a healthy run looks like here.
        shown: what this run shows.
        alt: the picture in words, for those who cannot see it.
    """

    name: str
    figure: Figure
    normal: str
    shown: str
    alt: str


@dataclass(frozen=True, eq=False)
class Section:
    """One question about a run, answered.

    Attributes:
        name: its key in `diagnosis.json`.
        title: its heading in the report.
        verdicts: the judgements, most important first.
        pictures: in the order in which they are read.
        rows: the numbers behind them, a mapping a line.
        notes: definitions and reservations that a reader needs.
    """

    name: str
    title: str
    verdicts: Sequence[Verdict] = ()
    pictures: Sequence[Picture] = ()
    rows: Sequence[dict[str, Any]] = field(default_factory=list)
    notes: Sequence[str] = ()


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
