"""The anomaly scores of a method that predicts another view's density without a program: see `kinds`."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.measures.anomaly.kinds import SURPRISE, UNCERTAINTY, ScoreKind
from vje_ppl.measures.anomaly.options import ScoreOptions
from vje_ppl.measures.anomaly.program_scores import Scores
from vje_ppl.measures.anomaly.view_pairs import single_views
from vje_ppl.methods.method import PredictiveDensity


class DensityScores:
    """Scores of images under a predictive density.

    Args:
        density: of the method, in evaluation mode.
        options: how many views.
    """

    def __init__(self, density: PredictiveDensity, options: ScoreOptions) -> None:
        self._density, self._kinds = density, options.kinds

    @torch.no_grad()
    def __call__(self, z: Float[Tensor, "V N D"]) -> Scores:
        """Score N images.

        Args:
            z: embeddings of their views; the first one without augmentation.

        Returns:
            Values (N,) in float64 by kind: averaged over ordered pairs of views, or over views.
        """
        found: Scores = {}
        for kind in self._kinds:
            values = [self._density.surprise(z[source], z[target]).double() for source, target in kind.ordered]
            found[ScoreKind(SURPRISE, kind.kind, kind.augmentations, pairs=kind.pairs)] = torch.stack(values).mean(0)
        by_view = torch.stack([self._density.uncertainty(view).double() for view in z])
        for views, numbers in single_views(len(z)).items():
            kind_of_view = ScoreKind(UNCERTAINTY, views, sum(number > 0 for number in numbers))
            found[kind_of_view] = by_view[numbers].mean(0)
        return found
