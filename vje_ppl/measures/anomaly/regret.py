"""`regret`: what an image's own search for a posterior gains over the guide."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from vje_ppl.measures.anomaly.conditional_densities import draw_latents
from vje_ppl.measures.anomaly.kinds import REGRET, ScoreKind
from vje_ppl.measures.anomaly.program_terms import ProgramTerms, Scores
from vje_ppl.measures.anomaly.refinement import moved, weighted_elbo
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.parallel.randomness import Stream, stream_seed

#: Adam's learning rate at the start, from which a cosine takes it to zero, and draws of each posterior a step.
_LEARNING_RATE, _DRAWS = 0.1, 4


class Regret:
    """Likelihood regret of the view without augmentation, in nats; higher = more anomalous:

        max_q ELBO(z; q) − ELBO(z; guide),    ELBO(z; q) = E_q[log p(z | s, σ)] − KL(q ‖ prior)

    q is the guide's posterior with another mean and scale, feature by feature, of this image alone; the likelihood
    keeps the guide's scale σ. An amortized guide serves images like those of its training, and the regret of others is
    larger.

    Adam maximizes over shift and log factor of each feature (`moved`), from the guide's own, for a fixed number of
    steps, each with four new draws. Both ELBOs then use the same noise, so that their difference has little. The noise
    is keyed by seed, step and image, and Adam moves each image by itself. A gradient that is not finite counts as zero.

    Adam's steps are bounded: in 50 steps, the mean of a feature moves by at most 2.6 of the guide's scales, and its
    scale by a factor of at most 13. So the regret of an image whose guide is farther off is underestimated.

    Args:
        program: guide and model, in evaluation mode.
        steps: of Adam.
        seed: of the evaluation.

    Source: Xiao, Yan and Amit, "Likelihood Regret: An Out-of-Distribution Detection Score for Variational
    Auto-Encoder", NeurIPS 2020. Draws and steps: ours.
    """

    def __init__(self, program: JointEmbedding, steps: int, seed: int) -> None:
        self._program, self._steps, self._seed = program, steps, stream_seed(seed, Stream.REGRET)

    def __call__(self, terms: ProgramTerms) -> Scores:
        """Score N images, with as many draws as other scores use."""
        posterior = map_posterior(terms.posterior, lambda one: one[:1].detach())
        target = terms.z[:1]
        own = self._search(posterior, target, terms.images)
        best, guides = (
            self._elbo(q, posterior, target, terms.images, terms.samples, self._steps) for q in (own, posterior)
        )
        return {ScoreKind(REGRET, samples=terms.samples, steps=self._steps): (best - guides)[0].double()}

    def _search(self, posterior: Any, target: Float[Tensor, "1 N D"], images: Int64[Tensor, " N"]) -> Any:
        shift = torch.zeros_like(posterior.mean, requires_grad=True)
        log_factor = torch.zeros_like(posterior.scale, requires_grad=True)
        optimizer = torch.optim.Adam([shift, log_factor], lr=_LEARNING_RATE)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, self._steps)
        for step in range(self._steps):
            with torch.enable_grad():
                elbo = self._elbo(moved(posterior, shift, log_factor), posterior, target, images, _DRAWS, step)
                gradients = torch.autograd.grad(-elbo.sum(), [shift, log_factor])
            for parameter, gradient in zip((shift, log_factor), gradients, strict=True):
                parameter.grad = gradient.where(gradient.isfinite(), 0.0)
            optimizer.step()
            schedule.step()
        return moved(posterior, shift.detach(), log_factor.detach())

    def _elbo(
        self, q: Any, given: Any, target: Float[Tensor, "1 N D"], images: Int64[Tensor, " N"], draws: int, step: int
    ) -> Float[Tensor, "1 N"]:
        latents = draw_latents(self._program, q, target, draws, stream_seed(self._seed, step), images)
        return weighted_elbo(self._program, q, target, latents, 1.0, given)
