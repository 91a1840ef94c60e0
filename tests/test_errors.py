"""Nothing that a terminal would obey is left in a text, and names in any script are."""

from __future__ import annotations

import pytest

from vje_ppl.errors import LAYOUT, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("a\rb\x9b2J", r"a\rb\x9b2J"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("x\ud800", r"x\ud800"),
        ("a\u2028b", r"a\u2028b"),
        ("a\nb\t", r"a\nb\t"),
    ],
    ids=["title", "erase", "reversed", "half", "line", "layout"],
)
def test_printable_escapes_orders(text, shown):
    assert printable(text) == shown


@pytest.mark.parametrize("text", ["k-NN μ ± 0.5 × 32", "猫", "می\u200cخواهم", "👩\u200d🔬", "C:\\data"])
def test_printable_leaves_writing_alone(text):
    assert printable(text) == text


def test_printable_keeps_the_layout_where_asked():
    assert printable("a\n\tb\x1b", LAYOUT) == "a\n\tb\\x1b"
