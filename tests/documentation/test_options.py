"""The documentation lists every option; priors, likelihoods and guides are checked with their other files."""

from __future__ import annotations

import pytest
from omegaconf import OmegaConf

from tests.documentation.blocks import ROOT
from tests.helpers.baselines import NARROW

README = (ROOT / "README.md").read_text(encoding="utf-8")
PLACES = {
    "README.md": README.split("<!-- options -->")[1].split("<!-- end of options -->")[0],
    **{name: (ROOT / name).read_text(encoding="utf-8") for name in ("docs/baselines.md", "docs/data.md")},
}
LISTED = [("encoder", "README.md"), ("optimizer", "README.md"), ("method", "README.md"), ("data", "docs/data.md")]


def options(group: str) -> set[str]:
    return {path.stem for path in (ROOT / "configs" / group).glob("*.yaml")} - {"custom"}


@pytest.mark.parametrize(("group", "place"), [*LISTED, ("method", "docs/baselines.md")])
def test_every_option_is_listed(group, place):
    own = {"vje"} if place == "docs/baselines.md" else set()
    unlisted = {name for name in options(group) - own if f"`{name}`" not in PLACES[place]}
    assert not unlisted, f"add these options of {group} to the table in {place}"


def test_every_baseline_is_tested_and_has_a_learning_rate():
    baselines = options("method") - {"vje"}
    assert baselines == NARROW.keys(), "add a row to NARROW in tests/helpers/baselines.py"
    variants = OmegaConf.load(ROOT / "configs/study/variants.yaml")
    assert baselines <= set(variants), "add its overrides to configs/study/variants.yaml"
