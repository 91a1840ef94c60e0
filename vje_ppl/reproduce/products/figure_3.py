"""Figure 3: k-NN accuracy over training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from vje_ppl.pictures.style import COLOURS, FAINT, LEVEL_STYLES, frame, legend, new_figure
from vje_ppl.reproduce.products.dots import references
from vje_ppl.reproduce.results import NOT_RUN, Product, Record, Results, cell_facts, over_seeds, text

FEATURES = {"knn/z": ("z", "solid"), "knn/mu": ("μ", (0, (4, 1.5)))}


def figure_3(results: Results) -> Product:
    """Draw curves of weighted k-NN accuracy, means over seeds with a band of one standard deviation."""
    blocks = results.study.blocks
    seeds = {record["seed"] for record in results.records.values()}
    note = "mean over seeds; band: one standard deviation" if len(seeds) > 1 else "one seed" * len(seeds)
    figure = new_figure(6.0 * len(blocks), 3.4, results.study.title, note)
    table = []
    for place, block in enumerate(blocks):
        axes = figure.add_subplot(1, len(blocks), place + 1)
        setting = ""
        for number, variant in enumerate(block.variants):
            records = results.of(block.name, variant)
            for key, (features, style) in FEATURES.items():
                if records and not any(key in row for row in records[0]["history"]):
                    continue
                if not records and features != "z":
                    continue
                curve = _curve(records, key)
                last = curve[-1] if curve else (0, None, 0)
                table.append(
                    {"data": block.name, "method": variant, "features": features}
                    | {"last epoch": text(last[1]) or NOT_RUN, "epochs": last[0] or None, "seeds": last[2]}
                )
                if curve:
                    epochs = [epoch for epoch, _, _ in curve]
                    mean = np.array([100 * found.mean for _, found, _ in curve])
                    spread = np.array([100 * (found.spread or 0.0) for _, found, _ in curve])
                    colour = COLOURS[number]
                    axes.plot(epochs, mean, color=colour, linestyle=style, label=f"{variant} {features}")
                    axes.fill_between(epochs, mean - spread, mean + spread, color=colour, alpha=0.15, linewidth=0)
            if records:
                last_row = records[0]["metrics"]
                setting = f"k = {last_row['knn/k']}, T = {last_row['knn/temperature']:g}; top-1, %"
        levels = results.of_block(block)
        for name, features, found, count in references(levels):
            line = {"data": block.name, "method": name, "features": features}
            table.append(line | {"last epoch": text(found), "epochs": None, "seeds": count})
        if levels:
            level = 100 * levels[0]["metrics"]["knn/pixels"]
            axes.axhline(level, color=FAINT, linewidth=1.0, linestyle=LEVEL_STYLES[0], label="raw pixels")
            legend(axes, loc="upper left", bbox_to_anchor=(1.0, 1.0))
        frame(axes, f"k-NN on {block.name}", setting, x="epoch", grid="both")
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    return Product(list(_rows(results)), table, figure)


def _curve(records: list[Record], key: str) -> list[Any]:
    """(epoch, mean and spread, number of seeds), for epochs that all seeds have."""
    by_epoch: dict[int, list[dict[str, float]]] = {}
    for record in records:
        for row in record["history"]:
            if key in row:
                by_epoch.setdefault(int(row["epoch"]), []).append({"value": row[key]})
    return [
        (epoch, *over_seeds(rows, lambda row: row["value"]))
        for epoch, rows in sorted(by_epoch.items())
        if len(rows) == len(records)
    ]


def _rows(results: Results) -> Iterator[dict[str, Any]]:
    for record in results.records.values():
        for row in record["history"]:
            yield cell_facts(record) | row | {"epoch": int(row["epoch"])}
