"""What the three functions return, raise, and leave as it was."""

from __future__ import annotations

import copy
import os
import subprocess
import sys

import pyro
import pytest
import torch

from tests.helpers.cases import GUIDES, LIKELIHOODS, PRIORS, subject
from tests.testing.test_likelihood_faults import Cartesian, Learned, Unnormalized
from vje_ppl.errors import UserError
from vje_ppl.guides.diagonal_normal import DiagonalNormal
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.settings.twins import build_model
from vje_ppl.testing import (
    LIKELIHOOD_CHECKS,
    ConformanceError,
    check_guide,
    check_likelihood,
    check_prior,
    outcome,
)
from vje_ppl.testing.twin import agrees_with_its_twin

os.environ.setdefault("JAX_PLATFORMS", "cpu")


def test_report_has_a_line_for_every_check():
    report = check_likelihood(Cartesian(), dim=3)
    lines = str(report).splitlines()
    assert lines[0] == "Cartesian passes 16 of 18 checks:"
    assert [line.split()[-1] for line in lines[1:17]] == [check.__name__ for check in LIKELIHOOD_CHECKS.all[:16]]
    assert all("not run" in line for line in lines[17:])
    assert "only the project's own parts have a twin" in lines[17]


def test_failures_are_raised_together_as_an_assertion_error():
    with pytest.raises(AssertionError) as caught:
        check_likelihood(Unnormalized(), dim=3)
    assert isinstance(caught.value, ConformanceError)
    assert caught.value.report.subject == "Unnormalized"
    assert [one.check for one in caught.value.report.failed] == ["integrates_to_one"]
    assert str(caught.value) == str(caught.value.report)


def test_what_is_checked_stays_as_it_was():
    likelihood = Learned().train()
    before, state = copy.deepcopy(likelihood.state_dict()), torch.get_rng_state()
    pyro.param("mine", torch.tensor(2.0))
    pyro.enable_validation(False)
    check_likelihood(likelihood, dim=3)
    assert not torch.distributions.Distribution._validate_args
    assert torch.equal(torch.get_rng_state(), state)
    assert dict(pyro.get_param_store().items()) == {"mine": torch.tensor(2.0)}
    assert all(parameter.grad is None for parameter in likelihood.parameters())
    assert all(torch.equal(one, before[name]) for name, one in likelihood.state_dict().items())
    assert likelihood.shift.dtype == torch.float32
    assert likelihood.training


def test_parts_built_with_local_parameters_are_checked_too():
    with pyro.settings.context(module_local_params=True):
        assert not check_likelihood(Learned(), dim=3).failed
    assert not check_likelihood(Learned(), dim=3).failed


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (
            lambda: check_likelihood(Cartesian),
            "expects an instance of a likelihood, got the class Cartesian; ",
        ),
        (lambda: check_prior(StandardNormal, 3), "expects an instance of a prior, got the class StandardNormal"),
        (lambda: check_guide(DiagonalNormal), "expects an instance of a guide, got the class DiagonalNormal"),
        (lambda: check_likelihood(None), "expects an instance of a likelihood, got None"),
        (lambda: check_likelihood(Cartesian(), 1), r"expects embedding widths of 2 or more, got \(1,\); give dim="),
        (lambda: check_likelihood(Cartesian(), ()), r"expects embedding widths of 2 or more, got \(\); give dim="),
        (lambda: check_guide(Cartesian()), "expects a guide whose dim is the embedding width, got dim=None"),
    ],
)
def test_misuse_gets_a_sentence(call, sentence):
    with pytest.raises(ValueError, match=sentence):
        call()


def test_likelihood_for_one_width_is_told_to_say_so():
    class Narrow(Cartesian):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 3)

        def distribution(self, latent, scale):
            return super().distribution(self.layer(latent), scale)

    assert not check_likelihood(Narrow(), dim=3).failed
    with pytest.raises(
        ConformanceError, match=r"to run at D = 2, got RuntimeError: .*; if it is built for a single width"
    ):
        check_likelihood(Narrow())


@pytest.mark.parametrize(("kind", "case"), [("prior", PRIORS[0]), ("likelihood", LIKELIHOODS[0]), ("guide", GUIDES[0])])
def test_twin_that_differs_is_found(kind, case, monkeypatch):
    import numpyro.distributions as dist

    from vje_ppl.numpyro_port.distributions import DiagonalStudentT

    assert outcome(agrees_with_its_twin, subject(kind, case)).verdict == "passed"
    for changed in (dist.Normal, DiagonalStudentT):
        original = changed.log_prob
        monkeypatch.setattr(changed, "log_prob", lambda self, value, of=original: of(self, value) * (1 + 1e-9))
    found = outcome(agrees_with_its_twin, subject(kind, case))
    assert found.verdict == "failed"
    assert "to agree with the NumPyro twin to 1e-10 of the magnitude, got " in found.sentence


def test_twin_that_is_missing_is_named(monkeypatch):
    import vje_ppl.numpyro_port.likelihoods.polar_student_t as port

    monkeypatch.delattr(port, "PolarStudentT")
    part = subject("likelihood", LIKELIHOODS[0])
    found = outcome(agrees_with_its_twin, part)
    assert found.verdict == "not run"
    assert "PolarStudentT is not certified: it has no NumPyro twin" in found.sentence
    assert found.sentence.endswith("write vje_ppl.numpyro_port.likelihoods.polar_student_t.PolarStudentT")
    with pytest.raises(UserError, match="PolarStudentT is not certified"):
        build_model(part.config(3), 3, part.whole().model)


def test_gradient_of_a_twin_is_compared_too(monkeypatch):
    import jax

    import vje_ppl.numpyro_port.likelihoods.polar_student_t as port

    original = port.to_polar

    def stopped(vector):
        direction, radius = original(vector)
        return original(vector)._replace(direction=direction, radius=jax.lax.stop_gradient(radius))

    monkeypatch.setattr(port, "to_polar", stopped)
    found = outcome(agrees_with_its_twin, subject("likelihood", LIKELIHOODS[0]))
    assert found.verdict == "failed"
    assert "expected the gradient with respect to inputs latent" in found.sentence


def test_importing_the_checks_imports_neither_models_nor_jax_nor_pytest():
    code = "import sys, vje_ppl.testing; print(*sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    unwanted = ("vje_ppl.models", "vje_ppl.guides", "vje_ppl.numpyro_port", "jax", "numpyro", "pytest")
    assert not [name for name in found if name.split(".")[0] in unwanted or ".".join(name.split(".")[:2]) in unwanted]


def test_own_instance_of_a_project_part_is_checked_without_its_twin():
    report = check_likelihood(PolarStudentT(2.0), dim=3)
    assert [one.check for one in report.outcomes if one.verdict == "not run"] == ["agrees_with_its_twin"]
