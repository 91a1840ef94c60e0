"""Systematic errors of a trained guide: none found in it, and each planted one named."""

from functools import cache

import pyro
import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra

from vje_ppl.diagnose.posterior.offsets import offsets_of_training
from vje_ppl.diagnose.report.section import Level
from vje_ppl.diagnose.run import open_diagnosed_run
from vje_ppl.diagnose.sections.guide_verdicts import offset_verdicts

SCALE, MEAN, FEATURES = "Scale of the guide", "Mean of the guide", "Features of the guide"


@cache
def offsets(folder, *overrides):
    GlobalHydra.instance().clear()
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        options = compose("diagnose", overrides=[f"run={folder}", "images.count=4", *overrides])
    with pyro.settings.context(module_local_params=True):
        return offsets_of_training(open_diagnosed_run(options, 2))


@pytest.mark.parametrize(
    ("overrides", "bad", "words"),
    [
        ([], set(), ""),
        (["fault=scale_halved"], {SCALE}, "too narrow"),
        (["fault=scale_halved", "fault.factor=2.0"], {SCALE}, "too wide"),
        (["fault=mean_shifted"], {MEAN}, "is shifted"),
        (["fault=feature_collapsed", "fault.feature=3"], {FEATURES}, "feature 3"),
    ],
    ids=["none", "scale-halved", "scale-doubled", "mean-shifted", "feature-collapsed"],
)
def test_offsets_of_training_name_a_planted_fault(trained_digits, overrides, bad, words):
    verdicts = {one.name: one for one in offset_verdicts(offsets(trained_digits, *overrides))}
    assert {name for name, verdict in verdicts.items() if verdict.level == Level.BAD} == bad
    assert all(words in verdicts[name].sentence for name in bad)


def test_offsets_of_training_undo_a_factor_exactly(trained_digits):
    healthy, halved = offsets(trained_digits), offsets(trained_digits, "fault=scale_halved")
    assert halved.overall_scale / healthy.overall_scale == pytest.approx(0.5, rel=0.05)  # of the search
