"""A method of a module that is registered elsewhere, and what copies of its holder have."""

from __future__ import annotations

import pickle
from copy import copy, deepcopy

import pytest
from torch import nn

from vje_ppl.program.borrowed import Borrowed

COPIES = {"deepcopy": deepcopy, "pickle": lambda one: pickle.loads(pickle.dumps(one))}


class Owner(nn.Linear):
    def method(self) -> Owner:
        return self


class Holder(nn.Module):
    def __init__(self, function) -> None:
        super().__init__()
        self.borrowed = Borrowed(function)


def function() -> None: ...


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("first", [True, False], ids=["owner_first", "holder_first"])
def test_copies_of_both_belong_together(copied, first):
    owner = Owner(2, 2)
    holder = Holder(owner.method)
    both = copied(nn.ModuleList([owner, holder] if first else [holder, owner]))
    its_owner, its_holder = both if first else reversed(both)
    assert its_holder.borrowed.function() is its_owner
    assert holder.borrowed.function() is owner
    assert [*holder.parameters()] == []


@pytest.mark.parametrize("copied", COPIES.values(), ids=COPIES)
@pytest.mark.parametrize("kind", ["method", "function"])
def test_a_copy_without_the_owner_has_nothing(copied, kind):
    owner = Owner(2, 2)
    holder = Holder(owner.method if kind == "method" else function)
    alone = copied(holder)
    assert alone.borrowed.function is None
    assert copied(alone).borrowed.function is None
    assert holder.borrowed.function is not None


def test_does_not_keep_the_owner_alive():
    owner = Owner(2, 2)
    holder = Holder(owner.method)
    shared = copy(holder)
    assert shared.borrowed.function() is owner
    del owner
    assert holder.borrowed.function is None
