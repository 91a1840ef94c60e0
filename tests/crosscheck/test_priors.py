"""A prior that asks the guide's inference network: what it asks for crosses over, whatever the guide is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.helpers.cases import CHANNELS, GUIDES, composed
from vje_ppl.crosscheck import quantities as q
from vje_ppl.crosscheck import trained
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.runs.trained_run import TrainedRun
from vje_ppl.settings.build import build, build_joint_embedding

SMALL = ("encoder.width=6", "encoder.depth=1", "encoder.dim=4", "guide.network.width=2", "prior=vamp")
ONE_EACH = sorted({case.name for case in GUIDES})


def untrained(*overrides: str) -> TrainedRun:
    """A run on the digits as `load` returns it, of random weights, with statistics that tell modes apart."""
    config = composed(*SMALL, *overrides)
    augment = build(config.augment, "augment", channels=CHANNELS, image_size=8)
    module = build_joint_embedding(config, CHANNELS, 8, trust_targets=False)
    module.guide.infer(1 + 2 * torch.randn(20, 4))
    return TrainedRun(module.eval(), augment.evaluation, config, 0)


@pytest.mark.parametrize("guide", ONE_EACH)
def test_kl_from_the_vamp_prior_is_that_of_both_backends_and_of_the_run_itself(guide):
    run = untrained(f"guide={guide}")
    exported = trained.embed_views(run, images=8, seed=0)
    assert exported.asked["mean"].shape == (32, 4)
    ours, theirs = (one(run, exported, "float64", "cpu")[q.KL] for one in (trained.in_pyro, trained.in_numpyro))
    np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10)
    with torch.no_grad():
        latent, prior = torch.as_tensor(exported.latent), run.module.model.prior()
        posteriors = [run.module.guide.infer(one) for one in torch.as_tensor(exported.embedding)]
        log_q = torch.stack([one.distribution().log_prob(of) for one, of in zip(posteriors, latent, strict=True)])
        expected = log_q - prior.log_prob(latent)
    np.testing.assert_allclose(ours, expected, rtol=1e-4, atol=1e-4)  # that in float32, of terms of order ten


def test_what_the_prior_asked_for_is_saved_and_the_run_stays_bound(tmp_path):
    run = untrained()
    value = torch.randn(3, 4)
    before = run.module.model.prior().log_prob(value)
    exported = trained.embed_views(run, images=8, seed=0)
    trained.in_pyro(run, exported, "float64", "cpu")
    assert torch.equal(run.module.model.prior().log_prob(value), before)
    exported.save(tmp_path / "arrays.npz")
    with np.load(tmp_path / "arrays.npz") as arrays:
        pseudo = run.module.guide.infer(run.module.model.prior.pseudo_embeddings)
        np.testing.assert_array_equal(arrays["prior_scale"], pseudo.scale.detach())


def test_a_prior_that_asks_for_nothing_exports_nothing():
    run = untrained("prior=standard_normal")
    assert isinstance(run.module.model.prior, StandardNormal)
    assert trained.embed_views(run, images=8, seed=0).asked == {}
