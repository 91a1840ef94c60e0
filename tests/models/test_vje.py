"""The model's sites, plates, and drawing."""

from __future__ import annotations

import pyro
import pytest
import torch
from pyro import poutine
from pyro.infer import Predictive
from pyro.infer.inspect import get_model_relations

from vje_ppl.guides.diagonal_normal import DiagonalNormal, DiagonalNormalPosterior
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.scales import Free, Tied
from vje_ppl.models.vje import VJE

N, D = 4, 5


def model() -> VJE:
    return VJE(StandardNormal(D), PolarStudentT())


def posterior(*leading: int) -> DiagonalNormalPosterior:
    return DiagonalNormalPosterior(torch.randn(*leading, N, D), torch.rand(*leading, N, D) + 0.1)


def test_declares_latent_direction_and_radius_in_plate_images():
    trace = poutine.trace(model()).get_trace(posterior(), torch.randn(N, D))
    assert [name for name in trace.nodes if trace.nodes[name]["type"] == "sample"] == [
        "images",
        "latent",
        "direction",
        "radius",
    ]
    for name, event_shape, observed in [("latent", (D,), False), ("direction", (D,), True), ("radius", (), True)]:
        site = trace.nodes[name]
        assert [(frame.name, frame.dim, frame.size) for frame in site["cond_indep_stack"]] == [("images", -1, N)]
        assert (site["fn"].batch_shape, site["fn"].event_shape) == ((N,), event_shape)
        assert site["is_observed"] is observed


def test_the_site_of_the_guide_has_the_shape_of_the_models():
    guide, given = DiagonalNormal(D), posterior()
    guided = poutine.trace(guide).get_trace(given, torch.randn(N, D)).nodes["latent"]
    modelled = poutine.trace(model()).get_trace(given, torch.randn(N, D)).nodes["latent"]
    assert guided["fn"].shape() == modelled["fn"].shape() == (N, D)
    assert guided["cond_indep_stack"][0].name == modelled["cond_indep_stack"][0].name == "images"


def test_runs_without_a_target_under_predictive():
    drawn = Predictive(model(), num_samples=7)(posterior(), None)
    assert drawn["latent"].shape == (7, N, D)
    assert drawn["direction"].shape == (7, N, D)
    assert drawn["radius"].shape == (7, N)


def test_returns_the_latent():
    given, latent = posterior(), torch.randn(N, D)
    assert torch.equal(pyro.condition(model(), {"latent": latent})(given, torch.randn(N, D)), latent)


def test_leading_dimensions_go_under_plates_of_the_caller():
    with pyro.plate("pairs", 2, dim=-2):
        assert model()(posterior(2), torch.randn(2, N, D)).shape == (2, N, D)


@pytest.mark.parametrize(("scale", "expected"), [(None, "posterior"), (Tied(), "posterior"), (Free(D, 0.3), 0.3)])
def test_the_direction_takes_the_scale_that_was_chosen(scale, expected):
    given = posterior()
    trace = poutine.trace(VJE(StandardNormal(D), PolarStudentT(), scale)).get_trace(given, torch.randn(N, D))
    wanted = given.scale if expected == "posterior" else torch.full((N, D), expected)
    torch.testing.assert_close(trace.nodes["direction"]["fn"].scale, wanted)


def test_relations_are_those_of_the_picture():
    relations = get_model_relations(model(), (posterior(), torch.randn(N, D)))
    assert relations["plate_sample"] == {"images": ["latent", "direction", "radius"]}
    assert relations["observed"] == ["direction", "radius"]
    assert relations["sample_sample"] == {
        "latent": [],
        "direction": ["latent"],
        "radius": ["latent"],
    }


def test_render_model_draws_every_site():
    pytest.importorskip("graphviz")
    drawing = pyro.render_model(model(), (posterior(), torch.randn(N, D)), render_distributions=True).source
    for name in ("latent", "direction", "radius", "images", "latent ~ Normal", "direction ~ DiagonalStudentT"):
        assert name in drawing
