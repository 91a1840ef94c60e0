"""The certificate passes as things are, and fails, naming row and culprit, under mistakes of the kind people make."""

from __future__ import annotations

from dataclasses import replace

import jax
import numpy as np
import pytest
import torch
from torch.distributions import Independent, Normal

import vje_ppl.models.likelihoods.polar_student_t as polar
import vje_ppl.program.objective
from vje_ppl.crosscheck import certificate, pyro_side
from vje_ppl.crosscheck import numpyro_side as port_side
from vje_ppl.distributions import DiagonalStudentT, UnitNormal
from vje_ppl.distributions import kl as kl_module
from vje_ppl.distributions import tail as tail_module
from vje_ppl.distributions.student_t import StudentT
from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior
from vje_ppl.models import radius_scales, scales
from vje_ppl.models.radius import StudentTRadius
from vje_ppl.numpyro_port.distributions import DiagonalStudentT as PortDiagonalStudentT
from vje_ppl.numpyro_port.distributions import log_gamma as port_log_gamma

WIDTHS = (2, 3)


@pytest.fixture(scope="module")
def evaluated():
    """Every batch at small widths, with what everyone says."""
    batches = certificate.batches(["float64", "float32"], WIDTHS, seed=0)
    batches = [
        batch for batch in batches if batch.precision == "float64" or (batch.dim, batch.about) == (3, "densities")
    ]
    return [
        (batch, {"Pyro": batch.pyro(), "NumPyro": batch.numpyro(), "SciPy": batch.scipy()}, batch.closed_form())
        for batch in batches
    ]


def _checks(evaluated, anew=None, select=lambda batch: True):
    """The checks; with one party evaluated anew."""
    checks = {}
    for batch, said, reference in evaluated:
        if select(batch):
            fresh = {anew: getattr(batch, anew.lower())()} if anew else {}
            certificate.compare(checks, batch, said | fresh, reference)
    return list(checks.values())


def test_everything_agrees(evaluated):
    checks = _checks(evaluated)
    failed = [(check.quantity, check.precision, check.worst) for check in checks if not check.passed]
    assert not failed
    assert all(np.isfinite(check.absolute) for check in checks)
    assert {oracle for check in checks for oracle in check.oracles} == {"SciPy", "closed form"}


def _wrap(monkeypatch, owner, name, change):
    """Replace a function by one that is given the original first."""
    original = getattr(owner, name)
    monkeypatch.setattr(owner, name, lambda *args, **kwargs: change(original, *args, **kwargs))


def _missing_log_jacobian(patch):
    _wrap(patch, DiagonalStudentT, "log_prob", lambda f, self, x: f(self, x) + self.scale.log().sum(-1))


def _missing_normalizer(patch):
    patch.setattr(tail_module, "log_gamma_ratio", lambda x, shift: torch.zeros_like(x))


def _scale_for_variance(patch):
    def distribution(self):
        return pyro_side_normal(self.mean, self.scale.square())

    patch.setattr(DiagonalNormalPosterior, "distribution", distribution)


def pyro_side_normal(loc, scale):
    from pyro.distributions import Normal as PyroNormal

    return PyroNormal(loc, scale).to_event(1)


def _swapped_direction(patch):
    _wrap(patch, vje_ppl.program.objective, "permutations", lambda f, views, n: reversed(list(f(views, n))))


def _exchanged_kl(patch):
    def exchanged(original, q, p):
        loc = q.base_dist.loc
        unit = Independent(Normal(torch.zeros_like(loc), torch.ones_like(loc)), 1)
        return original(unit, Independent(Normal(loc, q.base_dist.scale), 1))

    _wrap(patch, kl_module, "kl_divergence", exchanged)


def _df_off_by_one(patch):
    def off_by_one(original, self, *args):
        self.df.value = self.df.value + 1
        return original(self, *args)

    _wrap(patch, StudentTRadius, "forward", off_by_one)


def _sum_over_the_wrong_axis(patch):
    def across_images(original, vector):
        found = original(vector)
        return found._replace(direction=vector / vector.norm(dim=-2, keepdim=True))

    _wrap(patch, polar, "to_polar", across_images)


def _mean_over_features(patch):
    _wrap(patch, DiagonalStudentT, "log_prob", lambda f, self, x: f(self, x) / self.event_shape[0])


def _sites_summed_over_images(patch):
    _wrap(patch, UnitNormal, "log_prob", lambda f, self, x: f(self, x).sum(-1))


def _forgotten_stop_gradient(patch):
    def attached(original, self, beta, **kwargs):
        original(self, beta, detach_target=False)

    _wrap(patch, vje_ppl.program.objective.SymmetricConditionalELBO, "__init__", attached)


def _beta_ignored(patch):
    patch.setattr(pyro_side, "BETA", 1.0)


def _scale_not_trained_by_the_likelihood(patch):
    patch.setattr(scales.Tied, "forward", lambda self, scale: scale.detach())


def _prior_of_another_width(patch):
    _wrap(patch, UnitNormal, "log_prob", lambda f, self, x: f(self, x / 2))


def _radius_of_the_square(patch):
    _wrap(patch, polar, "to_polar", lambda f, vector: f(vector)._replace(radius=vector.square().sum(-1)))


def _unit_for_projected(patch):
    patch.setattr(radius_scales, "projected", radius_scales.unit)


def _not_a_number_in_one_case(patch):
    def holed(original, self, value):
        found = original(self, value)
        hole = torch.zeros_like(found).reshape(-1)
        hole[7] = torch.nan
        return found + hole.reshape(found.shape)

    _wrap(patch, StudentT, "log_prob", holed)


IN_PYRO = {
    "missing-log-jacobian": (_missing_log_jacobian, "diagonal Student-t"),
    "missing-normalizer": (_missing_normalizer, "univariate Student-t"),
    "scale-for-variance": (_scale_for_variance, "site latent (guide)"),
    "swapped-direction": (_swapped_direction, "conditional ELBO 0→1"),
    "kl-exchanged": (_exchanged_kl, "KL"),
    "df-off-by-one": (_df_off_by_one, "site radius"),
    "wrong-axis": (_sum_over_the_wrong_axis, "site direction"),
    "mean-over-features": (_mean_over_features, "diagonal Student-t"),
    "summed-over-images": (_sites_summed_over_images, "site latent (prior)"),
    "forgotten-stop-gradient": (_forgotten_stop_gradient, "symmetric objective: d/dtarget, detached"),
    "beta-ignored": (_beta_ignored, "symmetric objective"),
    "scale-detached": (_scale_not_trained_by_the_likelihood, "site direction: d/dscale"),
    "prior-width": (_prior_of_another_width, "site latent (prior)"),
    "radius-squared": (_radius_of_the_square, "site radius"),
    "unit-for-projected": (_unit_for_projected, "site radius"),
    "nan-in-one-case": (_not_a_number_in_one_case, "univariate Student-t"),
}


@pytest.mark.parametrize("name", IN_PYRO)
def test_a_mistake_in_pyro_is_caught_and_named(evaluated, monkeypatch, name):
    plant, row = IN_PYRO[name]
    plant(monkeypatch)
    failed = {check.quantity: check for check in _checks(evaluated, "Pyro") if not check.passed}
    assert row in failed
    assert failed[row].suspect == "Pyro"


def _port_without_the_constant(patch):
    _wrap(patch, PortDiagonalStudentT, "log_prob", lambda f, self, x, *rest: f(self, x, *rest) + 1.0)


def _port_gamma_of_df(patch):
    from vje_ppl.numpyro_port.distributions import diagonal_student_t

    patch.setattr(diagonal_student_t, "log_gamma_ratio", lambda x, a: port_log_gamma.log_gamma_ratio(2 * x, a))


def _port_polar_of_the_wrong_axis(patch):
    def across_images(original, vector):
        return original(vector)._replace(radius=abs(vector).sum(-1))

    _wrap(patch, port_side, "to_polar", across_images)


IN_NUMPYRO = {
    "missing-constant": (_port_without_the_constant, "diagonal Student-t"),
    "gamma-of-df": (_port_gamma_of_df, "diagonal Student-t: d/ddf"),
    "another-norm": (_port_polar_of_the_wrong_axis, "polar: radius"),
}


@pytest.mark.parametrize("name", IN_NUMPYRO)
def test_a_mistake_in_numpyro_is_caught_and_named(evaluated, monkeypatch, name):
    plant, row = IN_NUMPYRO[name]
    plant(monkeypatch)
    jax.clear_caches()  # of functions traced before the mistake
    # One width suffices, and each compiles anew.
    select = lambda batch: (batch.dim, batch.about, batch.precision) == (3, "densities", "float64")  # noqa: E731
    failed = {check.quantity: check for check in _checks(evaluated, "NumPyro", select) if not check.passed}
    assert row in failed
    assert failed[row].suspect == "NumPyro"


def test_a_naive_difference_of_log_gammas_fails_in_float32(evaluated, monkeypatch):
    monkeypatch.setattr(
        tail_module,
        "log_gamma_ratio",
        lambda x, shift: torch.lgamma(x + shift) - torch.lgamma(x) - shift * x.log(),
    )
    select = lambda batch: (batch.dim, batch.about) == (3, "densities")  # noqa: E731
    checks = {(check.quantity, check.precision): check for check in _checks(evaluated, "Pyro", select)}
    assert checks["univariate Student-t", "float64"].passed
    assert not checks["univariate Student-t", "float32"].passed
    assert checks["univariate Student-t", "float32"].suspect == "Pyro"


def test_an_oracle_that_is_wrong_is_named(evaluated):
    batch, said, reference = next(one for one in evaluated if one[0].about == "densities" and one[0].dim == 3)
    wrong = {**said["SciPy"], "univariate Student-t": said["SciPy"]["univariate Student-t"] + 1}
    checks = {}
    certificate.compare(checks, replace(batch), {**said, "SciPy": wrong}, reference)
    assert checks["univariate Student-t", batch.precision].suspect == "SciPy"
