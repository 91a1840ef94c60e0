"""Table: one-class AUROC after different numbers of epochs, and its picture, a line per score."""

from __future__ import annotations

from typing import Any

from vje_ppl.compare.rows import Statistic
from vje_ppl.measures.anomaly.tables import label
from vje_ppl.pictures.style import frame, legend, new_figure, say_empty
from vje_ppl.reproduce.results import (
    NOT_RUN,
    Product,
    Results,
    class_rows,
    means_over_classes,
    over_seeds,
    row_of,
    text,
)

EPOCHS, CLASS = "trainer.epochs", "data.only_class"

#: The scores that are drawn, where a method has them: name and views. The CSV file has all.
SHOWN = (
    ("conditional", "augmented-augmented"),
    ("joint", "augmented-augmented"),
    ("joint", "clean-clean"),
    ("evidence", "all"),
    ("typicality", "clean"),
    ("regret", "clean"),
    ("surprise_rank", "augmented-augmented"),
    ("aggregate", "clean"),
    ("knn_distance", "clean"),
    ("mahalanobis", "clean"),
    ("ssd", "clean"),
)

Curve = dict[int, tuple[Statistic, int]]


def epochs(results: Results) -> Product:
    """Tabulate and draw the mean AUROC over classes in percent, over the seeds for which all classes have run."""
    table: list[dict[str, Any]] = []
    panels: list[tuple[str, dict[str, Curve]]] = []
    for block in results.study.blocks:
        numbers = [int(one) for one in block.sweep[EPOCHS]]
        classes = list(block.sweep[CLASS])
        for variant in block.variants:
            curves = _curves(results, block.name, variant, numbers, classes)
            panels.append((f"{variant} on {block.name}", curves))
            for name, curve in (curves or {NOT_RUN: {}}).items():
                cells = {f"{one} epochs": text(curve[one][0]) if one in curve else NOT_RUN for one in numbers}
                seeds = max((count for _, count in curve.values()), default=0)
                table.append({"data": block.name, "method": variant, "score": name} | cells | {"seeds": seeds})
    notes = ("Means over classes. Images of all classes but the normal one are the positives; 50 is chance.",)
    return Product(list(class_rows(results)), table, _figure(results, panels), notes)


def _curves(results: Results, data: str, variant: str, numbers: list[int], classes: list[Any]) -> dict[str, Curve]:
    """Return the mean over classes of each score and kind of views by number of epochs; missing ones are left out."""
    curves: dict[str, Curve] = {}
    for number in numbers:
        records = results.of(data, variant, {EPOCHS: number})
        for score, views in SHOWN:
            wanted = {"score": score, "views": views, "encoder": "trained"}
            found = [row_of(record, "one_class", **wanted) for record in records]
            of_z = next((row for row in found if row is not None), None)
            mean, count = over_seeds(means_over_classes(records, len(classes), **wanted), lambda one: one["auroc"])
            if of_z is not None and mean is not None:
                curves.setdefault(f"{label(of_z)}, {views}", {})[number] = mean, count
    return curves


def _figure(results: Results, panels: list[tuple[str, dict[str, Curve]]]) -> Any:
    figure = new_figure(5.6 * len(panels), 3.8, f"{results.study.title}: AUROC, %", "50 is chance")
    if not results.records:
        say_empty(figure, "nothing has been run yet")
        return figure
    for place, (title, curves) in enumerate(panels):
        axes = figure.add_subplot(1, len(panels), place + 1)
        for number, (name, curve) in enumerate(curves.items()):
            points = sorted((epoch, 100 * mean.mean) for epoch, (mean, _) in curve.items())
            style = ("-", "--", ":")[number // 8]
            axes.plot(*zip(*points, strict=True), style, color=f"C{number % 8}", marker="o", markersize=3, label=name)
        frame(axes, title, "", x="epochs", grid="both")
        if curves:
            legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0), fontsize=6)
    return figure
