"""No part is built with a number that is infinite or NaN, from a configuration or in Python."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.helpers.cases import CHANNELS, IMAGE_SIZE, SMALL, composed
from vje_ppl.errors import UserError
from vje_ppl.guides.diagonal_normal import DiagonalNormal
from vje_ppl.methods.barlow_twins import BarlowTwins
from vje_ppl.methods.byol import BYOL
from vje_ppl.methods.lejepa import LeJEPA
from vje_ppl.methods.simclr import SimCLR
from vje_ppl.methods.vi_simsiam import VISimSiam
from vje_ppl.methods.vicreg import VICReg
from vje_ppl.methods.visreg import VISReg
from vje_ppl.models.priors.ard_normal import ARDNormal
from vje_ppl.models.priors.laplace import LaplacePrior
from vje_ppl.models.priors.mixture import NormalMixture
from vje_ppl.models.priors.student_t import StudentTPrior
from vje_ppl.models.priors.vamp import VampPrior
from vje_ppl.models.radius import StudentTRadius
from vje_ppl.models.scales import Free
from vje_ppl.networks.encoders import MLP
from vje_ppl.numpyro_port import objective as ported_objective
from vje_ppl.numpyro_port import scales as ported_scales
from vje_ppl.numpyro_port.priors import ard_normal, laplace, mixture, student_t, vamp
from vje_ppl.program.bounded_scale import BoundedScale
from vje_ppl.program.objective import SymmetricConditionalELBO
from vje_ppl.settings.build import build, build_method

BAD = (math.inf, -math.inf, math.nan)


def encoder() -> MLP:
    return MLP(CHANNELS, IMAGE_SIZE, width=6, depth=1, dim=4)


IN_PYTHON: dict[str, Callable[[float], Any]] = {
    "student_t_df": lambda one: StudentTPrior(3, df=one),
    "laplace_scale": lambda one: LaplacePrior(3, scale=one),
    "ard_normal_init": lambda one: ARDNormal(3, init=one),
    "mixture_spread": lambda one: NormalMixture(3, spread=one),
    "vamp_init_scale": lambda one: VampPrior(3, init_scale=one),
    "free_init": lambda one: Free(3, init=one),
    "radius_df": lambda one: StudentTRadius(df=one),
    "beta": lambda one: SymmetricConditionalELBO(beta=one),
    "low_bound": lambda one: BoundedScale(low=one),
    "high_bound": lambda one: BoundedScale(high=one),
    "guide_bounds": lambda one: DiagonalNormal(3, log_variance_bounds=(one, 4.0)),
    "vicreg_weight": lambda one: VICReg(encoder(), [4], variance=one),
    "barlow_twins_redundancy": lambda one: BarlowTwins(encoder(), [4], redundancy=one),
    "simclr_temperature": lambda one: SimCLR(encoder(), [4], temperature=one),
    "lejepa_weight": lambda one: LeJEPA(encoder(), [4], weight=one),
    "lejepa_largest_frequency": lambda one: LeJEPA(encoder(), [4], largest_frequency=one),
    "visreg_weight": lambda one: VISReg(encoder(), [4], shape=one),
    "byol_momentum": lambda one: BYOL(encoder(), [4], 4, momentum=one),
    "vi_simsiam_most_concentrated": lambda one: VISimSiam(encoder(), [4], 4, most_concentrated=one),
    "ported_student_t_df": lambda one: student_t.StudentTPrior(3, df=one),
    "ported_laplace_scale": lambda one: laplace.LaplacePrior(3, scale=one),
    "ported_ard_normal_init": lambda one: ard_normal.ARDNormal(3, init=one),
    "ported_mixture_spread": lambda one: mixture.NormalMixture(3, spread=one),
    "ported_vamp_init_scale": lambda one: vamp.VampPrior(3, init_scale=one),
    "ported_free_init": lambda one: ported_scales.Free(3, init=one),
    "ported_beta": lambda one: ported_objective.SymmetricConditionalELBO(beta=one),
}


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("make", IN_PYTHON.values(), ids=IN_PYTHON)
def test_a_part_refuses_it_in_python(make, bad):
    with pytest.raises(ValueError, match=f"expects? .*, got .*{bad}"):
        make(bad)


CONFIGURED = {
    "prior.df": "prior=student_t",
    "model.scale.init": "model/scale=free",
    "likelihood.radius.df": "likelihood=polar_student_t",
    "objective.beta": "guide=flow",
    "guide.layers": "guide=flow",
    "guide.network.width": "guide=low_rank_normal",
    "method.covariance": "method=vicreg",
    "encoder.width": "encoder=mlp",
}


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize(("key", "group"), CONFIGURED.items(), ids=CONFIGURED)
def test_a_configuration_with_it_is_refused(key, group, bad):
    config = composed(*SMALL, group)
    OmegaConf.update(config, key, bad)
    with pytest.raises(UserError, match=f"got .*{bad}"):
        build_method(config, CHANNELS, IMAGE_SIZE)


class Own:
    """A part of one's own, that checks nothing."""

    def __init__(self, kappa: Any = 1.0, bound: float = math.inf, untyped=None) -> None:
        self.bound = bound


@pytest.mark.parametrize("bad", BAD, ids=str)
@pytest.mark.parametrize("given", ["optimizer", "kappa", "untyped", "list"])
def test_what_a_part_does_not_refuse_itself_is_refused_for_it(given, bad):
    config: dict[str, Any] = {"_target_": f"{__name__}.Own", given: [1.0, bad] if given == "list" else bad}
    if given == "optimizer":
        config = {"_target_": "torch.optim.AdamW", "_partial_": True, "weight_decay": bad}
    if given == "list":
        config = {"_target_": f"{__name__}.Own", "kappa": [1.0, bad]}
    with pytest.raises(UserError, match=rf"part\.\w+ expects a (finite )?number, got {bad}"):
        build(config, "part")


def test_a_part_whose_default_is_infinite_may_be_given_that():
    assert build({"_target_": f"{__name__}.Own", "bound": math.inf}, "part").bound == math.inf
