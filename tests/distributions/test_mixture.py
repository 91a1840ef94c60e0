"""The mixture against SciPy, against Pyro's own, and where Pyro's own is too large."""

from __future__ import annotations

import math

import numpy as np
import pyro
import pyro.distributions as dist
import pytest
import scipy.special
import scipy.stats
import torch
from torch import Tensor
from torch.distributions import transforms
from torch.utils._python_dispatch import TorchDispatchMode

from vje_ppl.distributions import Mixture

K, D = 3, 5


def parameters(dim: int = D, count: int = K) -> tuple[Tensor, Tensor, Tensor]:
    return (
        torch.randn(count).double(),
        torch.randn(count, dim).double(),
        torch.rand(count, dim).double() + 0.2,
    )


def diagonal(logits: Tensor, loc: Tensor, scale: Tensor) -> Mixture:
    return Mixture(logits, dist.Normal(loc, scale).to_event(1))


def low_rank() -> dist.TorchDistribution:
    _, loc, scale = parameters()
    return dist.LowRankMultivariateNormal(loc, torch.randn(K, D, 2).double(), scale)


def transformed() -> dist.TorchDistribution:
    _, loc, scale = parameters()
    return dist.TransformedDistribution(dist.Normal(loc, scale).to_event(1), [transforms.TanhTransform()])


COMPONENTS = {
    "diagonal": lambda: dist.Normal(*parameters()[1:]).to_event(1),
    "laplace": lambda: dist.Laplace(*parameters()[1:]).to_event(1),
    "low_rank": low_rank,
    "transformed": transformed,
}
each_component = pytest.mark.parametrize("make_components", COMPONENTS.values(), ids=COMPONENTS)


def pyros(logits: Tensor, components: dist.TorchDistribution) -> dist.TorchDistribution:
    return dist.MixtureSameFamily(dist.Categorical(logits=logits), components)


def by_scipy(value: Tensor, logits: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Log density in float64, one component after the other."""
    value, logits, loc, scale = (one.detach().double().numpy() for one in (value, logits, loc, scale))
    terms = [scipy.stats.norm.logpdf(value, *one).sum(-1) for one in zip(loc, scale, strict=True)]
    weights = scipy.special.log_softmax(logits)
    return torch.tensor(scipy.special.logsumexp(np.stack(terms, -1) + weights, axis=-1))


@pytest.mark.parametrize("dim", [1, 5, 512])
def test_log_prob_equals_scipy(dim):
    given, value = parameters(dim), torch.randn(4, dim).double()
    torch.testing.assert_close(diagonal(*given).log_prob(value), by_scipy(value, *given), rtol=1e-12, atol=1e-12)


@each_component
def test_value_and_gradient_equal_those_of_pyros_mixture(make_components):
    logits, components = torch.randn(K).double().requires_grad_(), make_components()
    value = (0.5 * torch.rand(2, 4, D).double()).requires_grad_()
    ours, theirs = (one(logits, components).log_prob(value) for one in (Mixture, pyros))
    torch.testing.assert_close(ours, theirs, rtol=1e-11, atol=1e-11)
    found, expected = (torch.autograd.grad(one.sum(), (value, logits)) for one in (ours, theirs))
    torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("norm", [1e-6, 1.0, 1e2, 1e4])
@pytest.mark.parametrize("scale", [1e-4, 1e-2, 1.0, 1e2])
def test_float32_keeps_its_digits_where_the_squares_cancel(norm, scale):
    logits, loc, spread = parameters(512)
    loc = (norm * torch.nn.functional.normalize(loc, dim=-1)).float()
    scales, logits = (scale * spread).float(), logits.float()
    value = (loc[0] + scales[0] * torch.randn(4, 512)).requires_grad_()
    log_prob = diagonal(logits, loc, scales).log_prob(value)
    assert log_prob.dtype == torch.float32
    expected = by_scipy(value, logits, loc, scales)
    # Rounding to float32 at the end, 512 features of float64 arithmetic, and what cancels between the products.
    cancelled = (value.double() / scales[0].double()).square().sum(-1)
    tolerance = 2.0**-23 * expected.abs() + 1e-12 * 512 + 16 * 2.0**-53 * cancelled
    assert ((log_prob.double() - expected).abs() <= tolerance).all()
    gradient = torch.autograd.grad(log_prob.sum(), value)[0]
    assert torch.isfinite(gradient).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["float32", "float64"])
def test_far_from_every_component_value_and_gradient_are_finite(dtype):
    given = [one.to(dtype).requires_grad_() for one in parameters(512)]
    value = (1e4 * torch.nn.functional.normalize(torch.randn(6, 512), dim=-1)).to(dtype).requires_grad_()
    log_prob = diagonal(*given).log_prob(value)
    assert torch.isfinite(log_prob).all()
    for gradient in torch.autograd.grad(log_prob.sum(), (value, *given)):
        assert torch.isfinite(gradient).all()
        assert gradient.dtype == dtype


class _Largest(TorchDispatchMode):
    """Remembers the largest tensor that anything within returns."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        found = [one.numel() for one in (result if isinstance(result, tuple) else [result]) if isinstance(one, Tensor)]
        self.numel = max([self.numel, *found])
        return result


def test_diagonal_normals_take_no_memory_for_images_times_components_times_features():
    images, count, dim = 40, 30, 20
    given = [one.requires_grad_() for one in parameters(dim, count)]
    mixture, value = diagonal(*given).expand((images,)), torch.randn(images, dim).double().requires_grad_()
    with _Largest() as largest:
        mixture.log_prob(value).sum().backward()
    assert largest.numel <= max(images * dim, images * count, count * dim)


@each_component
def test_a_plate_expands_nothing_but_the_batch_shape(make_components):
    mixture = Mixture(torch.zeros(K).double(), make_components())
    with pyro.poutine.trace() as traced, pyro.plate("pairs", 2, dim=-2), pyro.plate("images", 6, dim=-1):
        value = pyro.sample("latent", mixture)
    fn = traced.trace.nodes["latent"]["fn"]
    assert isinstance(fn, Mixture)
    assert fn.components is mixture.components
    assert (fn.batch_shape, fn.event_shape, value.shape) == ((2, 6), (D,), (2, 6, D))
    torch.testing.assert_close(fn.log_prob(value), mixture.log_prob(value))


def test_shapes_broadcast_as_everywhere():
    mixture = diagonal(*parameters()).expand((2, 4))
    value = torch.randn(D).double()
    assert mixture.log_prob(value).shape == (2, 4)
    assert mixture.log_prob(torch.randn(7, 1, 4, D).double()).shape == (7, 2, 4)
    assert mixture.sample((3,)).shape == (3, 2, 4, D)
    assert not mixture.has_rsample
    masked = mixture.mask(torch.tensor([[True], [False]])).log_prob(value)
    assert (masked[1] == 0).all()
    assert (masked[0] != 0).all()


@each_component
def test_draws_have_the_mixtures_moments_within_five_standard_errors(make_components):
    mixture, count, many = Mixture(torch.tensor([0.0, 1.0, -2.0]).double(), make_components()), 20_000, 100_000
    draws = mixture.sample((count,))
    samples = mixture.components.sample((many,))  # of each component, since not all know their moments
    weights = torch.softmax(mixture.logits, 0)[:, None]
    mean, square = ((weights * one.mean(0)).sum(0) for one in (samples, samples.square()))
    for found, expected in ((draws, mean), (draws.square(), square)):
        assert ((found.mean(0) - expected).abs() <= 5 * found.std(0) * math.sqrt(1 / count + 1 / many)).all()


@pytest.mark.parametrize("make_components", [COMPONENTS["diagonal"], low_rank], ids=["diagonal", "low_rank"])
def test_mean_and_variance_equal_pyros(make_components):
    logits, components = torch.randn(K).double(), make_components()
    ours, theirs = Mixture(logits, components), pyros(logits, components)
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)
    assert ours.expand((2,)).mean.shape == ours.expand((2,)).variance.shape == (2, D)


@pytest.mark.parametrize(
    ("logits", "components"),
    [
        (torch.zeros(2), lambda: dist.Normal(torch.zeros(K, D), 1.0).to_event(1)),
        (torch.zeros(K, 1), lambda: dist.Normal(torch.zeros(K, D), 1.0).to_event(1)),
        (torch.zeros(K), lambda: dist.Normal(torch.zeros(K, D), 1.0)),
        (torch.zeros(K), lambda: dist.Normal(torch.zeros(K), 1.0)),
    ],
    ids=["another_number", "a_batch_of_logits", "features_in_the_batch", "no_features"],
)
def test_components_that_do_not_fit_are_refused_in_a_sentence(logits, components):
    with pytest.raises(ValueError, match=r"Mixture expects logits of shape \(K,\) and components of batch shape"):
        Mixture(logits, components())
