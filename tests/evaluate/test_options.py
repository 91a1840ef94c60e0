from __future__ import annotations

from pathlib import Path

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from tests.reproduce.test_study import cells
from vje_ppl.evaluate.options import ADDED
from vje_ppl.reproduce.study import read_study
from vje_ppl.settings.identity import without_added

CELLS = Path(__file__).parents[2] / "docs" / "results" / "cells"


def test_added_options_are_at_their_defaults():
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        config = compose("evaluate")
    assert {key: OmegaConf.select(config, key) for key in ADDED} == ADDED


def test_added_options_leave_published_results_their_names():
    published = {path.name for path in CELLS.iterdir()}
    study = read_study("one_class", "small").only(["digits"], ["vje"], [0])
    assert {cell.file_name for cell in cells(study)} <= published
    changed = cells(study, evaluate={"scores.only": ["joint"]})
    assert not {cell.file_name for cell in changed} & published


def test_only_the_value_without_effect_is_left_out():
    added = {"a.b": 1, "c": None}
    assert without_added({"a": {"b": 1}, "c": None, "d": {}}, added) == {"d": {}}
    assert without_added({"a": {"b": 2, "e": 0}, "c": 0}, added) == {"a": {"b": 2, "e": 0}, "c": 0}
