"""The KL of the objective where masks and scales weigh prior and guide differently, in Pyro and in NumPyro."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions
import pyro
import pyro.distributions as dist
import pytest
import torch
from jax import random
from numpyro import handlers
from pyro import poutine
from pyro.infer import Trace_ELBO
from torch import Tensor, nn

from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior
from vje_ppl.guides.low_rank_normal import LowRankNormalPosterior
from vje_ppl.numpyro_port.guides import diagonal_normal as ported
from vje_ppl.numpyro_port.objective import SymmetricConditionalELBO as PortedELBO
from vje_ppl.program.objective import SymmetricConditionalELBO

N, D = 5, 3
SOME, OTHERS = np.array([True, False, True, False, True]), np.array([True, True, False, False, True])


@dataclass(frozen=True)
class Weights:
    """What masks distributions, and the handlers around programs, of the model (p) and the guide (q).

    Attributes:
        mask: of the distributions of p and q; None for none.
        around: the mask and the scale of handlers around p and q.
    """

    mask: tuple[Any, Any] = (None, None)
    around: tuple[tuple[Any, float], tuple[Any, float]] = ((None, 1.0), (None, 1.0))

    def of(self, side: int) -> np.ndarray:
        """The weight of each image."""
        masks = [one for one in (self.mask[side], self.around[side][0]) if one is not None]
        return self.around[side][1] * np.prod(np.stack([np.ones(N), *(one * np.ones(N) for one in masks)]), 0)


WEIGHTS = {
    "prior_masked": Weights((SOME, None)),
    "guide_masked": Weights((None, SOME)),
    "both_masked_alike": Weights((SOME, SOME)),
    "both_masked_differently": Weights((SOME, OTHERS)),
    "prior_left_out": Weights((np.array(False), None)),
    "mask_around_the_model": Weights(around=((SOME, 1.0), (None, 1.0))),
    "mask_around_the_guide": Weights(around=((None, 1.0), (OTHERS, 1.0))),
    "scale_around_the_model": Weights(around=((None, 3.0), (None, 1.0))),
    "mask_of_the_prior_around_the_guide": Weights((SOME, None), ((None, 1.0), (SOME, 1.0))),
    "everything": Weights((SOME, OTHERS), ((OTHERS, 3.0), (SOME, 0.5))),
}


class Guide(nn.Module):
    """Gives the posterior as it is."""

    def __init__(self, posterior: Any, mask: Any = None) -> None:
        super().__init__()
        self.posterior, self.mask = posterior, mask

    def embed(self, view: Tensor) -> Tensor:
        return view

    def infer(self, embedding: Tensor) -> Any:
        return self.posterior

    def forward(self, posterior: Any, target: Tensor) -> None:
        q = posterior.distribution()
        with pyro.plate("images", N, dim=-1):
            pyro.sample("latent", q if self.mask is None else q.mask(torch.as_tensor(self.mask)))


class Model:
    """A Normal prior and a likelihood that does not depend on the latent."""

    def __init__(self, mask: Any = None) -> None:
        self.mask = mask

    def __call__(self, posterior: Any, target: Tensor) -> None:
        p = prior().expand([N])
        with pyro.plate("images", N, dim=-1):
            pyro.sample("latent", p if self.mask is None else p.mask(torch.as_tensor(self.mask)))
            pyro.sample("seen", dist.Normal(torch.zeros(D).double(), 1.0).to_event(1), obs=target)


def prior() -> dist.TorchDistribution:
    return dist.Normal(torch.full((D,), 0.3, dtype=torch.float64), torch.full((D,), 1.4, dtype=torch.float64)).to_event(
        1
    )


def parameters() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    mean, raw = torch.randn(2, N, D, generator=generator, dtype=torch.float64)
    loadings = torch.randn(N, D, 2, generator=generator, dtype=torch.float64)
    return mean, (0.3 * raw).exp(), loadings


POSTERIORS = {
    "diagonal": lambda: DiagonalNormalPosterior(*parameters()[:2]),
    "low_rank": lambda: LowRankNormalPosterior(*parameters()),
}


def around(program: Any, mask: Any, scale: float) -> Any:
    program = poutine.scale(program, scale=scale) if scale != 1 else program
    return program if mask is None else poutine.mask(program, mask=torch.as_tensor(mask))


def in_pyro(weights: Weights, posterior: Any) -> np.ndarray:
    """KL an image, which is that of both pairs."""
    model = around(Model(weights.mask[0]), *weights.around[0])
    guide = around(Guide(posterior, weights.mask[1]), *weights.around[1])
    kl = SymmetricConditionalELBO().terms(model, guide, *[torch.zeros(N, D).double()] * 2).kl
    torch.testing.assert_close(kl[0], kl[1], rtol=1e-12, atol=1e-12)
    return kl[0].detach().numpy()


def in_numpyro(weights: Weights) -> np.ndarray:
    mean, scale, _ = (one.numpy() for one in parameters())

    def masked(distribution: Any, mask: Any) -> Any:
        return distribution if mask is None else distribution.mask(bool(mask) if mask.ndim == 0 else jnp.asarray(mask))

    def model(posterior: Any, target: Any) -> None:
        p = numpyro.distributions.Normal(jnp.asarray(np.full((N, D), 0.3)), jnp.asarray(np.full((N, D), 1.4))).to_event(
            1
        )
        with numpyro.plate("images", N, dim=-1):
            numpyro.sample("latent", masked(p, weights.mask[0]))
            numpyro.sample("seen", numpyro.distributions.Normal(jnp.zeros(D), 1.0).to_event(1), obs=target)

    def guide(posterior: Any, target: Any) -> None:
        with numpyro.plate("images", N, dim=-1):
            numpyro.sample("latent", masked(posterior.distribution(), weights.mask[1]))

    def handled(program: Any, mask: Any, scale: float) -> Any:
        program = handlers.scale(program, scale=scale) if scale != 1 else program
        return program if mask is None else handlers.mask(program, mask=jnp.asarray(mask))

    with jax.enable_x64(True):
        posterior = ported.DiagonalNormalPosterior(jnp.asarray(mean), jnp.asarray(scale))
        programs = (handled(one, *given) for one, given in zip((model, guide), weights.around, strict=True))
        terms = PortedELBO().terms(random.key(0), *programs, [posterior] * 2, [jnp.zeros((N, D))] * 2)
    return np.asarray(terms.kl[0])


def exactly(weights: Weights, posterior: Any) -> np.ndarray:
    """w_q E_q[log q] − w_p E_q[log p], of Normals: from the entropy and the moments of q."""
    q, p = posterior.distribution(), prior().base_dist
    log_q = -q.entropy()
    squares = ((q.mean - p.loc).square() + q.variance) / p.scale.square()
    log_p = (-0.5 * squares - p.scale.log() - 0.5 * np.log(2 * np.pi)).sum(-1)
    return weights.of(1) * log_q.numpy() - weights.of(0) * log_p.numpy()


@pytest.mark.parametrize("posterior", POSTERIORS.values(), ids=POSTERIORS)
@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_kl_is_the_weighted_difference_of_mean_log_densities(weights, posterior):
    np.testing.assert_allclose(in_pyro(weights, posterior()), exactly(weights, posterior()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("weights", WEIGHTS.values(), ids=WEIGHTS)
def test_the_port_has_the_same_kl(weights):
    np.testing.assert_allclose(in_numpyro(weights), exactly(weights, POSTERIORS["diagonal"]()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(
    "weights", [WEIGHTS["prior_masked"], WEIGHTS["everything"]], ids=["prior_masked", "everything"]
)
def test_pyros_own_elbo_has_the_same_kl_within_five_standard_errors(weights):
    posterior, batches = POSTERIORS["diagonal"](), 20
    model = around(Model(weights.mask[0]), *weights.around[0])
    guide = around(Guide(posterior, weights.mask[1]), *weights.around[1])
    elbo, target = Trace_ELBO(num_particles=500, vectorize_particles=True), torch.zeros(N, D).double()
    likelihood = weights.around[0][1] * (weights.of(0) != 0 if weights.mask[0] is None else np.ones(N))
    if (mask := weights.around[0][0]) is not None:
        likelihood = likelihood * mask
    seen = -0.5 * D * np.log(2 * np.pi) * likelihood.sum()
    losses = torch.tensor([elbo.loss(model, guide, posterior, target) for _ in range(batches)])
    error = losses.std().item() / batches**0.5
    assert abs(losses.mean().item() + seen - in_pyro(weights, posterior).sum()) <= 5 * error


@pytest.mark.parametrize(
    ("of_p", "of_q"), [("some", None), (None, "some"), ("some", "others"), ("some", "some")], ids=str
)
def test_masks_of_single_features_count_in_the_draws(of_p, of_q):
    masks = {
        None: torch.ones(D) > 0,
        "some": torch.tensor([True, False, True]),
        "others": torch.tensor([False, True, True]),
    }
    mean, scale, _ = parameters()

    class PerFeature(Guide):
        def forward(self, posterior: Any, target: Tensor) -> None:
            with pyro.plate("images", N, dim=-1):
                pyro.sample("latent", dist.Normal(mean, scale).mask(masks[of_q]).to_event(1))

    def model(posterior: Any, target: Tensor) -> None:
        with pyro.plate("images", N, dim=-1):
            pyro.sample("latent", prior().base_dist.mask(masks[of_p]).to_event(1))
            pyro.sample("seen", dist.Normal(torch.zeros(D).double(), 1.0).to_event(1), obs=target)

    q, p, particles = dist.Normal(mean, scale), prior().base_dist, 4000
    guide = PerFeature(DiagonalNormalPosterior(mean, scale))
    terms = SymmetricConditionalELBO(num_particles=particles).terms(model, guide, *[torch.zeros(N, D).double()] * 2)
    log_p = -(torch.distributions.kl_divergence(q, p) + q.entropy())
    expected = (-q.entropy() * masks[of_q] - log_p * masks[of_p]).sum(-1)
    spread = (q.log_prob(terms.latent) * masks[of_q] - p.log_prob(terms.latent) * masks[of_p]).sum(-1).std(0)
    assert ((terms.kl - expected).abs() <= 5 * spread / particles**0.5).all()
