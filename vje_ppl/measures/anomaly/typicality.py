"""`typicality`: how far an image's statistics under the program are from those of normal images, on either side."""

from __future__ import annotations

import torch
from jaxtyping import Float64
from torch import Tensor

from vje_ppl.errors import UserError
from vje_ppl.measures.anomaly.gaussian import Gaussian
from vje_ppl.measures.anomaly.kinds import CONDITIONAL, KL, LOG_PRECISION, TYPICALITY, ScoreKind
from vje_ppl.measures.anomaly.program_terms import ProgramTerms, Scores
from vje_ppl.measures.anomaly.view_pairs import CLEAN_CLEAN
from vje_ppl.program.polar import SMALLEST_RADIUS

LOG_NORM, MARGINAL = "log_norm", "marginal"

#: Interquartile range of the standard normal.
_NORMAL_RANGE = 1.3489795

#: A statistic that varies by less, relative to its median or 1, is constant up to the rounding of float32.
_ROUNDING = 1e-6

#: Calibration images farther from the median than this, in robust standard deviations, count as if they were there.
_FARTHEST = 4.0


def statistics(terms: ProgramTerms, marginal: Gaussian) -> dict[str, Float64[Tensor, " N"]]:
    """Return the statistics of N images without augmentation, in nats, by name:

    - `conditional/<site>`: −E_q[log p(z | s, σ)] at each observed site, of the image given itself;
    - `kl`: KL(q ‖ prior); `log_precision`: −½ Σ log σ²;
    - `log_norm`: log ‖z‖;
    - `marginal`: −log p̂(z).

    Args:
        terms: of the program, at least for the pair of the image with itself.
        marginal: p̂.
    """
    scores = terms.pairs[CLEAN_CLEAN].scores
    return {
        **{name: values for name, values in scores.items() if name.startswith(f"{CONDITIONAL}/")},
        KL: terms.kl[0],
        LOG_PRECISION: terms.log_precision[0],
        LOG_NORM: torch.linalg.vector_norm(terms.z[0].double(), dim=-1).clamp_min(SMALLEST_RADIUS).log(),
        MARGINAL: -marginal.log_prob(terms.z[0]),
    }


class Typicality:
    """Scores against the statistics of calibration images: normal images that were not trained on.

    - `typicality`: −log density of the image's statistics, in nats per image, under a Gaussian of those of the
      calibration images, with full covariance;
    - `typicality/<statistic>`: |statistic − median| over the calibration images, in robust standard deviations.

    Both are two-sided: an image that is more likely than normal images is as anomalous as one that is less likely.
    Training images would not do, because a model fits their statistics.

    The statistics have different units and heavy tails. So they are first centred at the median of the calibration
    images and divided by their robust standard deviation, the interquartile range over 1.349 (their standard deviation
    if that range is 0, and 1 for a constant statistic). Mean and covariance, Ledoit and Wolf's, are then of values cut
    at four robust standard deviations; the values of scored images are not cut.

    Args:
        calibration: statistics of C calibration images by name, (C,) each.
        device: where densities are computed.

    Raises:
        UserError: for fewer than two calibration images, or statistics that are not finite.

    Source: density of states: Morningstar et al., "Density of States Estimation for Out of Distribution Detection",
    AISTATS 2021, there by kernel densities or a one-class SVM; a single statistic: Nalisnick et al., "Detecting
    Out-of-Distribution Inputs to Deep Generative Models Using Typicality", 2019, there with the mean. The choice of
    statistics, the Gaussian, medians and cuts: ours.
    """

    def __init__(self, calibration: dict[str, Float64[Tensor, " C"]], device: torch.device) -> None:
        values = torch.stack(list(calibration.values()), 1).double().cpu()
        self._count = len(values)
        if self._count < 2:
            raise UserError(f"typicality needs at least 2 calibration images, got {self._count}.")
        if not values.isfinite().all():
            raise UserError(
                "typicality needs statistics that are finite, but those of some calibration images are not; train with "
                "a lower optimizer.lr, or look closer with debug=true."
            )
        self._median = values.quantile(0.5, 0)
        low, high = values.quantile(torch.tensor([0.25, 0.75], dtype=torch.float64), 0)
        scale = (high - low) / _NORMAL_RANGE
        rounding = _ROUNDING * self._median.abs().clamp_min(1)
        scale = scale.where(scale > rounding, values.std(0))
        self._scale = scale.where(scale > rounding, 1.0)
        cut = ((values - self._median) / self._scale).clamp(-_FARTHEST, _FARTHEST)
        self._gaussian = Gaussian.fitted(cut, device)
        self._median, self._scale = self._median.to(device), self._scale.to(device)

    def __call__(self, found: dict[str, Float64[Tensor, " N"]]) -> Scores:
        """Score N images by their statistics."""
        values = (torch.stack(list(found.values()), 1) - self._median) / self._scale
        scores: Scores = {self._kind(TYPICALITY): -self._gaussian.log_prob(values)}
        for place, name in enumerate(found):
            scores[self._kind(f"{TYPICALITY}/{name}")] = values[:, place].abs()
        return scores

    def _kind(self, name: str) -> ScoreKind:
        return ScoreKind(name, calibration_images=self._count)
