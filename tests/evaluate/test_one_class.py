"""Models of one class of runs from earlier versions."""

from __future__ import annotations

from omegaconf import OmegaConf

from tests.helpers.cases import composed
from vje_ppl.evaluate.one_class import with_newer_keys
from vje_ppl.settings.identity import ADDED, config_digest
from vje_ppl.train.options import checked


def test_a_run_of_an_earlier_version_gets_the_options_that_it_lacks():
    now = OmegaConf.to_container(composed(), resolve=True)
    first = OmegaConf.create({key: value for key, value in now.items() if key not in {*ADDED, "rank"}})
    assert {"rotations", "calibration", "init"}.isdisjoint(first)
    found = with_newer_keys(first)
    assert config_digest(checked(found)) == config_digest(now)
    assert found.rotations is False
