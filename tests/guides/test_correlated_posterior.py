"""What correlations are worth: a model whose true posterior is a known correlated Normal."""

from __future__ import annotations

import pyro
import pyro.distributions as dist
import pytest
import torch
from pyro.nn import PyroModule
from torch import Tensor, nn

from vje_ppl import SymmetricConditionalELBO
from vje_ppl.guides.diagonal_normal import DiagonalNormal
from vje_ppl.guides.flow import Flow
from vje_ppl.guides.low_rank_normal import LowRankNormal
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.vje import VJE
from vje_ppl.program.amortized import AmortizedGuide

N, D, STEPS = 4, 4, 300
#: The posterior's covariance, of rank one plus a diagonal: three quarters of each variance are shared.
COVARIANCE = 0.15 * torch.ones(D, D).double() + 0.05 * torch.eye(D).double()
#: What makes it so: with prior Normal(0, I) and z ~ Normal(A s, I) it is (I + Aᵀ A)⁻¹.
A = torch.linalg.cholesky(COVARIANCE.inverse() - torch.eye(D).double()).T


class LinearNormal(PyroModule):
    """z ~ Normal(A s, I), whatever the shared scale."""

    def forward(self, latent: Tensor, scale: Tensor, target: Tensor | None = None) -> None:
        pyro.sample("direction", dist.Normal(latent @ A.T, 1.0).to_event(1), obs=target)


def embeddings() -> Tensor:
    evidence = torch.distributions.MultivariateNormal(torch.zeros(D).double(), A @ A.T + torch.eye(D).double())
    torch.manual_seed(3)
    return evidence.sample((N,))


def log_evidence(embedding: Tensor) -> Tensor:
    covariance = A @ A.T + torch.eye(D).double()
    return torch.distributions.MultivariateNormal(torch.zeros(D).double(), covariance).log_prob(embedding).mean()


def fitted(make_guide: type[AmortizedGuide], **options) -> tuple[Tensor, Tensor]:
    """The mean ELBO after a fixed small budget, and its standard error."""
    torch.manual_seed(0)
    guide = make_guide(D, network=nn.Linear, **options).double()
    model, embedding = VJE(StandardNormal(D), LinearNormal()).double(), embeddings()
    optimizer = torch.optim.Adam(guide.parameters(), lr=0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    objective = SymmetricConditionalELBO(num_particles=8)(model, guide)
    for _ in range(STEPS):
        optimizer.zero_grad()
        objective(embedding, embedding).backward()
        optimizer.step()
        schedule.step()
    draws = SymmetricConditionalELBO(num_particles=500)
    with torch.no_grad():
        elbos = torch.stack([draws.terms(model, guide, embedding, embedding).elbo.mean() for _ in range(20)])
    return elbos.mean(), elbos.std() / 20**0.5


#: What the best diagonal Normal loses: its KL to the posterior, ½ (Σ_j log (Σ⁻¹)_jj + log |Σ|).
LOSS = 0.5 * (COVARIANCE.inverse().diagonal().log().sum() + COVARIANCE.logdet())


@pytest.fixture(scope="module")
def elbos() -> dict[str, tuple[Tensor, Tensor]]:
    return {
        "diagonal": fitted(DiagonalNormal),
        "low_rank": fitted(LowRankNormal, rank=1),
        "flow": fitted(Flow, width=4),
    }


def test_no_guide_exceeds_what_its_family_allows(elbos):
    evidence = log_evidence(embeddings())
    for name, (elbo, error) in elbos.items():
        assert elbo <= evidence - (LOSS if name == "diagonal" else 0.0) + 5 * error, name


@pytest.mark.parametrize("name", ["low_rank", "flow"])
def test_correlations_regain_most_of_what_the_best_diagonal_normal_loses(elbos, name):
    elbo, error = elbos[name]
    assert elbo - 5 * error > log_evidence(embeddings()) - LOSS / 4
    assert elbo > elbos["diagonal"][0] + LOSS / 2
