"""The table of test cases: one row or more for every prior, likelihood and guide.

A new one is a Python file in its folder, a configuration of the same name, and a row here; `test_conformance.py` says
what is missing, and runs every row through the same checks.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache

from hydra import compose, initialize_config_module
from omegaconf import DictConfig

from vje_ppl.build import build_joint_embedding
from vje_ppl.joint_embedding import JointEmbedding

#: What every case is built with: a narrow guide on grey images of 4 × 4 pixels.
CHANNELS, IMAGE_SIZE = 1, 4
SMALL = ("encoder=mlp", "encoder.width=6", "encoder.depth=1", "augment=digits")


@dataclass(frozen=True)
class Case:
    """A program and the options it is tested with.

    Attributes:
        name: of its Python file and of its configuration.
        overrides: Hydra overrides beyond the one that chooses it.
    """

    name: str
    overrides: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "-".join([self.name, *(override.split("/")[-1].split(".")[-1] for override in self.overrides)])


@dataclass(frozen=True)
class LikelihoodCase(Case):
    """A likelihood, and what it declares.

    Attributes:
        base_measure: the measure that its densities refer to; only likelihoods of the same one are ever compared.
        sites: its observed sites.
        lebesgue: those of them whose densities integrate to one over all of R or R^D.
    """

    base_measure: str = ""
    sites: frozenset[str] = field(default_factory=frozenset)
    lebesgue: frozenset[str] = field(default_factory=frozenset)


POLAR = {
    "base_measure": "polar",
    "sites": frozenset({"direction", "radius"}),
    "lebesgue": frozenset({"direction", "radius"}),
}

PRIORS = [
    Case("standard_normal"),
]

LIKELIHOODS = [
    LikelihoodCase("polar_student_t", **POLAR),
    LikelihoodCase("polar_student_t", ("likelihood.df=0.5", "likelihood.radius_df=4.0"), **POLAR),
    LikelihoodCase("polar_student_t", ("likelihood/direction=factorized",), **POLAR),
    LikelihoodCase("polar_student_t", ("likelihood/radius_scale=projected",), **POLAR),
    LikelihoodCase("polar_student_t", ("model/scale=free",), **POLAR),
]

GUIDES = [
    Case("diagonal_normal"),
    Case("diagonal_normal", ("guide.network.depth=0", "guide.log_variance_bounds=[-2.0,1.0]")),
    Case("diagonal_normal", ("norm=group",)),
]


def composed(*overrides: str) -> DictConfig:
    """The training configuration, as the command line composes it from these overrides."""
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        return compose("train", overrides=list(overrides))


#: Composing takes longer than building, and building changes nothing in the configuration.
_composed_once = cache(composed)


def built(
    *overrides: str,
    prior: Case = PRIORS[0],
    likelihood: Case = LIKELIHOODS[0],
    guide: Case = GUIDES[0],
    dim: int = 3,
) -> JointEmbedding:
    """Everything put together from configurations, in float32, for embeddings of `dim` features."""
    chosen = [f"prior={prior.name}", f"likelihood={likelihood.name}", f"guide={guide.name}"]
    options = (*prior.overrides, *likelihood.overrides, *guide.overrides)
    config = _composed_once(*SMALL, f"encoder.dim={dim}", *chosen, *options, *overrides)
    return build_joint_embedding(config, CHANNELS, IMAGE_SIZE, trust_targets=False)
