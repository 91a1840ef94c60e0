"""The table of test cases: one row or more for every prior, likelihood and guide.

A new one is a Python file in its folder, a configuration and a NumPyro twin of the same name, and a row here;
`test_conformance.py` says what is missing, and runs every row through the checks of `vje_ppl.testing`. A part without a
twin is named in `NOT_CERTIFIED`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.settings.build import build, build_joint_embedding
from vje_ppl.testing import Subject

#: What every case is built with: a narrow guide on grey images of 4 × 4 pixels.
CHANNELS, IMAGE_SIZE = 1, 4
SMALL = ("encoder=mlp", "encoder.width=6", "encoder.depth=1", "augment=digits")

#: The embedding widths at which each kind is checked; most checks run at 3, and all of them under stress.
WIDTHS = {"prior": (2, 3, 16, 64), "likelihood": (2, 3, 16, 512), "guide": (3, 64)}

#: The names of priors, likelihoods, guides and densities without a NumPyro twin. README.md marks the parts among them,
#: as in "`name` (not certified)".
NOT_CERTIFIED: frozenset[str] = frozenset()


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
        options = (override.split("=", 1) for override in self.overrides)
        return "-".join([self.name, *(f"{re.split('[/.]', key)[-1]}={value}" for key, value in options)])


@dataclass(frozen=True)
class LikelihoodCase(Case):
    """A likelihood, and what it declares.

    Attributes:
        base_measure: the measure that its densities refer to; only likelihoods of the same one are ever compared.
        sites: its observed sites.
    """

    base_measure: str = ""
    sites: frozenset[str] = frozenset()


POLAR = {
    "base_measure": "polar",
    "sites": frozenset({"direction", "radius"}),
}

DIRECTION_ONLY = {
    "base_measure": "polar, direction only",
    "sites": frozenset({"direction"}),
}

CARTESIAN = {
    "base_measure": "cartesian",
    "sites": frozenset({"embedding"}),
}

BOUND = {
    "base_measure": "sphere, at most one",
    "sites": frozenset({"direction", "radius"}),
}

BOUND_POSITIVE = {
    "base_measure": "sphere, at most one, positive radius",
    "sites": frozenset({"direction", "radius"}),
}

SPHERE = {
    "base_measure": "sphere",
    "sites": frozenset({"direction", "radius"}),
}

PRIORS = [
    Case("standard_normal"),
    Case("ard_normal"),
    Case("student_t"),
    Case("laplace"),
    Case("mixture"),
    Case("vamp"),
]

LIKELIHOODS = [
    LikelihoodCase("polar_student_t", **POLAR),
    LikelihoodCase("polar_student_t", ("likelihood.df=0.5", "likelihood.radius.df=4.0"), **POLAR),
    LikelihoodCase("polar_student_t", ("likelihood.df=2.0", "likelihood.learn_df=true"), **POLAR),
    LikelihoodCase("polar_student_t", ("likelihood/direction=factorized",), **POLAR),
    LikelihoodCase("polar_student_t", ("likelihood/radius/scale=projected",), **POLAR),
    LikelihoodCase("polar_student_t", ("likelihood/radius=none",), **DIRECTION_ONLY),
    LikelihoodCase("polar_student_t", ("model/scale=free",), **POLAR),
    LikelihoodCase("polar_student_t", ("model/scale=isotropic",), **POLAR),
    LikelihoodCase("polar_normal", **POLAR),
    LikelihoodCase("polar_von_mises_fisher", **SPHERE),
    LikelihoodCase("polar_power_spherical", **SPHERE),
    LikelihoodCase("polar_spherical_cauchy", **SPHERE),
    LikelihoodCase("polar_spherical_student_t", **SPHERE),
    LikelihoodCase("polar_spherical_student_t", ("likelihood.df=5.0", "likelihood.learn_df=true"), **SPHERE),
    LikelihoodCase("polar_tangent_student_t", **BOUND),
    LikelihoodCase("polar_tangent_student_t", ("likelihood.df=5.0", "likelihood.learn_df=true"), **BOUND),
    LikelihoodCase("polar_tangent_student_t", ("likelihood/radius=log_student_t",), **BOUND_POSITIVE),
    LikelihoodCase("cartesian_student_t", **CARTESIAN),
    LikelihoodCase("cartesian_student_t", ("likelihood.learn_df=true",), **CARTESIAN),
]

GUIDES = [
    Case("diagonal_normal"),
    Case("diagonal_normal", ("guide.network.depth=0", "guide.log_variance_bounds=[-2.0,1.0]")),
    Case("diagonal_normal", ("norm=group",)),
    Case("diagonal_normal", ("guide.whiten=1",)),
    Case("low_rank_normal", ("guide.rank=2",)),
    Case("low_rank_normal", ("guide.rank=1", "guide.network.depth=0", "guide.log_variance_bounds=[-2.0,1.0]")),
    Case("flow"),
    Case("flow", ("guide.layers=1", "guide.width=1")),
]


def composed(*overrides: str) -> DictConfig:
    """The training configuration, as the command line composes it from these overrides."""
    return _composed(*overrides).copy()


@cache
def _composed(*overrides: str) -> DictConfig:
    with initialize_config_module("vje_ppl.configs", version_base="1.3"):
        return compose("train", overrides=list(overrides))


def configured(
    *overrides: str,
    prior: Case = PRIORS[0],
    likelihood: Case = LIKELIHOODS[0],
    guide: Case = GUIDES[0],
    dim: int = 3,
) -> DictConfig:
    """The configuration of a prior, a likelihood and a guide together, for embeddings of `dim` features."""
    chosen = [f"prior={prior.name}", f"likelihood={likelihood.name}", f"guide={guide.name}"]
    options = (*prior.overrides, *likelihood.overrides, *guide.overrides)
    config = composed(*SMALL, *chosen, *options, *overrides)
    config.encoder.dim = dim
    return config


def built(*overrides: str, **chosen: Any) -> JointEmbedding:
    """Everything put together, in float32; arguments as in `configured`."""
    return build_joint_embedding(configured(*overrides, **chosen), CHANNELS, IMAGE_SIZE, trust_targets=False)


def views(dim: int = 3) -> list[Tensor]:
    """Two views of six images, in float64, the same in every call."""
    generator = torch.Generator().manual_seed(5)
    shape = (6, CHANNELS, IMAGE_SIZE, IMAGE_SIZE)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for _ in range(2)]


@cache
def subject(kind: str, case: Case) -> Subject:
    """A row as the checks of `vje_ppl.testing` take it: by its configuration, among the defaults of the others."""

    def alone(dim: int) -> Any:
        return build(configured(**{kind: case}, dim=dim)[kind], kind, dim=dim)

    return Subject(
        name=str(case),
        kind=kind,
        build=lambda dim: built(**{kind: case}, dim=dim),
        dims=WIDTHS[kind],
        views=views,
        config=lambda dim: configured(**{kind: case}, dim=dim),
        alone=alone if kind == "likelihood" else None,  # a guide for 512 features takes its time
    )
