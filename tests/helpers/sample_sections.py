"""Sections of every kind, for the tests of the page."""

from __future__ import annotations

from vje_ppl.diagnose.report.section import Level, Picture, Section, Verdict
from vje_ppl.pictures.style import frame, new_figure

MARKUP = "<script>alert('1')</script> & <b>bold</b>"


def picture(name="curve"):
    figure = new_figure(6.0, 2.6, f"A picture of {name}", "with a note below it")
    axes = figure.add_subplot()
    axes.plot([0, 1, 2], [0, 1, 4])
    frame(axes, "Panel", "nats")
    return Picture(
        name,
        figure,
        "The curve rises.",
        "It rises to 4, and this sentence is long enough to wrap.",
        "A rising curve",
    )


def sections():
    return [
        Section(
            "first",
            "Does the first thing hold?",
            [
                Verdict("first check", Level.GOOD, "It came to 0.1.", "bad above 0.7"),
                Verdict("second check", Level.BAD, "It came to 0.9 of 48 images, which is far too much.", "above 0.7"),
            ],
            [picture("one"), picture("two")],
            [
                {"image": 3, "k-hat": 0.123456, "label": "seven", "converged": True},
                {"image": 4, "k-hat": float("nan"), "label": "two", "converged": False},
            ],
            ["A definition that a reader needs."],
        ),
        Section(
            "second",
            "And the second?",
            [Verdict("third check", Level.CAUTION, "Hardly.", "below 0.5")],
            [picture("three")],
        ),
        Section("third", "For the record", [Verdict("a fact", Level.INFORMATION, "It is so.")], notes=["Only words."]),
    ]


FACTS = {"run": "digits-1a2b3c4d", "data": "digits", "seed": "0", "images": "48 of 359 held-out ones", "torch": "2.15"}
