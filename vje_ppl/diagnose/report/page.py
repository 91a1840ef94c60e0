"""The report of a diagnosis: one HTML page with its style and pictures inside, which needs no network."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from matplotlib.figure import Figure

from vje_ppl.diagnose.report.section import Level, Section
from vje_ppl.pictures.style import png
from vje_ppl.runs.files import write_atomically

#: CSS pixels per inch; pictures have twice as many dots, so that they stay sharp on dense screens.
CSS_DPI = 96
#: Width in CSS pixels of the small pictures at the top, one per section.
THUMBNAIL = 240

#: Most rows of a section that the page shows; all of them are in `diagnosis.json`.
MOST_ROWS = 400

#: Marks that work without colour.
MARKS = {Level.BAD: "✕", Level.CAUTION: "!", Level.GOOD: "✓", Level.INFORMATION: "i"}
WORDS = {Level.BAD: "bad", Level.CAUTION: "caution", Level.GOOD: "good", Level.INFORMATION: "noted"}

#: The worst level, in plain words.
HEADLINES = {
    Level.BAD: "Do not rely on this posterior as it is.",
    Level.CAUTION: "Rely on this posterior with care.",
    Level.GOOD: "Nothing here speaks against this posterior.",
    Level.INFORMATION: "Nothing was judged.",
}


def write_report(path: Path, facts: Mapping[str, str], sections: Sequence[Section]) -> None:
    """Write the report of a diagnosis as one HTML page, without scripts.

    Args:
        path: the file.
        facts: facts about the run, by name; `run` is the page's title.
        sections: in reading order.

    Raises:
        UserError: if the file cannot be written.
    """
    write_atomically(path, render_report(facts, sections).encode())


def render_report(facts: Mapping[str, str], sections: Sequence[Section]) -> str:
    """Render the page; arguments as in `write_report`."""
    environment = Environment(
        loader=PackageLoader("vje_ppl.diagnose.report", ""),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "mark": MARKS.get,
        "word": WORDS.get,
        "worst": overall_level,
        "anchor": _anchor,
        "image": _image,
        "cell": _cell,
        "tables": lambda rows: [(columns, list(group)) for columns, group in groupby(rows, key=tuple)],
    }
    verdicts = [
        (verdict, _anchor(section), number)
        for section in sections
        for number, verdict in enumerate(section.verdicts, 1)
    ]
    # Before the small pictures, because the layout of a figure depends on how it was drawn before.
    images = {picture: _image(picture.figure) for section in sections for picture in section.pictures}
    return environment.get_template("report.html.jinja").render(
        title=facts.get("run", "A run"),
        headline=HEADLINES[overall_level(sections)],
        tally=_tally([verdict.level for verdict, _, _ in verdicts]),
        verdicts=sorted(verdicts, key=lambda entry: -entry[0].level),  # stable within a level
        facts=facts,
        sections=sections,
        images=images,
        most_rows=MOST_ROWS,
        thumbnail=THUMBNAIL,
    )


def overall_level(sections: Sequence[Section]) -> Level:
    """Return the worst level of all verdicts; INFORMATION if there are none."""
    return max((verdict.level for section in sections for verdict in section.verdicts), default=Level.INFORMATION)


def _tally(levels: Sequence[Level]) -> str:
    """Return the number of checks with each result, in words."""
    judged = [level for level in levels if level is not Level.INFORMATION]
    if not judged:
        return "No check came to a verdict."
    results = {Level.BAD: "failed", Level.CAUTION: "call for caution", Level.GOOD: "passed"}
    counts = [f"{judged.count(level)} {verb}" for level, verb in results.items() if level in judged]
    checks = "One check" if len(judged) == 1 else f"{len(judged)} checks"
    return f"{checks}: {', '.join(counts)}. Each states its threshold."


def _anchor(section: Section) -> str:
    return f"section-{re.sub('[^a-z0-9]+', '-', section.name.lower())}"


def _image(figure: Figure, width: int | None = None) -> Markup:
    """Return attributes of an img element that holds the figure; None is the figure's own width."""
    across, down = figure.get_size_inches()
    scale = CSS_DPI if width is None else width / across
    data = base64.b64encode(png(figure, 2 * scale)).decode()
    size = f'width="{round(scale * across)}" height="{round(scale * down)}"'
    return Markup(f'src="data:image/png;base64,{data}" {size}')


def _cell(value: Any) -> str:
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case float():
            return f"{value:.4g}" if math.isfinite(value) else "–"
        case str() | int():
            return str(value)
        case _:
            return json.dumps(value, ensure_ascii=False, default=str)
