"""Tables and pictures as a notebook shows them."""

from __future__ import annotations

from pathlib import Path

from vje_ppl.pictures.style import new_figure, save
from vje_ppl.terminal.results import EvaluationResults, Table
from vje_ppl.terminal.table import html_table


def test_html_tables_align_numbers_and_mean_every_character():
    html = html_table([{"a<b": "x & y", "n": 0.123456}, {"n": None}])
    assert "<th>a&lt;b</th><th>n</th>" in html
    assert '<td style="text-align: left">x &amp; y</td><td style="text-align: right">0.1235</td>' in html
    assert html.count("—") == 2


def test_a_notebook_shows_what_is_there(tmp_path):
    save(new_figure(2, 1, "one", ""), tmp_path / "one.png")
    pictures = [tmp_path / "one.png", tmp_path / "deleted.png"]
    tables = {"knn": Table([{"k": 5}], [{"k-NN k": 5}], ["k < 6"]), "rows": Table([{"n": 1}, {"n": 2}])}
    results = EvaluationResults(tmp_path, tables, pictures)
    html = results._repr_html_()
    assert "<h4>knn</h4>" in html
    assert "k &lt; 6" in html
    assert "<h4>rows</h4>" not in html  # a table that is not shown
    assert html.count('<img alt="one"') == html.count("<img") == 1
    assert results.frames["rows"]["n"].tolist() == [1, 2]


def test_its_text_is_short():
    results = EvaluationResults(Path("runs/a"), {"knn": Table([])}, [])
    assert repr(results) == "EvaluationResults in runs/a: frames knn; pictures none"
