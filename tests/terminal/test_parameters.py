"""Parameters read from source are those that Python finds after importing it."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import hydra
import pytest

import vje_ppl.configs
from vje_ppl.terminal.parameters import parameters

CONFIGS = Path(vje_ppl.configs.__file__).parent
TARGETS = {
    target
    for path in CONFIGS.rglob("*.yaml")
    for target in re.findall(r"_target_: ((?:vje_ppl|torch)\.\S+)", path.read_text(encoding="utf-8"))
}


@pytest.mark.parametrize("target", sorted(TARGETS))
def test_parameters_are_those_of_the_imported_part(target):
    found = parameters(target)
    if found is not None:  # otherwise the part is imported
        names = [one.arg for one in (*found.posonlyargs, *found.args, *found.kwonlyargs)]
        signature = inspect.signature(hydra.utils.get_object(target)).parameters
        assert [name for name in names if name != "self"] == list(signature)
        assert found.kwarg is None


def test_most_parts_need_no_import():
    assert sum(parameters(target) is None for target in TARGETS) < 0.2 * len(TARGETS)


@pytest.mark.parametrize("target", ["my_module.MyPart", "vje_ppl.no_module.Part", "vje_ppl.models.vje.NoPart", "torch"])
def test_nothing_is_known_of_what_is_not_found(target):
    assert parameters(target) is None
