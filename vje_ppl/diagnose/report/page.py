"""The report of a diagnosis: one page that holds all it shows, to look at without a network."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined

from vje_ppl.diagnose.report.section import Level, Picture, Section
from vje_ppl.files import write_atomically
from vje_ppl.pictures.style import png

#: Dots an inch: twice the 96 at which a page counts its pixels, so that pictures stay sharp on dense screens.
DPI = 192
CSS_DPI = 96
#: Width in the page's pixels of the small pictures at the top, one a section.
THUMBNAIL = 240

#: Rows of a section that the page shows; all of them are in `diagnosis.json`.
MOST_ROWS = 400


class Shown(NamedTuple):
    """A level as the page has it: a class of the style sheet, a word, and a mark that does without colour."""

    key: str
    word: str
    mark: str


SHOWN = {
    Level.BAD: Shown("bad", "bad", "✕"),
    Level.CAUTION: Shown("caution", "caution", "!"),
    Level.GOOD: Shown("good", "good", "✓"),
    Level.INFORMATION: Shown("information", "noted", "i"),
}

#: The worst level, in plain words.
HEADLINES = {
    Level.BAD: "Do not rely on this posterior as it is.",
    Level.CAUTION: "Rely on this posterior with care.",
    Level.GOOD: "Nothing here speaks against this posterior.",
    Level.INFORMATION: "Nothing was judged.",
}


class Cell(NamedTuple):
    """A value of a table, as text."""

    text: str
    is_number: bool


class Table(NamedTuple):
    """Rows that have the same columns."""

    columns: tuple[str, ...]
    rows: list[list[Cell]]


class ShownVerdict(NamedTuple):
    """A verdict, where at the top of the page it stands, and the section that it links to."""

    level: Shown
    name: str
    sentence: str
    threshold: str
    anchor: str
    section: str


class Thumbnail(NamedTuple):
    """A small picture at the top, a PNG file in base64, and its size in the page's pixels."""

    png: str
    width: int
    height: int


class ShownPicture(NamedTuple):
    """A picture as the page holds it: a PNG file in base64, and its size in the page's pixels."""

    png: str
    width: int
    height: int
    normal: str
    shown: str
    alt: str


@dataclass(frozen=True)
class ShownSection:
    """A section as the page has it."""

    anchor: str
    title: str
    level: Shown
    verdicts: list[ShownVerdict]
    pictures: list[ShownPicture]
    thumbnail: Thumbnail | None
    notes: Sequence[str]
    tables: list[Table]
    count: str
    left_out: int


@dataclass(frozen=True)
class Page:
    """What the template fills in."""

    title: str
    overall: Shown
    headline: str
    tally: str
    verdicts: list[ShownVerdict]
    facts: Mapping[str, str]
    sections: list[ShownSection]


def write_report(path: Path, facts: Mapping[str, str], sections: Sequence[Section]) -> None:
    """Write the report of a diagnosis as one HTML page: style and pictures inside it, no script, nothing to fetch.

    Args:
        path: the file.
        facts: what is known of the run, by name; `run` is the page's title.
        sections: in the order in which they are read.

    Raises:
        UserError: if the file cannot be written.
    """
    write_atomically(path, render_report(facts, sections).encode())


def render_report(facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """The page itself; arguments as in `write_report`."""
    environment = Environment(
        loader=PackageLoader("vje_ppl.diagnose.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html.jinja").render(page=_page(facts, sections))


def overall_level(sections: Sequence[Section]) -> Level:
    """The worst level of all verdicts; mere information where there is none."""
    return max((verdict.level for section in sections for verdict in section.verdicts), default=Level.INFORMATION)


def _page(facts: Mapping[str, str], sections: Sequence[Section]) -> Page:
    verdicts = [verdict for section in sections for verdict in section.verdicts]
    shown = [one for section in sections for one in _verdicts(section)]
    worst_first = sorted(zip(verdicts, shown, strict=True), key=lambda pair: -pair[0].level)  # stable within a level
    overall = overall_level(sections)
    return Page(
        title=facts.get("run", "A run"),
        overall=SHOWN[overall],
        headline=HEADLINES[overall],
        tally=_tally([verdict.level for verdict in verdicts]),
        verdicts=[one for _, one in worst_first],
        facts=facts,
        sections=[_section(section) for section in sections],
    )


def _tally(levels: Sequence[Level]) -> str:
    """How many checks came out how, in words."""
    judged = [level for level in levels if level is not Level.INFORMATION]
    if not judged:
        return "No check came to a verdict."
    said = {Level.BAD: "failed", Level.CAUTION: "call for caution", Level.GOOD: "passed"}
    counts = [f"{judged.count(level)} {verb}" for level, verb in said.items() if level in judged]
    checks = "One check" if len(judged) == 1 else f"{len(judged)} checks"
    return f"{checks}: {', '.join(counts)}. Each states its threshold."


def _section(section: Section) -> ShownSection:
    shown = list(section.rows)[:MOST_ROWS]
    count = len(section.rows)
    return ShownSection(
        anchor=_anchor(section),
        title=section.title,
        level=SHOWN[overall_level([section])],
        verdicts=_verdicts(section),
        pictures=[_picture(picture) for picture in section.pictures],
        thumbnail=_thumbnail(section.pictures[0]) if section.pictures else None,
        notes=section.notes,
        tables=list(_tables(shown)),
        count=f" ({count} row{'s' * (count != 1)})",
        left_out=count - len(shown),
    )


def _anchor(section: Section) -> str:
    return f"section-{re.sub('[^a-z0-9]+', '-', section.name.lower())}"


def _verdicts(section: Section) -> list[ShownVerdict]:
    anchor = _anchor(section)
    return [
        ShownVerdict(SHOWN[one.level], one.name, one.sentence, one.threshold, f"{anchor}-verdict-{number}", anchor)
        for number, one in enumerate(section.verdicts, 1)
    ]


def _picture(picture: Picture) -> ShownPicture:
    width, height = (round(CSS_DPI * inches) for inches in picture.figure.get_size_inches())
    return ShownPicture(_base64(picture, DPI), width, height, picture.normal, picture.shown, picture.alt)


def _thumbnail(picture: Picture) -> Thumbnail:
    width, height = picture.figure.get_size_inches()
    data = _base64(picture, 2 * THUMBNAIL / width)  # twice the page's pixels, as the pictures themselves
    return Thumbnail(data, THUMBNAIL, round(THUMBNAIL * height / width))


def _base64(picture: Picture, dpi: float) -> str:
    return base64.b64encode(png(picture.figure, dpi)).decode()


def _tables(rows: Sequence[Mapping[str, Any]]) -> Iterator[Table]:
    """A table for each stretch of rows that have the same keys."""
    for columns, group in groupby(rows, key=tuple):
        yield Table(tuple(map(str, columns)), [[_cell(row[column]) for column in columns] for row in group])


def _cell(value: Any) -> Cell:
    match value:
        case None:
            return Cell("–", False)
        case bool():
            return Cell("yes" if value else "no", False)
        case int():
            return Cell(str(value), True)
        case float():
            return Cell(f"{value:.4g}" if math.isfinite(value) else "–", True)
        case str():
            return Cell(value, False)
        case _:
            return Cell(json.dumps(value, ensure_ascii=False, default=str), False)
