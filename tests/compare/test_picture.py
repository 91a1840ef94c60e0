"""The picture shows the figures of the table, and says whose they are."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from vje_ppl.compare.picture import figure, picture
from vje_ppl.compare.record import METRICS, REFERENCES, Record
from vje_ppl.compare.rows import rows_of
from vje_ppl.compare.table import make_table


def record(name, seed=0, data="digits", beta=1.0, **metrics):
    leaves = {"data": data, "objective.beta": beta}
    figures = dict.fromkeys((*METRICS, *REFERENCES)) | {
        key.replace("_", "/", 1): value for key, value in metrics.items()
    }
    return Record(Path(name), name, seed, {"data": {}}, leaves, figures)


def table_of(*records):
    rows, _ = rows_of(records, aggregate=True)
    return make_table(rows, [None] * len(rows), "knn/z", seed_column=False)


def points(axes, marker):
    return [float(line.get_xdata()[0]) for line in axes.get_lines() if line.get_marker() == marker]


def labels(axes):
    return [label.get_text() for label in axes.get_yticklabels()]


def test_dots_are_the_accuracies_best_above():
    low = record("digits-low-1234abcd", beta=2.0, knn_z=0.25, knn_mu=0.5)
    (axes,) = figure(table_of(low, record("digits-high-1234abce", knn_z=0.75))).axes
    assert labels(axes) == ["digits-high", "digits-low"]
    assert axes.get_ylim()[0] > axes.get_ylim()[1]  # the first row is above
    assert points(axes, "o") == [75, 25]
    assert points(axes, "D") == [50]


def test_spread_over_seeds_is_drawn_one_standard_deviation_to_either_side():
    lone = record("lone", beta=2.0, knn_z=0.5)
    drawn = figure(table_of(lone, *(record("a", seed, knn_z=value) for seed, value in enumerate([0.7, 0.9]))))
    (axes,) = drawn.axes
    bars = [list(line.get_xdata()) for line in axes.get_lines() if line.get_marker() == "None"]
    deviation = 100 * np.std([0.7, 0.9], ddof=1)
    assert bars == [pytest.approx([80 - deviation, 80 + deviation])]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["z"]
    assert drawn.get_supxlabel() == "bars: one standard deviation over seeds"
    assert figure(table_of(lone)).get_supxlabel() == ""


def test_references_are_lines_beside_their_runs():
    same = {"knn_pixels": 0.6, "knn_z": 0.5}
    rows = [
        record(name, beta=beta, **same, knn_untrained_z=level) for name, beta, level in [("a", 1, 0.1), ("b", 2, 0.3)]
    ]
    (axes,) = figure(table_of(*rows, record("c", beta=3, knn_z=0.1))).axes
    lines = [(*line.get_xdata(), *line.get_ydata()) for line in axes.get_lines() if line.get_linestyle() != "None"]
    assert sorted(lines) == [(10, 10, -0.5, 0.5), (30, 30, 0.5, 1.5), (60, 60, -0.5, 1.5)]
    texts = [text.get_text() for text in axes.get_legend().get_texts()]
    assert texts == ["raw pixels 60.0", "untrained z", "z"]


def test_each_data_set_has_a_panel():
    drawn = figure(table_of(record("a", knn_z=0.9), record("b", data="letters"), record("c", data="$x_1$", knn_z=0.1)))
    assert [axes.get_title(loc="left") for axes in drawn.axes] == ["$x_1$", "digits", "letters"]
    assert [text.get_text() for text in drawn.axes[2].texts] == ["no run has k-NN"]


@pytest.mark.parametrize(
    ("betas", "expected"),
    [((1, 2), ["beta 1", "beta 2"]), ((1, 2, 2), ["beta 1", "digits-1234abc1", "digits-1234abc2"])],
    ids=["each another", "most the same"],
)
def test_runs_named_by_a_hash_are_labelled_by_what_few_others_have(betas, expected):
    runs = [record(f"digits-1234abc{n}", beta=beta, knn_z=0.9 - n / 10) for n, beta in enumerate(betas)]
    rows, _ = rows_of(runs, aggregate=False)
    (axes,) = figure(make_table(rows, [None] * len(rows), "knn/z", seed_column=False)).axes
    assert labels(axes) == expected


@pytest.mark.parametrize("count", [1, 15, 60])
def test_file_is_a_png_of_sane_size_with_readable_labels(count):
    name = "a rather long name " * 4
    table = table_of(*(record(f"{name}{number}", beta=number, knn_z=0.5) for number in range(count)))
    data = picture(table)
    width, height = struct.unpack(">II", data[16:24])
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert width == 900
    assert 100 <= height <= 2200
    assert max(len(text) for text in labels(figure(table).axes[0])) <= 44
