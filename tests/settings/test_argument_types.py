"""What a configuration may give for an annotation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import pytest
import torch
from torch import nn

from vje_ppl.settings.argument_types import first_mismatch


class Part:
    def __init__(
        self,
        whole: int = 1,
        number: float = 1.0,
        word: str = "x",
        flag: bool = False,
        numbers: Sequence[float] = (),
        pair: tuple[float, float] = (0.0, 1.0),
        maybe: int | None = None,
        either: float | torch.Tensor = 1.0,
        choice: Literal["a", "b"] = "a",
        keys: Mapping[str, Any] = {},
        module: nn.Module | None = None,
        function: Callable[[int], int] = abs,
        untyped=None,
        anything: Any = None,
    ) -> None: ...


FITS = [
    *(
        ("whole", 3),
        ("whole", -1),
        ("number", 1),
        ("number", float("inf")),
        ("number", 1e30),
        ("word", ""),
        ("flag", True),
    ),
    *(("numbers", []), ("numbers", [1, 2.5]), ("pair", [0, 1]), ("maybe", None), ("maybe", 2), ("either", 0.1)),
    *(
        ("choice", "b"),
        ("module", None),
        ("function", "anything"),
        ("untyped", [None]),
        ("anything", {}),
        ("unknown", 1),
    ),
]
UNFIT = [
    ("whole", 1.5, "a whole number"),
    ("whole", True, "a whole number"),
    ("whole", 2**63, "a whole number"),
    ("whole", None, "a whole number"),
    ("number", "fast", "a number"),
    ("number", float("nan"), "a number"),
    ("number", 1e308, "a number"),
    ("number", False, "a number"),
    ("word", 1, "a word"),
    ("flag", 1, "true or false"),
    ("numbers", 1, "a list (a number each)"),
    ("numbers", [1, None], "a list (a number each)"),
    ("numbers", "12", "a list (a number each)"),
    ("pair", [1], "a list of 2 (a number, a number)"),
    ("maybe", 0.5, "a whole number or null"),
    ("either", 1e308, "a number"),
    ("choice", "c", "one of a, b"),
    ("keys", "x", "keys with values"),
    ("module", 1, "null"),
]


@pytest.mark.parametrize(("name", "value"), FITS, ids=[f"{name}={value}" for name, value in FITS])
def test_unfit_takes_what_the_annotation_says(name, value):
    assert first_mismatch(Part, {name: value}) is None


@pytest.mark.parametrize(("name", "value", "words"), UNFIT, ids=[f"{name}={value}" for name, value, _ in UNFIT])
def test_first_mismatch_names_the_argument_and_what_it_expects(name, value, words):
    assert first_mismatch(Part, {"word": "x", name: value}) == (name, words)


def test_unfit_leaves_alone_what_has_no_annotations_that_can_be_read():
    def later(x: NotThere) -> None: ...  # noqa: F821

    assert first_mismatch(later, {"x": 1}) is None
    assert first_mismatch(dict, {"x": 1}) is None
    assert first_mismatch(torch.optim.SGD, {"lr": 0.1, "momentum": 0.9, "nesterov": True}) is None
    assert first_mismatch(torch.optim.AdamW, {"lr": 0.1, "betas": [0.9, 0.95]}) is None
