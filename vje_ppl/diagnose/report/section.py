"""The result of each part of a diagnosis: verdicts, pictures, and the numbers behind them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from matplotlib.figure import Figure


class Level(IntEnum):
    """The level of a verdict; the worst of several is their maximum."""

    INFORMATION = 0
    GOOD = 1
    CAUTION = 2
    BAD = 3


def level_of(value: float, doubted: float, refused: float) -> Level:
    """Return GOOD up to `doubted`, CAUTION up to `refused`, BAD above it and for NaN."""
    return Level.GOOD if value <= doubted else Level.CAUTION if value <= refused else Level.BAD


@dataclass(frozen=True)
class Verdict:
    """A judgement in plain words.

    Attributes:
        name: the judged property, in a few words, unique in a report.
        level: the result.
        sentence: the finding, with its number.
        threshold: the criterion of the level, such as `k-hat above 0.7`; empty for information.
    """

    name: str
    level: Level
    sentence: str
    threshold: str = ""


@dataclass(frozen=True, eq=False)
class Picture:
    """A figure and the sentences under it.

    Attributes:
        name: its file name, without an ending.
        figure: the figure.
        normal: the picture of a healthy run, in words.
        shown: the picture of this run, in words.
        alt: the picture in words, for readers who cannot see it.
    """

    name: str
    figure: Figure
    normal: str
    shown: str
    alt: str


@dataclass(frozen=True, eq=False)
class Section:
    """One question about a run, with its answer.

    Attributes:
        name: its key in `diagnosis.json`.
        title: its heading in the report.
        verdicts: the judgements, most important first.
        pictures: in reading order.
        rows: the numbers behind them, a mapping per row.
        notes: definitions and caveats.
    """

    name: str
    title: str
    verdicts: Sequence[Verdict] = ()
    pictures: Sequence[Picture] = ()
    rows: Sequence[dict[str, Any]] = field(default_factory=list)
    notes: Sequence[str] = ()


@dataclass(frozen=True, eq=False)
class Part:
    """Part of a section's verdicts, pictures and rows."""

    verdicts: list[Verdict] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)
    rows: list[dict[str, Any]] = field(default_factory=list)


def joined(parts: Iterable[Part]) -> Part:
    """Join several parts, in order."""
    whole = Part()
    for part in parts:
        whole.verdicts.extend(part.verdicts)
        whole.pictures.extend(part.pictures)
        whole.rows.extend(part.rows)
    return whole


def enumerated(items: Iterable[str]) -> str:
    """Return words with commas and an `and`: `a, b and c`."""
    *others, last = items
    return f"{', '.join(others)} and {last}" if others else last
