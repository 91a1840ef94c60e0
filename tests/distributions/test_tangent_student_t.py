"""The tangent plane's Student-t on the sphere, against SciPy on the plane, exact probabilities and its own draws."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import integrate, special, stats
from torch.nn.functional import normalize

from vje_ppl.distributions import TangentStudentT

DIMS = (2, 3, 16, 128)


def setting(dim: int, low: float = -2.0, high: float = 0.0, seed: int = 0):
    """A location, scales over decades, and an orthonormal basis (D, D − 1) of the tangent plane, in float64."""
    generator = torch.Generator().manual_seed(seed)
    loc = normalize(torch.randn(dim, generator=generator, dtype=torch.float64), dim=0)
    scale = 10 ** torch.empty(dim, dtype=torch.float64).uniform_(low, high, generator=generator)
    basis = np.linalg.svd(loc[None].numpy())[2][1:].T
    return loc, scale, basis


def at_angle(loc: torch.Tensor, basis: np.ndarray, angle: float, seed: int = 3):
    """The tangent vector of that length in a random direction, in the basis, and the point that it leads to."""
    sideways = np.random.default_rng(seed).standard_normal(basis.shape[1])
    sideways /= np.linalg.norm(sideways)
    return angle * sideways, math.cos(angle) * loc + math.sin(angle) * torch.as_tensor(basis @ sideways)


def on_the_plane(scale: torch.Tensor, basis: np.ndarray) -> np.ndarray:
    """The scale matrix, in the basis, of a vector with scale matrix diag(scale²) that is conditioned on the plane."""
    return np.linalg.inv(basis.T @ np.diag(scale.numpy() ** -2.0) @ basis)


@pytest.mark.parametrize("dim", DIMS)
@pytest.mark.parametrize("df", [0.5, 1.0, 7.0, math.inf])
@pytest.mark.parametrize("angle", [1e-9, 1e-3, 0.19, 0.21, 1.0, math.pi / 2, 2.5, 3.1415])
def test_density_is_scipys_on_the_plane(dim, df, angle):
    loc, scale, basis = setting(dim, low=-1.0)
    vector, point = at_angle(loc, basis, angle)
    shape = on_the_plane(scale, basis)
    plane = stats.multivariate_normal(cov=shape) if math.isinf(df) else stats.multivariate_t(shape=shape, df=df)
    found = TangentStudentT(df, loc, scale).log_prob(point).item()
    # A point is rounded by 1e-16, which turns its tangent vector by 1e-16/sin θ and changes a square by 1/scale².
    assert found == pytest.approx(plane.logpdf(vector), rel=1e-9, abs=1e-7)
    reference = TangentStudentT(df, loc, scale, reference=True).log_prob(point).item()
    assert reference - found == pytest.approx((dim - 2) * math.log(angle / math.sin(angle)), rel=1e-8, abs=1e-9)
    assert reference >= found


@pytest.mark.parametrize("df", [0.5, 2.0])
def test_on_the_circle_it_integrates_to_what_does_not_reach_the_antipode(df):
    loc, scale, basis = setting(2)
    along = math.sqrt(on_the_plane(scale, basis).item())
    expected = 2 * stats.t(df, scale=along).cdf(math.pi) - 1
    for reference in (False, True):  # the circle is flat
        assert total_over_circle(TangentStudentT(df, loc, scale, reference), loc, basis) == pytest.approx(
            expected, rel=1e-9
        )


def total_over_circle(density, loc, basis) -> float:
    side = torch.as_tensor(basis[:, 0])

    def at(angle: float) -> float:
        return density.log_prob(math.cos(angle) * loc + math.sin(angle) * side).exp().item()

    pieces = (integrate.quad(at, low, high, limit=200) for low, high in ((-math.pi, 0), (0, math.pi)))
    return sum(value for value, _ in pieces)


@pytest.mark.parametrize("df", [1.0, 4.0])
def test_on_the_sphere_the_reference_integrates_to_what_does_not_reach_the_antipode(df):
    loc, scale, basis = setting(3, low=-0.7)
    precision = np.linalg.inv(on_the_plane(scale, basis))

    def ring(azimuth: float) -> float:
        """The plane's density along a ray, integrated up to π in closed form."""
        ray = np.array([math.cos(azimuth), math.sin(azimuth)])
        rate = ray @ precision @ ray
        return (1 - (1 + rate * math.pi**2 / df) ** (-df / 2)) / rate

    expected = math.sqrt(np.linalg.det(precision)) / (2 * math.pi) * integrate.quad(ring, 0, 2 * math.pi)[0]
    nodes, weights = np.polynomial.legendre.leggauss(400)
    angles = torch.as_tensor(math.pi / 2 * (nodes + 1))
    azimuths = torch.arange(256, dtype=torch.float64) * (2 * math.pi / 256)
    sideways = torch.stack([azimuths.cos(), azimuths.sin()], -1) @ torch.as_tensor(basis.T)
    points = angles.cos()[:, None, None] * loc + angles.sin()[:, None, None] * sideways
    totals = {}
    for reference in (False, True):
        values = TangentStudentT(df, loc, scale, reference).log_prob(points).exp().mean(-1) * 2 * math.pi
        totals[reference] = (values * angles.sin() * torch.as_tensor(weights) * math.pi / 2).sum().item()
    assert totals[True] == pytest.approx(expected, rel=1e-6)
    assert totals[False] < totals[True] < 1


@pytest.mark.parametrize("dim", [16, 128, 512, 2048])
@pytest.mark.parametrize("scale", [0.01, 0.2])
def test_with_one_scale_the_reference_integrates_to_a_probability_of_fishers_f(dim, scale):
    loc, _, basis = setting(dim)
    _, side = at_angle(loc, basis, math.pi / 2)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    angles = torch.as_tensor(math.pi / 2 * (nodes + 1))
    points = angles.cos()[:, None] * loc + angles.sin()[:, None] * side
    log_ring = (
        math.log(2)
        + (dim - 1) / 2 * math.log(math.pi)
        - special.gammaln((dim - 1) / 2)
        + (dim - 2) * angles.sin().log()
    )
    scales = torch.full((dim,), scale, dtype=torch.float64)
    log_totals = []
    for reference in (False, True):
        log_values = TangentStudentT(1.0, loc, scales, reference).log_prob(points)
        log_totals.append(torch.logsumexp(log_values + log_ring + torch.as_tensor(weights).log(), 0).item())
    below, total = (value + math.log(math.pi / 2) for value in log_totals)
    assert total == pytest.approx(stats.f(dim - 1, 1).logcdf(math.pi**2 / ((dim - 1) * scale**2)), abs=1e-6)
    assert below < total < 0


@pytest.mark.parametrize("dim", [2, 3, 128, 2048])
@pytest.mark.parametrize("angle", [0.0, 1e-6, 1e-3, 1.5, 3.1])
def test_float32_keeps_its_digits_over_the_whole_interval_of_the_guide(dim, angle):
    loc, scale, basis = setting(dim, low=-1.74, high=0.87)  # log variances from −8 to 4
    _, point = at_angle(loc, basis, angle)
    loc, scale, point = (one.float() for one in (loc, scale, point))
    with_digits = (normalize(loc.double(), dim=0), scale.double(), normalize(point.double(), dim=0))
    for reference in (False, True):
        found = TangentStudentT(1.0, loc, scale, reference).log_prob(point).item()
        exact = TangentStudentT(1.0, *with_digits[:2], reference).log_prob(with_digits[2]).item()
        # Points are rounded by ε: against the smallest scale that is ε/scale, and each of D features sums ε.
        assert found == pytest.approx(exact, abs=dim * 2e-5)


@pytest.mark.parametrize("dim", [2, 16])
def test_gradients_are_right_at_both_ends(dim):
    loc, scale, basis = setting(dim, low=-0.5)
    df = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    for angle in (1e-4, 0.2, 1.5707, 1.5709, 3.0):
        _, point = at_angle(loc, basis, angle)
        for reference in (False, True):

            def log_prob(df, latent, scale, target, reference=reference):
                density = TangentStudentT(df, normalize(latent, dim=0), scale, reference, validate_args=False)
                return density.log_prob(normalize(target, dim=0))

            inputs = (df, *(one.clone().requires_grad_() for one in (loc, scale, point)))
            assert torch.autograd.gradcheck(log_prob, inputs, eps=1e-7, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_value_and_gradient_are_finite_at_the_antipode_and_without_a_direction(dtype):
    for loc in ([1.0, 0.0, 0.0], [0.0, 0.0, 0.0]):
        given = torch.tensor(loc, dtype=dtype, requires_grad=True)
        scale = torch.tensor([1e-4, 1.0, 1e2], dtype=dtype, requires_grad=True)
        for reference in (False, True):
            found = TangentStudentT(1.0, given, scale, reference).log_prob(torch.tensor([-1.0, 0.0, 0.0], dtype=dtype))
            gradients = torch.autograd.grad(found, (given, scale))
            assert torch.isfinite(found)
            assert all(torch.isfinite(one).all() for one in gradients)


@pytest.mark.parametrize(("dim", "df"), [(2, 3.0), (3, 1.0), (16, 6.0)])
def test_draws_are_the_planes_student_t(dim, df):
    """Where next to nothing wraps around, whitened tangent vectors have Student-t features and an F radius."""
    loc, scale, basis = setting(dim, low=-5.0, high=-3.0)
    torch.manual_seed(0)
    draws = TangentStudentT(df, loc, scale).sample((20_000,))
    assert (draws.norm(dim=-1) - 1).abs().max() < 1e-12
    tangent = (draws - (draws @ loc)[:, None] * loc).numpy() @ basis
    sine = np.linalg.norm(tangent, axis=-1, keepdims=True)
    vectors = tangent * np.arctan2(sine, (draws @ loc).numpy()[:, None]) / sine
    white = vectors @ np.linalg.inv(np.linalg.cholesky(on_the_plane(scale, basis))).T
    assert stats.kstest(np.square(white).sum(-1) / (dim - 1), stats.f(dim - 1, df).cdf).pvalue > 1e-4
    for feature in white.T:
        assert stats.kstest(feature, stats.t(df).cdf).pvalue > 1e-4 / (dim - 1)


def test_draws_wrap_around_and_without_a_direction_are_uniform():
    torch.manual_seed(0)
    flat = TangentStudentT(1.0, torch.zeros(3), torch.ones(3)).sample((20_000,))
    wide = TangentStudentT(1.0, torch.tensor([1.0, 0.0]), torch.full((2,), 100.0)).sample((20_000,))
    assert stats.kstest(flat[:, 0].double().numpy(), stats.uniform(-1, 2).cdf).pvalue > 1e-4
    angle = torch.atan2(wide[:, 1], wide[:, 0]).double().numpy()
    assert stats.kstest(angle, stats.uniform(-math.pi, 2 * math.pi).cdf).pvalue > 1e-4


def test_mistakes_get_a_sentence():
    with pytest.raises(ValueError, match=r"TangentStudentT expects loc and scale .* got shapes \(1,\) and \(1,\)"):
        TangentStudentT(1.0, torch.ones(1), torch.ones(1))
