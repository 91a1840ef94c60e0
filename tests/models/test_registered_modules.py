"""No part refers to a module that is not registered: what pickling reaches is what `modules()` lists."""

from __future__ import annotations

import io
import pickle
from typing import Any

import pytest
from torch import nn

from tests.helpers import baselines as methods
from tests.helpers.cases import GUIDES, LIKELIHOODS, PRIORS, built

CASES = [("prior", one) for one in PRIORS] + [("likelihood", one) for one in LIKELIHOODS]
CASES += [("guide", one) for one in GUIDES]


def reached(whole: nn.Module) -> set[int]:
    """Ids of the modules that pickling meets, in lists, dictionaries, methods and partial functions too.

    A lambda or a closure, which may hold a module, cannot be pickled.
    """
    found: set[int] = set()

    class Meeting(pickle.Pickler):
        def persistent_id(self, one: Any) -> None:
            if isinstance(one, nn.Module):
                found.add(id(one))

    Meeting(io.BytesIO()).dump(whole)
    return found


@pytest.mark.parametrize(("kind", "case"), CASES, ids=[f"{kind}-{case}" for kind, case in CASES])
def test_modules_of_a_program_are_registered(kind, case):
    whole = built(**{kind: case})
    assert reached(whole) == {id(one) for one in whole.modules()}


@pytest.mark.parametrize("method", methods.METHODS)
def test_modules_of_a_method_are_registered(method):
    whole = methods.built(method)
    assert reached(whole) == {id(one) for one in whole.modules()}


def test_a_module_in_a_list_would_be_found():
    whole = built()
    whole.guide.hidden = [nn.Linear(1, 1)]
    assert len(reached(whole) - {id(one) for one in whole.modules()}) == 1
