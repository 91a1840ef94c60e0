"""The picture of k-NN and linear accuracy, beside raw pixels and the untrained network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from matplotlib.figure import Figure

from vje_ppl.pictures.style import COLOURS, FAINT, INK, head, names, new_figure, tidy

#: Kinds of evaluation that are k-NN, with their names; and all that are drawn here.
KNN = {"knn": "k-NN", "whitened_knn": "Whitened k-NN"}
ACCURACIES = (*KNN, "linear")

#: Encoder, features, label and colour of each bar, from the top.
BARS = (
    ("trained", "z", "z", COLOURS[0]),
    ("trained", "mu", "μ", COLOURS[1]),
    ("untrained", "z", "untrained z", "#b9c6cf"),
    ("untrained", "mu", "untrained μ", "#dccfc6"),
    ("none", "pixels", "raw pixels", "#9a9a9a"),
)


def accuracy_figure(report: Mapping[str, Any], title: str) -> Figure:
    """Top-1 accuracy: a panel for each k of k-NN, plain and whitened, and one for the linear probe.

    Args:
        report: what `evaluation.json` holds; accuracies are drawn, where present.
        title: the run's name.
    """
    panels: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for kind, name in KNN.items():
        for row in report.get(kind, {}).get("rows", ()):
            asked = "" if row["k"] == row["k_asked"] else f"; {row['k_asked']} asked for"
            panels.setdefault((f"{name}, k = {row['k']}", f"T = {row['temperature']:g}{asked}"), []).append(row)
    if "linear" in report:
        panels["Linear probe", "learning rate from the hold-out"] = report["linear"]["rows"]
    epochs = {report[kind]["epoch"] for kind in ACCURACIES if kind in report}
    figure = new_figure(3.4 * len(panels), 2.5, f"{title}: accuracy", _note(report, epochs))
    for place, ((name, setting), rows) in enumerate(panels.items()):
        axes = figure.add_subplot(1, len(panels), place + 1)
        head(axes, name)
        axes.set_xlabel(f"top-1 accuracy, %; {setting}", fontsize=8, color=FAINT)
        found = {(row["encoder"], row["features"]): 100 * row["top1"] for row in rows}
        bars = [bar for bar in BARS if bar[:2] in found][::-1]
        for height, bar in enumerate(bars):
            value = found[bar[:2]]
            axes.barh(height, value, color=bar[3], height=0.7)
            inside = value > 25
            axes.text(
                value + (-1.5 if inside else 1.5),
                height,
                f"{value:.1f}",
                va="center",
                ha="right" if inside else "left",
                fontsize=8,
                color="white" if inside and bar[0] == "trained" else INK,
            )
        tidy(axes, grid="x")
        names(axes, [bar[2] for bar in bars], "y")
        axes.set_xlim(0, 100)
    if not panels:
        figure.text(0.5, 0.4, "nothing has been evaluated yet", ha="center", color=FAINT)
    return figure


def _note(report: Mapping[str, Any], epochs: set[int]) -> str:
    at = f"after {epochs.pop()} epochs" if len(epochs) == 1 else "k-NN and probe are of different epochs"
    return f"{report.get('data', '')}, {at}, seed {report.get('seed', '?')}" if report else ""
