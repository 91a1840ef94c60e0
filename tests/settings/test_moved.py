"""Parts that have moved: what old configurations name still builds, and is the same part."""

from __future__ import annotations

import pytest
from hydra.utils import get_object
from omegaconf import OmegaConf

import vje_ppl
from tests.helpers.cases import composed
from tests.helpers.commands import SMALL
from vje_ppl.runs import checkpoint
from vje_ppl.settings.build import build_method
from vje_ppl.settings.identity import MOVED, config_differences, default_name, new_address

#: Parts by the addresses under which they stood in the first configurations.
OLD = {
    "encoder": "vje_ppl.encoders.MLP",
    "guide.network": "vje_ppl.inference_network.InferenceNetwork",
    "objective": "vje_ppl.objective.SymmetricConditionalELBO",
}


@pytest.mark.parametrize(("old", "new"), MOVED.items())
def test_parts_have_moved_to_modules_that_are_there(old, new):
    assert get_object(new).__name__ == new
    with pytest.raises(Exception, match=old.rpartition(".")[2]):
        get_object(old)


def with_old_addresses(config):
    config = OmegaConf.create(config)
    for part, address in OLD.items():
        assert OmegaConf.select(config, part)._target_ == new_address(address) != address
        OmegaConf.update(config, f"{part}._target_", address)
    return config


def test_an_old_configuration_names_the_same_run_and_builds_it():
    now = composed(*SMALL)
    old = with_old_addresses(now)
    before, after = (OmegaConf.to_container(config, resolve=True) for config in (old, now))
    assert config_differences(before, after) == []
    assert default_name(before, "digits") == default_name(after, "digits")
    ours, theirs = (build_method(config, 1, 8, trust_targets=False) for config in (now, old))
    assert repr(ours) == repr(theirs)


def test_the_first_default_has_the_name_that_it_always_had():
    config = OmegaConf.to_container(composed("likelihood=polar_student_t"), resolve=True)
    assert default_name(config, "digits") == "digits-c3fd21de"


def test_an_old_run_loads_and_resumes(train, tmp_path):
    assert train("run.name=a", "trainer.epochs=1").returncode == 0
    last = tmp_path / "runs/a/checkpoints/last.pt"
    state = checkpoint.load(last)
    state["config"] = OmegaConf.to_container(with_old_addresses(state["config"]))
    checkpoint.save(last, state)
    assert vje_ppl.load(tmp_path / "runs/a").epoch == 1
    again = train("run.name=a", "trainer.epochs=1")
    assert again.returncode == 0, again.stderr
    assert "already finished" in again.stdout
