"""A run with each guide agrees between the backends, and a mistake in one of them shows."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import pytest
import torch

from tests.helpers.cases import CHANNELS, GUIDES, composed
from vje_ppl.crosscheck import quantities as q
from vje_ppl.crosscheck import trained
from vje_ppl.crosscheck.certificate import Batch, Check, compare
from vje_ppl.guides.low_rank_normal import LowRankNormalPosterior
from vje_ppl.numpyro_port.distributions import coupling_flow as flow_twin
from vje_ppl.numpyro_port.guides import low_rank_normal as low_rank_twin
from vje_ppl.runs.trained_run import TrainedRun
from vje_ppl.settings.build import build, build_joint_embedding

DIM, IMAGES = 16, 8
SMALL = (f"encoder.dim={DIM}", "encoder.width=6", "encoder.depth=1", "guide.network.width=2")
ONE_EACH = sorted({case.name for case in GUIDES})


def untrained(guide: str) -> TrainedRun:
    """A run on the digits as `load` returns it, of random weights, with a flow far from the identity."""
    torch.manual_seed(0)
    config = composed(*SMALL, f"guide={guide}")
    augment = build(config.augment, "augment", channels=CHANNELS, image_size=8)
    module = build_joint_embedding(config, CHANNELS, 8, trust_targets=False)
    for name, parameter in module.guide.named_parameters():
        if name.startswith("flow.") and "output" in name:
            torch.nn.init.normal_(parameter, std=0.3)
    return TrainedRun(module.eval(), augment.evaluation, config, 0)


def checks(run: TrainedRun, exported: trained.Exported, precision: str) -> dict[str, Check]:
    said = {
        "Pyro": trained.in_pyro(run, exported, precision, "cpu"),
        "NumPyro": trained.in_numpyro(run, exported, precision, "cpu"),
    }
    found: dict[tuple[str, str], Check] = {}
    compare(found, Batch(DIM, "a test", precision), said, *trained.oracle(run, exported, said["Pyro"]))
    return {quantity: check for (quantity, _), check in found.items()}


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("guide", ONE_EACH)
def test_every_row_passes_image_by_image(guide, precision):
    run = untrained(guide)
    found = checks(run, trained.embed_views(run, IMAGES, seed=0), precision)
    assert found[q.KL].cases == found[q.OBJECTIVE].cases == 2 * IMAGES
    assert [quantity for quantity, check in found.items() if not check.passed] == []


def test_kl_of_the_export_is_that_of_the_run():
    run = untrained("flow")
    exported = trained.embed_views(run, IMAGES, seed=0)
    found = trained.in_pyro(run, exported, "float64", "cpu")[q.KL]
    guide, prior = run.module.guide.double(), run.module.model.double().prior()
    latent = torch.as_tensor(exported.latent).double()
    posteriors = [guide.infer(torch.as_tensor(one).double()) for one in exported.embedding]
    log_q = torch.stack([one.distribution().log_prob(of) for one, of in zip(posteriors, latent, strict=True)])
    # The export holds mean and scale as float32 computed them.
    np.testing.assert_allclose(found, (log_q - prior.log_prob(latent)).detach(), rtol=1e-4, atol=1e-4)


def test_a_mistake_in_the_flows_twin_fails(monkeypatch):
    original = flow_twin.CouplingFlow.inverse

    def planted(self, value, context):
        noise, log_det = original(self, value, context)
        return noise, log_det + 1e-3

    monkeypatch.setattr(flow_twin.CouplingFlow, "inverse", planted)
    monkeypatch.setattr(flow_twin.CouplingFlow, "__call__", lambda self, noise, context: (noise, jnp.sum(noise, -1)))
    run = untrained("flow")
    found = checks(run, trained.embed_views(run, IMAGES, seed=0), "float64")
    assert not found[q.KL].passed
    assert found["site direction"].passed


def test_a_mistake_in_the_low_rank_twin_fails(monkeypatch):
    original = low_rank_twin.LowRankNormalPosterior.distribution

    def planted(self):
        return original(low_rank_twin.LowRankNormalPosterior(self.mean, self.scale, 1.01 * self.loadings))

    monkeypatch.setattr(low_rank_twin.LowRankNormalPosterior, "distribution", planted)
    run = untrained("low_rank_normal")
    assert not checks(run, trained.embed_views(run, IMAGES, seed=0), "float64")[q.KL].passed


def test_modules_are_saved_by_their_parameters(tmp_path):
    run = untrained("flow")
    exported = trained.embed_views(run, IMAGES, seed=0)
    assert set(exported.parameters) == {"mean", "scale"}
    exported.save(tmp_path / "arrays.npz")
    with np.load(tmp_path / "arrays.npz") as arrays:
        for path, parameter in run.module.guide.flow.named_parameters():
            np.testing.assert_array_equal(arrays[f"posterior_flow.{path}"], parameter.detach())


def test_fields_of_any_shape_are_exported():
    run = untrained("low_rank_normal")
    exported = trained.embed_views(run, IMAGES, seed=0)
    assert exported.posterior_type is LowRankNormalPosterior
    assert exported.parameters["loadings"].shape == (2, IMAGES, DIM, 4)
    assert exported.learned() == {}
