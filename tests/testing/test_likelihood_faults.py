"""Likelihoods with one fault each, and the check that must name it."""

from __future__ import annotations

from typing import Any

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule, PyroParam
from pyro.poutine.runtime import _PYRO_STACK
from torch import Tensor, nn
from torch.distributions import constraints
from torch.nn.functional import normalize

from tests.helpers.named import assert_named
from vje_ppl.distributions import VonMisesFisher
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.likelihoods.polar_von_mises_fisher import PolarVonMisesFisher
from vje_ppl.program.polar import to_polar
from vje_ppl.testing import ConformanceError, check_likelihood


class Cartesian(PyroModule):
    """Without a fault: the target is normal around the latent."""

    base_measure = "cartesian"

    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return dist.Normal(latent, scale).to_event(1)

    def observed(self, target: Tensor | None) -> Tensor | None:
        return target

    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        pyro.sample("embedding", self.distribution(latent, scale), obs=self.observed(target))


class Learned(Cartesian):
    """Without a fault: with a plain parameter and one of Pyro's."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = nn.Parameter(torch.tensor(0.1))
        self.widen = PyroParam(torch.tensor(1.2), constraint=constraints.positive)

    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return super().distribution(latent + self.shift, self.widen * scale)


class WithoutEvent(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return dist.Normal(latent, scale)


class OneEventForAllImages(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return dist.Normal(latent, scale).to_event(2)


class WithoutSite(Cartesian):
    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        pass


class OutsideThePlate(Cartesian):
    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        plates = [frame for frame in _PYRO_STACK if isinstance(frame, pyro.plate)]
        for plate in plates:
            _PYRO_STACK.remove(plate)
        super().forward(latent, scale, target)
        _PYRO_STACK.extend(plates)


class PlateOfItsOwn(Cartesian):
    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        with pyro.plate("mine", 1, dim=-4):
            super().forward(latent, scale, target)


class HalfObserved(Cartesian):
    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        super().forward(latent, scale, target)
        pyro.sample("extra", dist.Normal(latent.sum(-1), 1.0))


class NeedsATarget(Cartesian):
    def observed(self, target: Tensor | None) -> Tensor | None:
        assert target is not None
        return 1.0 * target


class SilentAboutItsMeasure(Cartesian):
    base_measure = None


class OffTheSphere(Cartesian):
    base_measure = "sphere"


class BlindToTheTarget(Cartesian):
    def observed(self, target: Tensor | None) -> Tensor | None:
        return None if target is None else torch.ones_like(target)


class BlindToTheLatent(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return dist.Normal(torch.zeros_like(latent), scale).to_event(1)


class InSinglePrecision(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return dist.Normal(latent.float(), scale.float()).to_event(1)

    def observed(self, target: Tensor | None) -> Tensor | None:
        return None if target is None else target.float()


class Centred(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return super().distribution(latent - latent.mean(0), scale)


class Detached(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return super().distribution(latent.detach(), scale)


class Altered(dist.Normal):
    """A Normal whose log-density somebody rewrote."""

    def __init__(self, loc: Tensor, scale: Tensor, alter: Any) -> None:
        super().__init__(loc, scale)
        self.alter = alter

    def expand(self, batch_shape: Any, _instance: Any = None) -> Altered:
        return Altered(self.loc.expand(batch_shape), self.scale.expand(batch_shape), self.alter)

    def log_prob(self, value: Tensor) -> Tensor:
        return super().log_prob(value) + self.alter(value, self.loc, self.scale)


class NaNAtSmallScales(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return Altered(latent, scale, lambda x, m, s: 0 * (s**11 / s**12)).to_event(1)  # 1e-48 is no float32


class NaNInTheGradientAtTheOrigin(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        norm = latent.square().sum(-1, keepdim=True).sqrt()
        return super().distribution(torch.where(norm > 0, latent / norm, 0.0), scale)


class Unnormalized(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return Altered(latent, scale, lambda x, m, s: 0.1).to_event(1)


class WithoutLogScale(Cartesian):
    def distribution(self, latent: Tensor, scale: Tensor) -> Any:
        return Altered(latent, scale, lambda x, m, s: s.log()).to_event(1)


class AmbientDensityOnTheSphere(PolarStudentT):
    """It says sphere, but is normalized over R^D."""

    base_measure = "sphere"


class UniformDraws(VonMisesFisher):
    def expand(self, batch_shape: Any, _instance: Any = None) -> UniformDraws:
        return UniformDraws(self.loc.expand(*batch_shape, -1), self.concentration.expand(batch_shape))

    def sample(self, sample_shape: Any = ()) -> Tensor:
        return normalize(torch.randn(self._extended_shape(torch.Size(sample_shape)), dtype=self.loc.dtype), dim=-1)


class DrawsOffItsDensity(PyroModule):
    base_measure = "sphere"

    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        density = UniformDraws(to_polar(latent).direction, scale.log().mean(-1).exp().pow(-2))
        pyro.sample("direction", density, obs=None if target is None else to_polar(target).direction)


class UnusedParameter(Learned):
    def __init__(self) -> None:
        super().__init__()
        self.unused = nn.Parameter(torch.tensor(1.0))


class Raises(Cartesian):
    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        raise RuntimeError("out of order")


FAULTS = {
    Raises: {"runs"},
    WithoutEvent: {"one_log_prob_per_image"},
    OneEventForAllImages: {"one_log_prob_per_image"},
    WithoutSite: {"one_log_prob_per_image"},
    OutsideThePlate: {"sites_are_in_the_plate"},
    PlateOfItsOwn: {"one_log_prob_per_image"},
    HalfObserved: {"observes_every_site"},
    NeedsATarget: {"draws_its_sites_without_a_target"},
    SilentAboutItsMeasure: {"names_its_base_measure"},
    OffTheSphere: {"names_its_base_measure", "integrates_to_one"},
    BlindToTheTarget: {"depends_on_the_target"},
    BlindToTheLatent: {"depends_on_the_latent"},
    InSinglePrecision: {
        "keeps_the_dtype",
        "gradient_is_right",
        "works_in_the_objective",
        "gradient_of_the_loss_is_right",
    },
    Centred: {"particles_do_not_meet"},
    Detached: {"gradient_is_right", "gradient_of_the_loss_is_right"},
    NaNAtSmallScales: {"is_finite_under_stress"},
    NaNInTheGradientAtTheOrigin: {"is_finite_under_stress"},
    Unnormalized: {"integrates_to_one"},
    WithoutLogScale: {"integrates_to_one"},
    AmbientDensityOnTheSphere: {"integrates_to_one"},
    DrawsOffItsDensity: {"integrates_to_one"},
    UnusedParameter: {"works_in_the_objective"},
}


@pytest.mark.parametrize(("faulty", "checks"), FAULTS.items(), ids=lambda one: getattr(one, "__name__", ""))
def test_fault_is_named_by_the_check_that_is_about_it(faulty, checks):
    with pytest.raises(ConformanceError, match=rf"{faulty.__name__} fails {len(checks)} of ") as caught:
        check_likelihood(faulty(), dim=3)
    assert_named(caught.value, checks)


@pytest.mark.parametrize(
    ("sound", "dim"),
    [(Cartesian, 2), (Cartesian, 6), (Cartesian, (2, 3, 16)), (Learned, 16), (PolarVonMisesFisher, (2, 16))],
    ids=lambda one: getattr(one, "__name__", str(one)),
)
def test_sound_likelihoods_pass(sound, dim):
    assert not check_likelihood(sound(), dim).failed


@pytest.mark.parametrize(
    ("faulty", "words"),
    [
        (NaNAtSmallScales, "at site 'embedding' for a latent of norm .*, scale 1e-04, D = 3, in torch.float32"),
        (NaNInTheGradientAtTheOrigin, "with respect to latent, got NaN or infinity for a latent of norm 0e\\+00"),
        (Unnormalized, r"over R\^3 to integrate to one, got 0\.7"),
        (WithoutEvent, r"\.to_event\(1\)"),
        (AmbientDensityOnTheSphere, r"'direction' over the unit sphere of R\^3"),
        (DrawsOffItsDensity, "correct the draws in sample"),
        (UnusedParameter, "a gradient for the parameter model.likelihood.unused, got none"),
        (Raises, r"RuntimeError: out of order \(in .*test_likelihood_faults.py, line"),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_sentence_says_where(faulty, words):
    with pytest.raises(ConformanceError, match=words):
        check_likelihood(faulty(), dim=3)
