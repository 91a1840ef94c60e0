"""Distributions with one fault each, and the check that must name it."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import pyro.distributions as dist
import pytest
import torch
from pyro.distributions import constraints
from pyro.distributions.torch_distribution import TorchDistribution
from torch import Tensor
from torch.distributions import register_kl
from torch.nn.functional import normalize, softplus

from tests.helpers.named import assert_named
from vje_ppl.distributions import DiagonalStudentT, VonMisesFisher
from vje_ppl.testing import ConformanceError, check_distribution


class Sound(TorchDistribution):
    """Without a fault: the logistic distribution."""

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=validate_args)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return type(self)(self.loc.expand(batch_shape), self.scale.expand(batch_shape))

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        share = torch.rand(self._extended_shape(torch.Size(sample_shape)), dtype=self.loc.dtype).clamp_min(1e-30)
        return self.loc + self.scale * torch.logit(share, eps=1e-7)

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        standard = (value - self.loc) / self.scale
        return -standard - 2 * softplus(-standard) - self.scale.log()

    @property
    def mean(self) -> Tensor:
        return self.loc

    @property
    def variance(self) -> Tensor:
        return (math.pi * self.scale).square() / 3

    def entropy(self) -> Tensor:
        return self.scale.log() + 2

    def cdf(self, value: Tensor) -> Tensor:
        return ((value - self.loc) / self.scale).sigmoid()

    def icdf(self, value: Tensor) -> Tensor:
        return self.loc + self.scale * torch.logit(value)


class Bare(Sound):
    """Without a fault: nothing but the density and draws."""

    mean = TorchDistribution.mean
    variance = TorchDistribution.variance
    entropy = TorchDistribution.entropy
    cdf = TorchDistribution.cdf
    icdf = TorchDistribution.icdf


class Unsupported(Sound):
    support = TorchDistribution.support


class WithoutDraws(Sound):
    rsample = TorchDistribution.rsample


class BatchOfTheLocationAlone(Sound):
    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        self.loc, self.scale = loc[..., :1], scale
        TorchDistribution.__init__(self, self.loc.shape, validate_args=validate_args)


class OneNumberForAll(Sound):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value).sum(-1)


class CentredOverTheBatch(Sound):
    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(loc.mean(-1, keepdim=True) if loc.dim() else loc, scale, validate_args)


class ForgetsTheScale(Sound):
    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        return type(self)(self.loc.expand(batch_shape), torch.ones_like(self.scale).expand(batch_shape))


class DrawsBeforeExpanding(Sound):
    shared: Sound | None = None

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        made = super().expand(batch_shape)
        made.shared = self.shared or self
        return made

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        if self.shared is None:
            return super().rsample(sample_shape)
        once = self.shared.rsample(sample_shape)
        between = (1,) * (len(self.batch_shape) - len(self.shared.batch_shape))
        shape = (*sample_shape, *between, *self.shared.batch_shape)
        return once.reshape(shape).expand(*sample_shape, *self.batch_shape)


class OtherDrawsAfterExpand(Sound):
    widened = 1.0

    def expand(self, batch_shape: Any, _instance: Any = None) -> Any:
        made = super().expand(batch_shape)
        made.widened = 1.5
        return made

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + self.widened * (super().rsample(sample_shape) - self.loc)


class HoldsAFunction(Sound):
    def __init__(self, loc: Tensor, scale: Tensor, validate_args: bool | None = None) -> None:
        super().__init__(loc, scale, validate_args)
        self.function = lambda: loc


class WithoutValidation(Sound):
    def log_prob(self, value: Tensor) -> Tensor:
        standard = (value - self.loc) / self.scale
        return -standard - 2 * softplus(-standard) - self.scale.log()


class DrawsOutOfItsSupport(Bare):
    support = constraints.positive


class NaNInFloat32(Bare):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 0 * (self.scale**31 / self.scale**32)  # 1e-62 is no float32


class Unnormalized(Bare):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 0.01


class WithoutLogScale(Bare):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + self.scale.log()


class ShiftedDraws(Bare):
    has_rsample = False

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.rsample(sample_shape).detach() + 0.1 * self.scale


class NormalDraws(Bare):
    """Of the same mean and variance."""

    has_rsample = False

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return dist.Normal(self.loc, math.pi / 3**0.5 * self.scale).sample(sample_shape)


class DetachedDraws(Sound):
    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + (super().rsample(sample_shape) - self.loc).detach()


class DetachedDensity(Bare):
    has_rsample = False

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return self.rsample(sample_shape).detach()

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) - self.scale.log() + self.scale.detach().log()


class WithADoubleConstant(Sound):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + value.new_zeros(value.shape, dtype=torch.float64)


class ExpandedSquares(dist.Normal):
    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        squares = value.square() - 2 * value * self.loc + self.loc.square()
        return -0.5 * squares / self.scale.square() - self.scale.log() - 0.5 * math.log(2 * math.pi)


class WrongMean(Sound):
    @property
    def mean(self) -> Tensor:
        return self.loc + 1e-4 * self.scale


class WrongVariance(Sound):
    @property
    def variance(self) -> Tensor:
        return self.scale.square()


class WrongEntropy(Sound):
    def entropy(self) -> Tensor:
        return self.scale.log() + 2.001


class WrongCdf(Sound):
    def cdf(self, value: Tensor) -> Tensor:
        return super().cdf(value).square()


class WrongIcdf(Sound):
    def icdf(self, value: Tensor) -> Tensor:
        return super().icdf(1 - value)


class WrongKL(Sound):
    """KL(q ‖ p) of another distribution, but 0 from it to itself."""


@register_kl(WrongKL, WrongKL)
def _wrong_kl(q: WrongKL, p: WrongKL) -> Tensor:
    return ((q.loc - p.loc) / p.scale).square()


class KLAboveZero(Sound):
    """Its KL is off by a constant."""


@register_kl(KLAboveZero, KLAboveZero)
def _kl_above_zero(q: KLAboveZero, p: KLAboveZero) -> Tensor:
    return torch.full_like(q.loc, 0.1)


class WideDraws(DiagonalStudentT):
    def rsample(self, sample_shape: Any = ()) -> Tensor:
        return self.loc + 1.2 * (super().rsample(sample_shape) - self.loc)


class IndependentDraws(dist.MultivariateNormal):
    has_rsample = False

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return dist.Normal(self.loc, self.variance.sqrt()).sample(sample_shape)


class UniformDraws(VonMisesFisher):
    def sample(self, sample_shape: Any = ()) -> Tensor:
        return normalize(torch.randn(self._extended_shape(torch.Size(sample_shape)), dtype=self.loc.dtype), dim=-1)


class OneSidedDraws(VonMisesFisher):
    """With the right angle from the location, but always to one side of it."""

    def sample(self, sample_shape: Any = ()) -> Tensor:
        draws, first = super().sample(sample_shape), torch.eye(self.event_shape[0], dtype=self.loc.dtype)[0]
        side = first - (first * self.loc).sum(-1, keepdim=True) * self.loc
        along = (draws * side).sum(-1, keepdim=True) / side.square().sum(-1, keepdim=True)
        return draws - 2 * along.clamp_max(0) * side


class UnnormalizedOnTheSphere(VonMisesFisher):
    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + 1e-4


class CosineOfSmallAngles(VonMisesFisher):
    """1 − μ·x, which loses the digits that ½ ‖x − μ‖² keeps."""

    def log_prob(self, value: Tensor) -> Tensor:
        if self._validate_args:
            self._validate_sample(value)
        at_location = super().log_prob(self.loc)
        return at_location - self.concentration * (1 - (self.loc * value).sum(-1))


def numbers(*values: float) -> Tensor:
    return torch.tensor(values)


LOGISTIC = {"loc": numbers(0.5, -300.0, 4.0), "scale": numbers(1.0, 0.01, 30.0)}
ON_SPHERE = {
    "loc": normalize(torch.arange(48.0).reshape(3, 16).cos(), dim=-1),
    "concentration": numbers(1.0, 20.0, 1e6),
}
SIMPLEX = {"concentration": torch.tensor([[0.5, 1.0, 2.0], [3.0, 3.0, 9.0]])}
FAR = {"loc": numbers(0.5, -100.0), "scale": numbers(1.0, 0.3)}
IN_FIVE = {"df": numbers(1.0, 9.0), "loc": torch.arange(10.0).reshape(2, 5), "scale": torch.ones(2, 5)}
CORRELATED = {"loc": torch.zeros(2, 4), "scale_tril": torch.full((2, 4, 4), 0.5).tril() + 0.5 * torch.eye(4)}

FAULTS: dict[Any, tuple[dict[str, Tensor], set[str]]] = {
    Unsupported: (LOGISTIC, {"is_a_density"}),
    WithoutDraws: (LOGISTIC, {"is_a_density"}),
    dist.Poisson: ({"rate": numbers(1.0, 2.0)}, {"is_a_density"}),
    BatchOfTheLocationAlone: (LOGISTIC, {"has_the_shapes"}),
    OneNumberForAll: (LOGISTIC, {"has_the_shapes"}),
    CentredOverTheBatch: (LOGISTIC, {"settings_do_not_meet"}),
    ForgetsTheScale: (LOGISTIC, {"expands"}),
    DrawsBeforeExpanding: (LOGISTIC, {"expands"}),
    OtherDrawsAfterExpand: (LOGISTIC, {"expands"}),
    HoldsAFunction: (LOGISTIC, {"copies"}),
    WithoutValidation: (LOGISTIC, {"refuses_what_is_no_number"}),
    DrawsOutOfItsSupport: (LOGISTIC, {"draws_lie_in_the_support"}),
    NaNInFloat32: (LOGISTIC, {"draws_lie_in_the_support"}),
    Unnormalized: (LOGISTIC, {"integrates_to_one"}),
    WithoutLogScale: (LOGISTIC, {"integrates_to_one"}),
    UnnormalizedOnTheSphere: (ON_SPHERE, {"integrates_to_one"}),
    ShiftedDraws: (LOGISTIC, {"draws_follow_the_density"}),
    NormalDraws: (LOGISTIC, {"draws_follow_the_density"}),
    # Beyond two features, what draws average to is all that there is to compare with.
    WideDraws: (IN_FIVE, {"draws_follow_the_density", "integrates_to_one", "gradient_through_draws_is_right"}),
    IndependentDraws: (CORRELATED, {"draws_follow_the_density", "integrates_to_one", "entropy_is_right"}),
    UniformDraws: (ON_SPHERE, {"draws_follow_the_density", "mean_is_right", "variance_is_right"}),
    OneSidedDraws: (ON_SPHERE, {"draws_follow_the_density", "mean_is_right"}),
    DetachedDraws: (LOGISTIC, {"gradient_through_draws_is_right"}),
    DetachedDensity: (LOGISTIC, {"gradient_is_right"}),
    WithADoubleConstant: (LOGISTIC, {"float32_keeps_its_digits"}),
    # Differences of it have too few digits even in float64.
    ExpandedSquares: (FAR, {"float32_keeps_its_digits", "mixed_precisions_agree", "gradient_is_right"}),
    CosineOfSmallAngles: (ON_SPHERE, {"float32_keeps_its_digits"}),
    WrongMean: (LOGISTIC, {"mean_is_right"}),
    WrongVariance: (LOGISTIC, {"variance_is_right"}),
    WrongEntropy: (LOGISTIC, {"entropy_is_right"}),
    WrongCdf: (LOGISTIC, {"cdf_is_right"}),
    WrongIcdf: (LOGISTIC, {"cdf_is_right"}),
    WrongKL: (LOGISTIC, {"kl_is_right"}),
    KLAboveZero: (LOGISTIC, {"kl_is_right"}),
}


@pytest.mark.parametrize(
    ("faulty", "parameters", "checks"),
    [pytest.param(faulty, *given, id=faulty.__name__) for faulty, given in FAULTS.items()],
)
def test_fault_is_named_by_the_check_that_is_about_it(faulty, parameters, checks):
    with pytest.raises(ConformanceError, match=rf"{faulty.__name__} fails {len(checks)} of ") as caught:
        check_distribution(faulty, parameters)
    assert_named(caught.value, checks)


@pytest.mark.parametrize(
    ("sound", "parameters", "not_run"),
    [
        (Sound, LOGISTIC, {"kl_is_right"}),
        (Bare, LOGISTIC, {"mean_is_right", "variance_is_right", "entropy_is_right", "cdf_is_right", "kl_is_right"}),
        (dist.Normal, FAR, set()),
        (dist.Laplace, FAR, set()),
        (dist.Cauchy, FAR, {"mean_is_right", "variance_is_right"}),
        (dist.Gamma, {"concentration": numbers(0.5, 3.0, 80.0), "rate": numbers(1.0, 0.01, 4.0)}, set()),
        (dist.Beta, {"concentration1": numbers(0.5, 3.0), "concentration0": numbers(1.0, 0.6)}, {"cdf_is_right"}),
        (
            dist.Dirichlet,
            {"concentration": torch.tensor([[0.5, 1.0, 2.0], [3.0, 3.0, 9.0]])},
            {"cdf_is_right", "mixed_precisions_agree"},
        ),
        (dist.Uniform, {"low": numbers(0.0, 3.0), "high": numbers(1.0, 9.0)}, {"gradient_through_draws_is_right"}),
        (dist.MultivariateNormal, CORRELATED, {"cdf_is_right"}),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_sound_distributions_pass(sound, parameters, not_run):
    report = check_distribution(sound, parameters)
    assert {one.check for one in report.outcomes if one.verdict == "not run"} == not_run


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        (Unnormalized, r"over Real\(\), got 1\.01005, for loc = 0\.5, scale = 1; correct the normalizer in log_prob"),
        (ShiftedDraws, "distribution function of the value in 20000 draws within 0.019 of the density's integral"),
        (WideDraws, "Stein's identity of features .* for df = "),
        (DetachedDraws, "gradient through draws with respect to scale to be that of the score function"),
        (
            CosineOfSmallAngles,
            r"float32 log-probabilities .* for concentration = 1e\+06; look for cancellation",
        ),
        (OtherDrawsAfterExpand, "draws after expand to have a mean log-probability of"),
        (HoldsAFunction, "expected pickle to copy it, got AttributeError"),
        (
            WrongMean,
            r"the mean to be what the density integrates to, 0\.5 ± 2e-06, got 0\.5001",
        ),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_sentence_says_where(faulty, words):
    with pytest.raises(ConformanceError, match=words):
        check_distribution(faulty, FAULTS[faulty][0])


def test_pyros_student_t_is_found_to_lose_its_digits():
    heavy_to_light = {"df": numbers(3.0, 1e6), "loc": numbers(0.0, 1.0), "scale": numbers(1.0, 0.1)}
    with pytest.raises(ConformanceError) as caught:
        check_distribution(dist.StudentT, heavy_to_light)
    assert "float32_keeps_its_digits" in {one.check for one in caught.value.report.failed}


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: check_distribution(Sound(**LOGISTIC), LOGISTIC),
            "expects a class or a function .*, got Sound",
        ),
        (lambda: check_distribution(Sound, {"loc": numbers(0.0, 1.0), "scale": numbers(1.0)}), "with N >= 2 settings"),
        (lambda: check_distribution(Sound, {"loc": torch.tensor(0.0), "scale": torch.tensor(1.0)}), "batched=False"),
    ],
    ids=["built", "other_numbers_of_settings", "no_settings"],
)
def test_misuse_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_one_setting_without_a_batch_is_enough():
    one = {name: parameter[0] for name, parameter in LOGISTIC.items()}
    report = check_distribution(Sound, one, batched=False)
    assert [outcome.check for outcome in report.outcomes if outcome.verdict == "not run"] == [
        "settings_do_not_meet",
        "kl_is_right",
    ]


def test_what_is_given_stays_as_it_was():
    given = {name: parameter.clone().requires_grad_() for name, parameter in LOGISTIC.items()}
    state = torch.get_rng_state()
    check_distribution(Sound, given)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(one, LOGISTIC[name]) and one.grad is None for name, one in given.items())
