"""Draws of the tangent Student-t's twin, and which of them follow its reference density."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import random
from scipy import stats

from vje_ppl.diagnose.posterior.ported_program import PortedProgram
from vje_ppl.numpyro_port.distributions.tangent_student_t import TangentStudentT
from vje_ppl.numpyro_port.likelihoods.polar_spherical_student_t import PolarSphericalStudentT
from vje_ppl.numpyro_port.likelihoods.polar_tangent_student_t import PolarTangentStudentT
from vje_ppl.numpyro_port.priors.standard_normal import StandardNormal

COUNT = 20_000


@pytest.mark.parametrize(("dim", "df", "scale"), [(2, 1.0, 1.0), (3, 2.0, 0.8), (17, 1.0, 0.3)])
def test_draws_short_of_the_antipode_follow_the_reference(dim, df, scale):
    with jax.enable_x64(True):
        north = jnp.zeros(dim).at[-1].set(1.0)
        points, within = TangentStudentT(df, north, jnp.full(dim, scale)).sample_within(random.key(0), (COUNT,))
    points, within = np.asarray(points), np.asarray(within)
    # ‖v‖²/(k scale²) follows Fisher's F with k and ν degrees of freedom.
    length = stats.f(dim - 1, df)
    mass = length.cdf(np.pi**2 / ((dim - 1) * scale**2))
    assert stats.binomtest(int(within.sum()), COUNT, mass).pvalue > 1e-4
    angle = np.arctan2(np.linalg.norm(points[:, :-1], axis=1), points[:, -1])[within]
    ranks = length.cdf(angle**2 / ((dim - 1) * scale**2)) / mass
    assert stats.kstest(ranks, "uniform").pvalue > 1e-4


def test_a_program_draws_as_before_and_says_which_draws_follow_its_density():
    program = PortedProgram(StandardNormal(3), PolarTangentStudentT(1.0))
    latent = random.normal(random.key(1), (500, 3))
    observed, within = program.draw_within(random.key(2), latent, jnp.full((500, 3), 2.0))
    assert set(observed) == {"direction", "radius"}
    np.testing.assert_allclose(np.linalg.norm(observed["direction"], axis=-1), 1, rtol=1e-6)
    assert 0 < within.sum() < 500
    normalized = PortedProgram(StandardNormal(3), PolarSphericalStudentT(1.0))
    observed, within = normalized.draw_within(random.key(2), latent, jnp.full((500, 3), 2.0))
    assert within.all()
    plain = normalized.draw_observed(random.key(2), latent, jnp.full((500, 3), 2.0))
    assert all(np.array_equal(observed[name], plain[name]) for name in plain)


def test_the_reference_of_a_program_has_the_volume_factor():
    program = PortedProgram(StandardNormal(5), PolarTangentStudentT(1.0))
    latent, target = random.normal(random.key(0), (2, 1, 5))
    scale = jnp.full((1, 5), 0.5)
    observed = program.observe(scale, target)
    plain, reference = (
        one.log_likelihood(latent, scale, observed)["direction"] for one in (program, program.with_reference())
    )
    cosine = np.sum(latent * target) / np.linalg.norm(latent) / np.linalg.norm(target)
    angle = np.arccos(cosine)
    np.testing.assert_allclose(reference - plain, 3 * np.log(angle / np.sin(angle)), rtol=1e-4)
    assert program.with_reference().with_reference().log_likelihood(latent, scale, observed)["direction"] == reference
    normalized = PortedProgram(StandardNormal(5), PolarSphericalStudentT(1.0))
    assert normalized.with_reference() is normalized
