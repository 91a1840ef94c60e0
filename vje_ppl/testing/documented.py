"""A check of the docstrings of the project's own parts."""

from __future__ import annotations

import inspect
import re

from vje_ppl.testing.report import Failed, NotRun
from vje_ppl.testing.subject import Subject

#: A shape that has to do with images N or features D, such as (D,) or (..., N, D).
_SHAPE = re.compile(r"\((?:[^()]*\W)?[ND](?:\W[^()]*)?\)")

#: What numbers are measured in.
_UNIT = re.compile(r"\bunits? of\b|\bnats\b|\bradians\b|\bstandard deviations?\b|\bdegrees of freedom\b")


def is_documented(subject: Subject) -> None:
    """Check that docstrings name the source, the base measure, what numbers are measured in, and the shapes."""
    part = type(subject.part())
    if not part.__module__.startswith("vje_ppl."):
        raise NotRun("only the project's own parts are checked")
    said = inspect.getdoc(part) or ""
    methods = ("forward", "infer") if subject.kind == "guide" else ("forward",)
    of_methods = {name: inspect.getdoc(getattr(part, name)) or "" for name in methods}
    wanted = ["Source:"] if subject.kind == "guide" else ["Source:", "Base measure:"]
    missing = [word for word in wanted if word not in said]
    if set(inspect.signature(part).parameters) - {"dim"} and not any(map(_UNIT.search, (said, *of_methods.values()))):
        missing.append("the units of its numbers (units of the embedding, nats, radians, a standard deviation)")
    if missing:
        raise Failed(
            f"expected the docstring of {part.__name__} to state {' and '.join(missing)}, got nothing; add it."
        )
    for name, words in of_methods.items():
        if not _SHAPE.search(words):
            raise Failed(f"expected the shapes, such as (N, D), in the docstring of {part.__name__}.{name}, got none.")
