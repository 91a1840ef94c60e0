"""Every prior, likelihood and guide, by folder: its files are complete, and it does what its kind promises."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import product
from pathlib import Path
from types import ModuleType

import pytest
import torch

import vje_ppl.configs
import vje_ppl.guides
import vje_ppl.models.likelihoods
import vje_ppl.models.priors
import vje_ppl.numpyro_port
from tests.helpers.cases import (
    CHANNELS,
    GUIDES,
    IMAGE_SIZE,
    LIKELIHOODS,
    NOT_CERTIFIED,
    PRIORS,
    Case,
    LikelihoodCase,
    composed,
    configured,
    subject,
    views,
)
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.settings.build import build_joint_embedding
from vje_ppl.testing import GUIDE_CHECKS, LIKELIHOOD_CHECKS, PRIOR_CHECKS, Checks, Subject, outcome
from vje_ppl.testing.prior import compare_kl
from vje_ppl.testing.traced import inputs, sites_of
from vje_ppl.testing.twin import agrees_with_its_twin
from vje_ppl.testing.whole import check_objective

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # JAX is first imported by the comparison with the twins

KINDS: dict[str, tuple[ModuleType, Sequence[Case], Checks]] = {
    "prior": (vje_ppl.models.priors, PRIORS, PRIOR_CHECKS),
    "likelihood": (vje_ppl.models.likelihoods, LIKELIHOODS, LIKELIHOOD_CHECKS),
    "guide": (vje_ppl.guides, GUIDES, GUIDE_CHECKS),
}
CONFIGS = Path(vje_ppl.configs.__file__).parent
TWINS = Path(vje_ppl.numpyro_port.__file__).parent
README = Path(__file__).parents[2] / "README.md"


def names(folder: Path, ending: str) -> set[str]:
    return {path.stem for path in folder.glob(f"*{ending}")} - {"__init__", "custom"}


def missing(
    kind: str,
    programs: Path,
    configs: Path,
    twins: Path,
    cases: Sequence[Case],
    listed: str,
    not_certified: frozenset[str] = frozenset(),
) -> list[str]:
    """A sentence for every file, configuration, twin, row or name in a list that another one has no counterpart for."""
    files, options, rows = names(programs, ".py"), names(configs, ".yaml"), {case.name for case in cases}
    ported = names(twins, ".py")
    unlisted = {name for name in files if f"`{name}`" not in listed}
    marked = {name for name in files if f"`{name}` (not certified)" in listed}
    table, port = f"{kind.upper()}S in tests/helpers/cases.py", f"vje_ppl/numpyro_port/{twins.name}"
    return [
        *(f"The {kind} {name}.py has no configuration; write configs/{kind}/{name}.yaml." for name in files - options),
        *(
            f"The {kind} {name}.py has no NumPyro twin; write {port}/{name}.py, or name it in NOT_CERTIFIED."
            for name in files - ported - not_certified
        ),
        *(f"The {kind} {name}.py has a NumPyro twin; take it out of NOT_CERTIFIED." for name in ported & not_certified),
        *(f"The {kind} {name}.py is not among the options in README.md; add `{name}`." for name in unlisted),
        *(
            f"The {kind} {name}.py is in NOT_CERTIFIED or marked so in README.md, not both; write `{name}` (not "
            "certified) if it has no twin."
            for name in marked ^ (files & not_certified)
        ),
        *(f"The {kind} {name}.py has no test case; add a row for it to {table}." for name in files - rows),
        *(f"configs/{kind}/{name}.yaml has no program {name}.py in {programs.name}/." for name in options - files),
        *(f"{port}/{name}.py is the twin of no program {name}.py in {programs.name}/." for name in ported - files),
        *(f"The row {name!r} of {table} has no program {name}.py in {programs.name}/." for name in rows - files),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_every_program_has_a_configuration_a_twin_and_a_test_case(kind):
    package, cases, _ = KINDS[kind]
    programs = Path(package.__file__).parent
    listed = README.read_text(encoding="utf-8").split("<!-- options -->")[1].split("<!-- end of options -->")[0]
    sentences = missing(kind, programs, CONFIGS / kind, TWINS / f"{kind}s", cases, listed, NOT_CERTIFIED)
    assert not sentences, "\n".join(sentences)


def test_what_is_missing_is_named(tmp_path):
    programs, configs, twins = (tmp_path / name for name in ("models/priors", "configs", "port/priors"))
    for folder, ending, present in (
        (programs, ".py", ("__init__", "whole", "without_yaml", "without_twin", "without_row")),
        (configs, ".yaml", ("custom", "whole", "without_twin", "without_row", "without_program")),
        (twins, ".py", ("__init__", "whole", "without_yaml", "without_row", "without_original")),
    ):
        folder.mkdir(parents=True)
        for name in present:
            (folder / f"{name}{ending}").touch()
    cases = [Case(name) for name in ("whole", "without_yaml", "without_twin", "gone")]
    listed = "`whole` (not certified), `without_yaml`, `without_twin`"
    sentences = missing("prior", programs, configs, twins, cases, listed, frozenset({"without_yaml"}))
    assert sorted(sentences) == [
        "The prior whole.py is in NOT_CERTIFIED or marked so in README.md, not both; write `whole` (not certified) if "
        "it has no twin.",
        "The prior without_row.py has no test case; add a row for it to PRIORS in tests/helpers/cases.py.",
        "The prior without_row.py is not among the options in README.md; add `without_row`.",
        "The prior without_twin.py has no NumPyro twin; write vje_ppl/numpyro_port/priors/without_twin.py, or name it "
        "in NOT_CERTIFIED.",
        "The prior without_yaml.py has a NumPyro twin; take it out of NOT_CERTIFIED.",
        "The prior without_yaml.py has no configuration; write configs/prior/without_yaml.yaml.",
        "The prior without_yaml.py is in NOT_CERTIFIED or marked so in README.md, not both; write `without_yaml` (not "
        "certified) if it has no twin.",
        "The row 'gone' of PRIORS in tests/helpers/cases.py has no program gone.py in priors/.",
        "configs/prior/without_program.yaml has no program without_program.py in priors/.",
        "vje_ppl/numpyro_port/priors/without_original.py is the twin of no program without_original.py in priors/.",
    ]
    without_a_twin = missing(
        "prior", programs, configs, twins, cases, listed + " (not certified)", frozenset({"whole", "without_twin"})
    )
    assert [sentence for sentence in without_a_twin if "without_twin" in sentence] == []


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind in KINDS for name in sorted(names(CONFIGS / kind, ".yaml"))]
)
def test_configuration_builds_the_program_of_its_name(kind, name):
    target = composed(f"{kind}={name}")[kind]._target_
    assert target.startswith(f"{KINDS[kind][0].__name__}.{name}."), f"configs/{kind}/{name}.yaml builds {target}"


@pytest.mark.parametrize(
    ("kind", "case", "check"),
    [
        pytest.param(kind, case, check, id=f"{kind}-{case}-{check.__name__}")
        for kind, (_, cases, checks) in KINDS.items()
        for case in cases
        for check in checks.all
    ],
)
def test_conforms(kind, case, check):
    found = outcome(check, subject(kind, case))
    lacks_a_twin = check is agrees_with_its_twin and case.name in NOT_CERTIFIED
    assert found.verdict == ("not run" if lacks_a_twin else "passed"), str(found)


@pytest.mark.parametrize("case", LIKELIHOODS, ids=str)
def test_likelihood_declares_the_sites_and_the_base_measure_of_its_row(case: LikelihoodCase):
    likelihood = subject("likelihood", case).part()
    assert likelihood.base_measure == case.base_measure
    assert set(sites_of(likelihood, *inputs(3))) == case.sites


def one_of_each(cases: Sequence[Case]) -> list[Case]:
    return list({case.name: case for case in reversed(cases)}.values())[::-1]


def combinations() -> list[tuple[int, Case, Case, Case]]:
    """One row of every part, so that any two of different kinds meet, and a number.

    All three at a time would be many hundreds. Variants of a part meet the defaults of the others in `test_conforms`,
    with both precisions and numbers of particles.
    """
    priors, likelihoods, guides = (one_of_each(cases) for _, cases, _ in KINDS.values())
    return [
        (i + j, prior, likelihood, guides[(i + j) % len(guides)])
        for i, prior in enumerate(priors)
        for j, likelihood in enumerate(likelihoods)
    ]


def swapped(prior: Case, likelihood: Case, guide: Case) -> JointEmbedding:
    """The three together, out of the configurations of each, since composing takes longer than all the rest."""
    config = configured(prior=prior)
    config.likelihood = configured(likelihood=likelihood).likelihood
    config.guide = configured(guide=guide).guide
    return build_joint_embedding(config, CHANNELS, IMAGE_SIZE, trust_targets=False)


def test_any_two_parts_meet():
    met = {pair for _, *parts in combinations() for pair in product(parts, parts)}
    for (_, ours, _), (_, theirs, _) in product(KINDS.values(), KINDS.values()):
        if ours is not theirs:
            assert set(product(one_of_each(ours), one_of_each(theirs))) <= met


@pytest.mark.parametrize(
    ("number", "prior", "likelihood", "guide"),
    [pytest.param(*one, id="-".join(case.name for case in one[1:])) for one in combinations()],
)
def test_swap_together_in_the_objective(number, prior, likelihood, guide):
    together = Subject("together", "likelihood", lambda dim: swapped(prior, likelihood, guide), [3], views)
    dtype, particles = (torch.float32, torch.float64)[number % 2], (1, 3)[number // 2 % 2]
    terms = check_objective(together, dtype, particles)
    assert set(terms.log_likelihood) == likelihood.sites


@pytest.mark.parametrize(
    ("prior", "guide"), list(product(one_of_each(PRIORS), one_of_each(GUIDES))), ids=lambda case: case.name
)
def test_registered_kl_is_that_of_draws(prior, guide):
    module = swapped(prior, LIKELIHOODS[0], guide).double()
    with torch.no_grad():
        posterior = module.guide.infer(module.guide.embed(views()[0]))
        compare_kl(posterior.distribution(), module.model.prior())
