"""The polar Student-t likelihood against SciPy, site by site."""

from __future__ import annotations

import pyro
import pytest
import scipy.stats
import torch
from pyro import poutine

from vje_ppl.distributions import DiagonalStudentT
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT, factorized
from vje_ppl.models.radius import NoRadius, NormalRadius, StudentTRadius
from vje_ppl.models.radius_scales import projected, unit

N, D = 4, 5


def inputs(dtype: torch.dtype = torch.float64) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    latent = torch.randn(N, D, generator=generator, dtype=dtype)
    scale = torch.rand(N, D, generator=generator, dtype=dtype) + 0.1
    target = 3 * torch.randn(N, D, generator=generator, dtype=dtype)
    return latent, scale, target


def sites(likelihood: PolarStudentT, *arguments: torch.Tensor | None) -> dict:
    with poutine.trace() as traced, pyro.plate("images", N, dim=-1):
        likelihood(*arguments)
    traced.trace.compute_log_prob()
    return {name: traced.trace.nodes[name] for name in ("direction", "radius")}


@pytest.mark.parametrize("radius_scale", [unit, projected], ids=["unit", "projected"])
@pytest.mark.parametrize("direction", [DiagonalStudentT, factorized], ids=["joint", "factorized"])
@pytest.mark.parametrize(("df", "radius_df"), [(1.0, 1.0), (0.5, 4.0)])
def test_sites_equal_scipy(df, radius_df, direction, radius_scale):
    latent, scale, target = inputs()
    radius_site = StudentTRadius(radius_df, scale=radius_scale)
    found = sites(PolarStudentT(df, direction=direction, radius=radius_site).double(), latent, scale, target)
    for i in range(N):
        s, sigma, z = latent[i].numpy(), scale[i].numpy(), target[i].numpy()
        length, unit_s, radius, unit_z = (s @ s) ** 0.5, s / (s @ s) ** 0.5, (z @ z) ** 0.5, z / (z @ z) ** 0.5
        if direction is DiagonalStudentT:
            expected = scipy.stats.multivariate_t.logpdf(unit_z, unit_s, shape=(sigma**2) * torch.eye(D).numpy(), df=df)
        else:
            expected = scipy.stats.t.logpdf(unit_z, df, unit_s, sigma).sum()
        assert found["direction"]["log_prob"][i].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)
        spread = 1.0 if radius_scale is unit else ((unit_s * sigma) ** 2).sum() ** 0.5
        expected = scipy.stats.t.logpdf(radius, radius_df, length, spread)
        assert found["radius"]["log_prob"][i].item() == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_default_is_joint_with_heavy_tails_and_a_radius_of_unit_scale():
    likelihood = PolarStudentT()
    assert likelihood.df(torch.float32) == likelihood.radius.df(torch.float32) == 1
    assert likelihood.direction is DiagonalStudentT
    assert likelihood.radius.scale is unit
    assert not list(likelihood.parameters())


@pytest.mark.parametrize("learned", [False, True], ids=["fixed", "learned"])
def test_one_argument_sets_the_tails_of_both_sites(learned):
    likelihood = PolarStudentT(5.0, learned)
    assert [site.df(torch.float64).item() for site in (likelihood, likelihood.radius)] == pytest.approx(
        [5, 5], rel=1e-6
    )
    assert len(list(likelihood.parameters())) == 2 * learned


@pytest.mark.parametrize(
    ("radius", "base_measure"),
    [(None, "polar"), (NormalRadius(), "polar"), (NoRadius(), "polar, direction only")],
    ids=["student_t", "normal", "none"],
)
def test_base_measure_says_whether_there_is_a_radius(radius, base_measure):
    assert PolarStudentT(radius=radius).base_measure == base_measure


def test_observes_direction_and_radius_of_the_target():
    latent, scale, target = inputs()
    found = sites(PolarStudentT().double(), latent, scale, target)
    assert all(site["is_observed"] for site in found.values())
    torch.testing.assert_close(found["direction"]["value"] * found["radius"]["value"].unsqueeze(-1), target)
    assert [tuple(site["fn"].event_shape) for site in found.values()] == [(D,), ()]


def test_draws_both_sites_without_a_target():
    latent, scale, _ = inputs()
    found = sites(PolarStudentT().double(), latent, scale, None)
    assert not any(site["is_observed"] for site in found.values())
    assert found["direction"]["value"].shape == (N, D)
    assert found["radius"]["value"].shape == (N,)


def test_normalizers_are_as_exact_as_the_embeddings_without_casting_the_module():
    arguments = inputs()
    plain, cast = sites(PolarStudentT(2.0), *arguments), sites(PolarStudentT(2.0).double(), *arguments)
    for name in plain:
        assert plain[name]["log_prob"].dtype == torch.float64
        assert torch.equal(plain[name]["log_prob"], cast[name]["log_prob"])


def test_gradients_pass_gradcheck():
    latent, scale, target = (tensor.requires_grad_() for tensor in inputs())
    likelihood = PolarStudentT(0.7, radius=StudentTRadius(3.0, scale=projected)).double()

    def log_probs(*arguments: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(site["log_prob"] for site in sites(likelihood, *arguments).values())

    assert torch.autograd.gradcheck(log_probs, (latent, scale, target))


@pytest.mark.parametrize("radius_scale", [unit, projected], ids=["unit", "projected"])
@pytest.mark.parametrize("length", [1e-6, 1.0, 1e4])
@pytest.mark.parametrize("sigma", [1e-4, 1e2])
def test_values_and_gradients_are_finite_over_many_decades(sigma, length, radius_scale):
    latent, _, target = inputs(torch.float32)
    latent, scale = (length * latent).requires_grad_(), torch.full((N, D), sigma).requires_grad_()
    likelihood = PolarStudentT(0.1, radius=StudentTRadius(0.1, scale=radius_scale))
    found = sites(likelihood, latent, scale, length * target)
    total = sum(site["log_prob"].sum() for site in found.values())
    assert torch.isfinite(total)
    for gradient in torch.autograd.grad(total, (latent, scale)):
        assert torch.isfinite(gradient).all()


def test_a_latent_at_the_target_has_finite_gradients():
    latent, scale, _ = inputs()
    latent, scale = latent.requires_grad_(), scale.requires_grad_()
    likelihood = PolarStudentT(radius=StudentTRadius(scale=projected)).double()
    found = sites(likelihood, latent, scale, latent.detach())
    for gradient in torch.autograd.grad(sum(site["log_prob"].sum() for site in found.values()), (latent, scale)):
        assert torch.isfinite(gradient).all()


def test_learned_degrees_of_freedom_get_the_gradient_of_finite_differences():
    arguments, step = inputs(), 1e-5
    likelihood = PolarStudentT(2.0, True, radius=StudentTRadius(0.5, True)).double()

    def log_probs() -> torch.Tensor:
        return torch.stack([site["log_prob"].sum() for site in sites(likelihood, *arguments).values()])

    parameters = [likelihood.df.raw, likelihood.radius.df.raw]
    for i, parameter in enumerate(parameters):
        (gradient,) = torch.autograd.grad(log_probs().sum(), parameter)
        with torch.no_grad():
            differences = []
            for side in (1, -1):
                parameter += side * step
                differences.append(log_probs())
                parameter -= side * step
        slopes = (differences[0] - differences[1]) / (2 * step)
        # Of each site its own alone; central differences err by the third derivative times step², of order 1e-9.
        assert slopes[1 - i] == 0
        assert gradient.item() == pytest.approx(slopes[i].item(), rel=1e-6)
        assert abs(gradient) > 1e-3


@pytest.mark.parametrize("df", [0.0, -1.0, float("inf"), float("nan")])
def test_degrees_of_freedom_that_are_not_positive_are_refused_in_a_sentence(df):
    with pytest.raises(ValueError, match="A Student-t expects positive degrees of freedom below infinity, got df="):
        PolarStudentT(df)
