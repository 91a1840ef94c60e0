"""The published results are what their cells say, and every cell is still one that would be computed."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from hydra import initialize_config_module
from omegaconf import OmegaConf

from vje_ppl.reproduce.__main__ import reproduce

CHECKOUT = Path(__file__).parents[2]
RESULTS = CHECKOUT / "docs/results"
NUMBER = r"-?\d+\.\d+(?:e[-+]\d+)?"
PUBLISHED = sorted(RESULTS.glob("*/config.yaml"))


@pytest.mark.parametrize("path", [pytest.param(path, id=path.parent.name) for path in PUBLISHED])
def test_table_is_drawn_from_the_published_cells(path, tmp_path):
    published = yaml.safe_load(path.read_text(encoding="utf-8"))["reproduce"]
    here = {"out": str(tmp_path), "cells": str(CHECKOUT / published["cells"]), "run": False}
    config = OmegaConf.create(published | here)
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        assert reproduce(config) == 0
    drawn = tmp_path / path.parent.name
    now, then = (yaml.safe_load((folder / path.name).read_text(encoding="utf-8")) for folder in (drawn, path.parent))
    records = [[cell["record"] for cell in configuration["cells"]] for configuration in (now, then)]
    assert records[0] == records[1], "a cell is named by another digest than the one it was published under"
    tables = [file.name for file in path.parent.iterdir() if file.suffix in (".csv", ".md")]
    assert tables
    for name in tables:
        now, then = ((folder / name).read_text(encoding="utf-8") for folder in (drawn, path.parent))
        assert re.sub(NUMBER, "#", now) == re.sub(NUMBER, "#", then)
        numbers = [[float(number) for number in re.findall(NUMBER, text)] for text in (now, then)]
        # Figure 2 is computed anew, and processors round a logarithm differently
        np.testing.assert_allclose(*numbers, rtol=1e-12, atol=1e-12)


def test_every_cell_belongs_to_a_table():
    listed = [cell for path in PUBLISHED for cell in yaml.safe_load(path.read_text(encoding="utf-8"))["cells"]]
    finished = {cell["record"] for cell in listed if cell["state"] == "finished"}
    assert finished == {path.name for path in (RESULTS / "cells").iterdir()}
