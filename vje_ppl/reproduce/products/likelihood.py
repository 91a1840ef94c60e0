"""Table: the trials by which the default likelihood was chosen, on images held out of the training set."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from matplotlib.axes import Axes

from vje_ppl.compare.rows import Statistic
from vje_ppl.pictures.style import BLUE, ORANGE, frame, new_figure, say_empty
from vje_ppl.reproduce.results import NOT_RUN, Product, Record, Results, cell_facts, over_seeds, text

BETA, NU = "objective.beta", "likelihood.df"

#: The mark of each ν in the picture.
MARKS = {1.0: "o", 2.0: "s", 5.0: "^", 1e9: "x"}

Found = dict[tuple[str, str], dict[tuple[float, float], tuple[Statistic, int]]]


def likelihood(results: Results) -> Product:
    """k-NN accuracy on z in percent, for each likelihood and β in a line and each ν in a column."""
    found = _found(results)
    nus = sorted({nu for block in results.study.blocks for nu in block.sweep[NU]})
    table: list[dict[str, Any]] = []
    for (data, variant), points in found.items():
        for beta in sorted({beta for beta, _ in points}):
            cells = {f"ν = {nu:g}": _shown(points, beta, nu) for nu in nus}
            table.append({"data": data, "likelihood": variant, "β": f"{beta:g}"} | cells)
    return Product(list(_rows(results)), table, _figure(results, found))


def _found(results: Results) -> Found:
    """Return the accuracy and number of seeds of each β and ν, by data set and variant; NaN if it has not been run."""
    found: Found = {}
    for block in results.study.blocks:
        for variant in block.variants:
            for point in block.points():
                value, count = over_seeds(results.of(block.name, variant, point), lambda one: one["metrics"]["knn/z"])
                points = found.setdefault((block.name, variant), {})
                points[point[BETA], point[NU]] = (value or Statistic(float("nan"), None), count)
    return found


def _shown(points: dict[tuple[float, float], tuple[Statistic, int]], beta: float, nu: float) -> str | None:
    if (beta, nu) not in points:
        return None
    value, count = points[beta, nu]
    return text(value) if count else NOT_RUN


def _figure(results: Results, found: Found) -> Any:
    panels = list(dict.fromkeys(data for data, _ in found))
    figure = new_figure(4.6 * len(panels), 4.4, f"{results.study.title}: k-NN on z, %", "one seed")
    if not results.records:
        say_empty(figure, "nothing has been run yet")
        return figure
    for place, data in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for (of, variant), points in found.items():
            if of == data:
                _draw(axes, variant, points)
        frame(axes, data, "", x="β", grid="both")
        betas = sorted({beta for (of, _), points in found.items() if of == data for beta, _ in points})
        axes.set_xscale("log")
        axes.set_xticks(betas, [f"{beta:g}" for beta in betas])
        axes.minorticks_off()
    # Of all panels, each line once.
    lines = {line.get_label(): line for axes in figure.axes for line in axes.get_lines()}
    axes.legend(handles=list(lines.values()), fontsize=7, frameon=False, bbox_to_anchor=(1.02, 1.0), loc="upper left")
    return figure


def _draw(axes: Axes, variant: str, points: dict[tuple[float, float], tuple[Statistic, int]]) -> None:
    colour = BLUE if variant.startswith("ambient") else ORANGE
    is_plain = variant in ("ambient", "tangent")
    look: dict[str, Any] = {"linestyle": "-" if is_plain else ":", "markerfacecolor": colour if is_plain else "white"}
    for nu in sorted({nu for _, nu in points}):
        line = sorted((beta, 100 * value.mean) for (beta, of), (value, _) in points.items() if of == nu)
        name = f"{variant.replace('_', ' ')}, ν = {nu:g}"
        axes.plot(*zip(*line, strict=True), color=colour, marker=MARKS.get(nu, "."), markersize=5, label=name, **look)


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for record in results.records.values():
        yield cell_facts(record) | {key: record["metrics"][key] for key in _figures(record)}


def _figures(record: Record) -> list[str]:
    wanted = ("knn/", "elbo", "kl", "log_likelihood/", "posterior_scale", "share_at_bound", "skipped_steps")
    return [key for key in record["metrics"] if key.startswith(wanted)]
