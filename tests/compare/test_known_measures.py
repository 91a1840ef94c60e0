"""The base measures that `compare` knows without torch are those of the built likelihoods."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest
from omegaconf import OmegaConf

import vje_ppl.configs
from tests.helpers.cases import composed
from vje_ppl.compare.known_measures import known_measure
from vje_ppl.settings.build import build

GROUP = Path(vje_ppl.configs.__file__).parent / "likelihood"


def names(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.yaml") if path.stem != "custom")


def cases() -> list[tuple[str, ...]]:
    """Each likelihood with each option of each group in it."""
    found: list[tuple[str, ...]] = []
    for name in names(GROUP):
        inner = [
            next(iter(one)) for one in OmegaConf.load(GROUP / f"{name}.yaml").get("defaults", []) if one != "_self_"
        ]
        choices = [[f"likelihood/{group}={option}" for option in names(GROUP / group)] for group in inner]
        found += [(f"likelihood={name}", *chosen) for chosen in product(*choices)]
    scales = [f"likelihood/radius/scale={name}" for name in names(GROUP / "radius" / "scale")]
    return found + [("likelihood=polar_student_t", scale) for scale in scales]


@pytest.mark.parametrize("overrides", cases(), ids=" ".join)
def test_known_measure_is_that_of_the_built_likelihood(overrides):
    node = OmegaConf.to_container(composed(*overrides).likelihood, resolve=True)
    assert known_measure(node) == build(node, "likelihood", dim=2).base_measure


def test_default_radius_does_not_change_the_measure():
    node = {"_target_": "vje_ppl.models.likelihoods.polar_student_t.PolarStudentT"}
    assert known_measure(node) == build(node, "likelihood", dim=2).base_measure


@pytest.mark.parametrize(
    "changes",
    [
        {"_target_": "my_module.MyLikelihood"},
        {"radius": {"_target_": "my_module.MyRadius"}},
        {"radius": "none"},
        {"radius": {"_target_": "vje_ppl.models.radius.NoRadius", "scale": {"_target_": "my_module.scale"}}},
        {"direction": {"_target_": "vje_ppl.load", "_partial_": True}},
        {"direction": [{"_target_": "my_module.density"}]},
        {"option_of_a_later_version": 1},
        {"df": "${oc.env:HOME}"},
    ],
    ids=str,
)
def test_likelihood_with_any_other_part_is_not_known(changes):
    node = {"_target_": "vje_ppl.models.likelihoods.polar_student_t.PolarStudentT"}
    assert known_measure(node | changes) is None
