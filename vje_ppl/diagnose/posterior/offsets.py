"""Systematic errors of a guide: the one correction, common to all images, that would serve it best."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vje_ppl.diagnose.posterior.reference import Gaussians
from vje_ppl.diagnose.run import FIRST_TARGET, SOURCE, DiagnosedRun
from vje_ppl.measures.anomaly.refinement import moved, weighted_elbo
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.parallel.randomness import Stream, stream_seed
from vje_ppl.program.moments import moments

#: A feature is odd if it differs from the others by this factor in scale, or by so many standard deviations in mean.
ODD_FACTOR, ODD_SHIFT = 3.0, 2.0

#: The largest number of images, steps of Adam, its learning rate, and draws of each posterior per step.
IMAGES, _STEPS, _LEARNING_RATE, _DRAWS = 256, 150, 0.06, 4


@dataclass(frozen=True, eq=False)
class Offsets:
    """The deviation of a guide from its reference, feature by feature.

    Attributes:
        scale_ratio: its standard deviation over the reference's; 1 if it is right, shape (D,).
        shift: its mean less the reference's, in its standard deviations; 0 if it is right, shape (D,).
        spread: how far its means are apart over images, over how far they should be; 0 for a feature that is the same
            for every image, shape (D,).
        shift_error: the shift that chance alone would give, root mean square.
        images: number of images used.
        want: the reference, in words that complete "the guide beside".
    """

    scale_ratio: Float[np.ndarray, " D"]
    shift: Float[np.ndarray, " D"]
    spread: Float[np.ndarray, " D"]
    shift_error: float
    images: int
    want: str

    @property
    def overall_scale(self) -> float:
        """Geometric median of the scale ratios of features that are known; NaN where none is."""
        return float(np.exp(_median(np.log(self.scale_ratio[self._known]))))

    @property
    def overall_shift(self) -> float:
        """Root mean square shift over features, the odd ones left out, less what chance alone would give.

        NaN where it, or what chance would give, is not known.
        """
        odd = self.odd_features()
        rest = np.delete(self.shift, odd) if len(odd) < len(self.shift) else self.shift
        with np.errstate(over="ignore", invalid="ignore"):
            return float(np.sqrt(np.maximum(0.0, np.square(rest).mean() - self.shift_error**2)))

    def odd_features(self) -> list[int]:
        """Return odd features: off by `ODD_FACTOR` in scale or spread, by `ODD_SHIFT` in mean, or unknown."""
        known = self._known
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = np.abs(np.log(self.scale_ratio / self.overall_scale))
            beside = np.abs(self.shift - _median(self.shift[known]))
        still = self.spread * ODD_FACTOR < _median(self.spread[known])
        odd = (relative > np.log(ODD_FACTOR)) | (beside > ODD_SHIFT) | still
        return [int(one) for one in np.flatnonzero(odd | ~known)]

    @property
    def _known(self) -> Bool[np.ndarray, " D"]:
        """Features whose numbers are finite, and their scale above zero."""
        return np.isfinite([self.scale_ratio, self.shift, self.spread]).all(0) & (self.scale_ratio > 0)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")


def offsets_of_training(run: DiagnosedRun) -> Offsets:
    """Return the corrections that the run's training objective would make to the guide, the same for all images.

    Maximizes over one factor and one shift per feature, common to all images,

        mean over images and both orders of the pair of E_q'[log p(z_b | s, σ')] − β KL(q' ‖ prior)

    where q' is the guide's posterior with scale σ' = factor · σ and mean μ + shift · σ. A trained guide can make these
    changes by the biases of its last layer alone, so they come out as 1 and 0 where training has converged and carries
    over to these images. A third number is the spread of the guide's means over images, relative to the spread of the
    embeddings that they explain. As in training, and unlike anywhere else in a diagnosis, the likelihood's scale
    follows the guide's here; held fixed, it would let even a healthy guide gain by leaving the scale that both share.
    If the gradient is not finite in most steps, the corrections are unknown, and NaN.

    Args:
        run: opened for diagnosis.
    """
    wide = run.wider(IMAGES, 2)
    views = [SOURCE, FIRST_TARGET]
    posterior = map_posterior(wide.posterior, lambda one: one[views])
    target = wide.z[views[::-1]]
    dim, images = wide.dim, target.shape[1]
    shift = torch.zeros(dim, device=target.device, requires_grad=True)
    log_factor = torch.zeros(dim, device=target.device, requires_grad=True)
    optimizer = torch.optim.Adam([shift, log_factor], lr=_LEARNING_RATE)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    with torch.random.fork_rng(devices=[target.device] if target.device.type == "cuda" else []), torch.enable_grad():
        torch.manual_seed(stream_seed(run.seed, Stream.OFFSETS))
        lost = torch.zeros(2, dim, device=target.device)
        for _ in range(_STEPS):
            loss = -_objective(wide, posterior, target, shift, log_factor).mean()
            gradients = torch.autograd.grad(loss, [shift, log_factor])
            lost += torch.stack(gradients).isfinite().logical_not()
            for parameter, gradient in zip((shift, log_factor), gradients, strict=True):
                parameter.grad = gradient.where(gradient.isfinite(), 0.0)
            optimizer.step()
            schedule.step()
        error = _shift_error(wide, posterior, target, shift, log_factor)
    unknown = lost > 0.5 * _STEPS  # a start that no gradient moved is no optimum
    moved = shift.detach().masked_fill(unknown[0], torch.nan).cpu().numpy()
    scaled = np.exp(log_factor.detach().masked_fill(unknown[1], torch.nan).cpu().numpy())
    spread = _spread(moments(posterior)[0].detach().flatten(0, 1).cpu().numpy(), target.flatten(0, 1).cpu().numpy())
    return Offsets(1 / scaled, -moved / scaled, spread, error, images, "its own training objective wants")


def _objective(run: DiagnosedRun, posterior: object, target: Tensor, shift: Tensor, log_factor: Tensor) -> Tensor:
    """β-weighted objective of each ordered pair and image, shape (2, N)."""
    changed = moved(posterior, shift, log_factor)
    latents = {"latent": changed.distribution().rsample((_DRAWS,))}
    return weighted_elbo(run.program, changed, target, latents, run.beta)


def _shift_error(run: DiagnosedRun, posterior: object, target: Tensor, shift: Tensor, log_factor: Tensor) -> float:
    """Return the root mean square standard error of the shifts, from the disagreement of halves of the images.

    With g_n the gradient of image n and h the curvature, a common shift has standard error sd(g)/(h sqrt(N)); h comes
    from the gradients at the optimum and beside it.
    """
    images = target.shape[1]
    if images < 2:
        return float("nan")  # a single image has no disagreement

    def gradients(at: Tensor) -> Tensor:
        each = at.detach().expand(images, -1).clone().requires_grad_()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(stream_seed(run.seed, Stream.OFFSETS, 1))
            value = _objective(run, posterior, target, each, log_factor.detach()).mean(0).sum()
        found = torch.autograd.grad(value, each)[0]
        return found.where(found.isfinite(), 0.0)

    here = gradients(shift)
    step = 0.1
    signs = torch.randint(0, 2, shift.shape, device=shift.device) * 2.0 - 1
    there = gradients(shift + step * signs)
    curvature = ((here - there).mean(0) * signs / step).clamp_min(1e-6)
    errors = here.std(0) / curvature / images**0.5
    return float(errors.square().median().sqrt())


def offsets_of_gaussians(
    guide_mean: Float[np.ndarray, "N D"], guide_scale: Float[np.ndarray, "N D"], gaussians: Gaussians
) -> Offsets:
    """Compare the guide with the best diagonal Gaussians, averaged over images; for a guide that should equal them.

    Args:
        guide_mean: means.
        guide_scale: standard deviations.
        gaussians: the best ones for the posterior that the guide stands for.
    """
    guide_mean, guide_scale = guide_mean.astype(np.float64), guide_scale.astype(np.float64)
    ratio = np.exp(np.log(guide_scale / gaussians.shared_scale).mean(0))
    shift = (guide_mean - gaussians.shared_mean) / guide_scale
    error = float(np.sqrt(np.median(shift.var(0)) / len(shift)))
    spread = _spread(guide_mean, gaussians.shared_mean)
    return Offsets(ratio, shift.mean(0), spread, error, len(guide_mean), "the best diagonal Gaussians want")


def _spread(mean: Float[np.ndarray, "N D"], wanted: Float[np.ndarray, "N D"]) -> Float[np.ndarray, " D"]:
    """Return the ratio of the standard deviation over images to the reference's; 1 for constant features."""
    varies = wanted.std(0)
    dead = varies <= 1e-3 * np.median(varies)
    return np.where(dead, 1.0, mean.std(0) / np.where(dead, 1.0, varies))
