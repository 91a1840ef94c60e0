"""Priors with one fault each, and the check that must name it."""

from __future__ import annotations

from typing import Any

import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam
from torch import Tensor, nn
from torch.distributions import Independent, constraints, register_kl

from tests.helpers.named import assert_named
from vje_ppl.models.priors.vamp import VampPrior
from vje_ppl.testing import ConformanceError, check_prior


class Normal(PyroModule):
    """Without a fault."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("zero", torch.zeros(dim))

    def base(self) -> Any:
        return dist.Normal(self.zero, 1 + self.zero)

    def forward(self) -> Any:
        return self.base().to_event(1)


class Learned(Normal):
    """Without a fault: with a plain parameter and one of Pyro's."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.shift = nn.Parameter(torch.full((dim,), 0.1))
        self.width = PyroParam(torch.full((dim,), 1.2), constraint=constraints.positive)

    def base(self) -> Any:
        return dist.Normal(self.shift, self.width)


class OneFeatureMore(Normal):
    def __init__(self, dim: int) -> None:
        super().__init__(dim + 1)


class WithoutEvent(Normal):
    def forward(self) -> Any:
        return self.base()


class Number(Normal):
    def forward(self) -> Any:
        return 1.0


class Changed(dist.Normal):
    """A Normal whose log-density or draws somebody rewrote."""

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return type(self)(self.loc.expand(batch_shape), self.scale.expand(batch_shape))


class TooHigh(Changed):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 0.1


class TooHighByFar(Changed):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 0.5 / value.shape[-1]


class TooWideDraws(Changed):
    def rsample(self, sample_shape: Any = torch.Size()) -> Tensor:  # noqa: B008
        return 1.2 * super().rsample(sample_shape)

    sample = rsample


class NaNAtTheOrigin(Changed):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 0 * value.square().sqrt()


class Overflowing(Changed):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 0 * value.pow(12).log1p()  # 1e48 is no float32


class SinglePrecision(Changed):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value).float()


class WithWrongKL(dist.Independent):
    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return WithWrongKL(self.base_dist.expand((*batch_shape, *self.event_shape)), 1)


@register_kl(Independent, WithWrongKL)
def _wrong(q: Any, p: Any) -> Tensor:
    return 1.1 * torch.distributions.kl_divergence(q.base_dist, p.base_dist).sum(-1)


def with_base(distribution: type) -> type:
    def base(self: Normal) -> Any:
        return distribution(self.zero, 1 + self.zero)

    return type(distribution.__name__, (Normal,), {"base": base})


class KL(Normal):
    def forward(self) -> Any:
        return WithWrongKL(self.base(), 1)


class UnusedParameter(Normal):
    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.unused = nn.Parameter(torch.tensor(1.0))


class HiddenModule(Normal):
    """It learns from a module in a list, which nothing else knows of."""

    def __init__(self, dim: int) -> None:
        super().__init__(dim)
        self.hidden = [nn.Linear(dim, 1, bias=False)]

    def base(self) -> Any:
        return dist.Normal(self.hidden[0].weight.to(self.zero)[0], 1 + self.zero)


class KeepsTheGuide(Normal):
    """It keeps the guide's method as it comes, so that a copy follows a guide of its own that nobody trains."""

    def bind(self, infer: Any) -> None:
        self.infer = lambda embedding: infer(embedding)

    def base(self) -> Any:
        return dist.Normal(self.infer(self.zero.float().expand(2, -1)).mean[0].to(self.zero), 1 + self.zero)


FAULTS = {
    OneFeatureMore: {"is_over_the_embedding"},
    WithoutEvent: {"is_over_the_embedding"},
    Number: {"is_over_the_embedding"},
    with_base(TooHigh): {"integrates_to_one", "kl_from_the_guide_is_right"},
    with_base(TooWideDraws): {"integrates_to_one"},
    with_base(NaNAtTheOrigin): {"is_finite_under_stress"},
    with_base(Overflowing): {"is_finite_under_stress"},
    with_base(SinglePrecision): {"keeps_the_dtype", "gradient_is_right"},
    KL: {"kl_from_the_guide_is_right"},
    UnusedParameter: {"works_in_the_objective"},
    HiddenModule: {"works_in_the_objective"},
    KeepsTheGuide: {"works_in_the_objective"},
}


@pytest.mark.parametrize(("faulty", "checks"), FAULTS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_fault_is_named_by_the_check_that_is_about_it(faulty, checks):
    with pytest.raises(ConformanceError) as caught:
        check_prior(faulty(3), dim=3)
    assert_named(caught.value, checks)


@pytest.mark.parametrize("dim", [2, 3, 16])
@pytest.mark.parametrize("sound", [Normal, Learned, VampPrior], ids=lambda one: one.__name__)
def test_sound_priors_pass(sound, dim):
    assert not check_prior(sound(dim), dim).failed


def test_integral_that_draws_cannot_tell_is_said_not_to_be_run():
    report = check_prior(Normal(65), dim=65)
    (found,) = (one for one in report.outcomes if one.check == "integrates_to_one")
    assert found.verdict == "not run"
    assert "in this many dimensions; check at 2 or 3 as well" in found.sentence


@pytest.mark.parametrize("dim", [5, 64])
def test_an_integral_in_many_dimensions_is_found_wrong(dim):
    with pytest.raises(ConformanceError, match="failed  integrates_to_one: expected the density over R"):
        check_prior(with_base(TooHighByFar)(dim), dim)
