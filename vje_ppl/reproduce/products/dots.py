"""The picture of a table: a dot per method, in a panel per data set and measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vje_ppl.compare.rows import Statistic
from vje_ppl.pictures.style import BLUE, FAINT, ORANGE, dot, frame, names, new_figure, say_empty
from vje_ppl.reproduce.results import Record, one_a_seed, over_seeds
from vje_ppl.terminal.text_keys import options

#: Features without training, and the metrics of their accuracy.
REFERENCES = {"untrained": ("z", "knn/untrained_z"), "raw pixels": ("pixels", "knn/pixels")}


#: What the colours of `colour_of` mean.
MEANINGS = {BLUE: "blue: VJE", ORANGE: "orange: baselines", FAINT: "grey: nothing learned"}

ROW, MARGIN, WIDTH = 0.24, 0.75, 3.0  # inches
NARROWEST = 8.0  # leaves room for the titles


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        panel: the data set.
        name: its name in the picture.
        values: its figures by measure, as shares.
        colour: the colour of its dots.
        seeds: the number of seeds that its means are over.
    """

    panel: str
    name: str
    values: Mapping[str, Statistic]
    colour: str = BLUE
    seeds: int = 1


def colour_of(method: str) -> str:
    """Return the colour of VJE and its variants, of the baselines, or of untrained features.

    A baseline's name in a study begins with that of its method; all other names are variants of VJE.
    """
    if method in ("untrained", "raw pixels"):
        return FAINT
    baselines = options("method").keys() - {"vje", "custom"}
    return ORANGE if method.startswith(tuple(baselines)) else BLUE


def dots(
    lines: Sequence[Line],
    measures: Sequence[str],
    title: str,
    *,
    one_scale: bool = False,
    heads: Mapping[tuple[str, str], str] | None = None,
) -> Figure:
    """Draw means, in percent, with a bar of one standard deviation to either side.

    Args:
        lines: the lines, from the top; those without figures are left out.
        measures: the columns of panels.
        title: the title of the picture.
        one_scale: whether the panels of a data set share their scale, as values of the same measure should.
        heads: what stands above a panel in place of the measure, by data set and measure.
    """
    panels: dict[str, list[Line]] = {}
    for line in lines:
        if line.values:
            panels.setdefault(line.panel, []).append(line)
    heights = [MARGIN + ROW * len(panel) for panel in panels.values()]
    spread = any(one.spread is not None for line in lines for one in line.values.values())
    colours = {line.colour for line in lines if line.values}
    note = "mean over seeds, as many as in brackets; bars: one standard deviation to either side" * spread or "one seed"
    note += "".join(f"; {meaning}" for colour, meaning in MEANINGS.items() if colour in colours and len(colours) > 1)
    figure = new_figure(max(NARROWEST, 1.6 + WIDTH * len(measures)), 0.8 + sum(heights or [1.0]), title, note)
    if not panels:
        say_empty(figure, "nothing has been run yet")
        return figure
    grid = figure.add_gridspec(len(panels), len(measures), height_ratios=heights)
    for row, (panel, members) in enumerate(panels.items()):
        first: Axes | None = None
        for column, measure in enumerate(measures):
            axes = figure.add_subplot(grid[row, column], sharex=first)
            first = axes if one_scale and first is None else first
            for height, line in enumerate(members):
                found = line.values.get(measure)
                if found is not None:
                    dot(axes, found.mean, found.spread, height, line.colour)
            frame(axes, panel if column == 0 else "", (heads or {}).get((panel, measure), measure), grid="both")
            labels = [line.name + f" ({line.seeds})" * spread for line in members]
            names(axes, labels if column == 0 else [""] * len(labels), "y")
            axes.set_ylim(len(members) - 0.5, -0.5)
            axes.margins(x=0.08)
    return figure


def references(records: Sequence[Record]) -> Iterator[tuple[str, str, Statistic, int]]:
    """Yield name, features, accuracy and number of seeds of untrained features; raw pixels have no seed.

    Args:
        records: the records of a data set, of any method.
    """
    by_seed = one_a_seed(records)
    for name, (features, key) in REFERENCES.items():
        values = [one["metrics"].get(key) for one in (by_seed if features == "z" else by_seed[:1])]
        found, count = over_seeds([{"top1": value} for value in values], lambda one: one["top1"])
        if found is not None:
            yield name, features, found, count
