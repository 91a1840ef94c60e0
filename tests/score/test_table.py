"""`scores.csv`: what a spreadsheet reads, and how it goes on after an interruption."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest

from vje_ppl.errors import UserError
from vje_ppl.score.table import COLUMNS, PARTIAL, continued, finish, lowest_and_highest, read_rows, row

NAMES = [
    "a, b.png",
    'say "hi".png',
    "two\nlines.png",
    "a\rb.png",
    "naïve 図.png",
    '"',
    "plain.png",
    "",
]
CHUNK = 3


def rows():
    values = np.linspace(-1e-7, 12345.678, len(NAMES))
    return [
        row(name, value, value / 2e4 + 1e-5, 0.05, ["", 'why, "not"' if place == 2 else ""])
        for place, (name, value) in enumerate(zip(NAMES, values, strict=True))
    ]


def write(folder, start=0, stop=None):
    with continued(folder, CHUNK) as (file, done):
        assert done == start
        for one in rows()[done:stop]:
            file.write(one.bytes())


def test_names_and_numbers_come_back(tmp_path):
    write(tmp_path)
    finish(tmp_path)
    text = (tmp_path / "scores.csv").read_bytes().decode("utf-8")
    read = list(csv.reader(io.StringIO(text, newline="")))
    assert tuple(read[0]) == COLUMNS
    assert [one[0] for one in read[1:]] == NAMES
    assert read[3][-1] == 'why, "not"'
    for one, other in zip(read_rows(tmp_path / "scores.csv"), rows(), strict=True):
        assert one.score == pytest.approx(other.score, rel=1e-8)
        assert (one.path, one.flag, one.reason) == (other.path, other.flag, other.reason)


def test_an_image_without_score_has_empty_cells():
    assert row("a.png", np.nan, np.nan, 0.05, ["broken"]).bytes() == b"a.png,,,,broken\n"


def test_a_table_cut_anywhere_goes_on_to_the_same_bytes(tmp_path):
    write(tmp_path)
    whole = (tmp_path / PARTIAL).read_bytes()
    ends = [sum(len(one.bytes()) for one in rows()[:count]) for count in range(len(NAMES) + 1)]
    header = len(whole) - ends[-1]
    for length in range(len(whole) + 1):
        (tmp_path / PARTIAL).write_bytes(whole[:length])
        kept = max(count for count, end in enumerate(ends) if end + header <= max(length, header))
        write(tmp_path, start=kept // CHUNK * CHUNK)
        assert (tmp_path / PARTIAL).read_bytes() == whole


def test_two_commands_do_not_write_one_table(tmp_path):
    with (
        continued(tmp_path, CHUNK),
        pytest.raises(UserError, match="in use by another command"),
        continued(tmp_path, CHUNK),
    ):
        pass


def test_no_image_is_among_the_least_and_the_most_usual():
    most, least = lowest_and_highest(rows(), 6)
    assert least == [7, 6, 5, 4, 3, 2]
    assert most == [0, 1]
