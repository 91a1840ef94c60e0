"""SimSiam: predict the other view's projection, which is held fixed."""

from __future__ import annotations

from collections.abc import Sequence

from jaxtyping import Float
from torch import Tensor, nn

from vje_ppl.methods.baseline import Baseline, Branch, head_width, mlp_head


class SimSiam(Baseline):
    """The symmetric negative cosine similarity of prediction and stopped projection:

        loss = −½ cos(h(f_1), sg f_2) − ½ cos(h(f_2), sg f_1),     f_v = projector(z_v)

    between −1 and 1.

    Args:
        encoder: maps views to embeddings, with its width as `dim`.
        projector: widths of the projector's layers; its output is normalized, without learned scale and shift. Without
            layers, the loss is on z: f = z.
        predictor: width of the hidden layer of the predictor h, whose output is as wide as the projector's.
        norm: normalization of the heads, "batch" or "group".

    Source: Chen and He, "Exploring Simple Siamese Representation Learning", CVPR 2021, equations 3 and 4.
    """

    def __init__(self, encoder: nn.Module, projector: Sequence[int], predictor: int, norm: str = "batch") -> None:
        super().__init__(encoder)
        from lightly.loss import NegativeCosineSimilarity

        self.projector = mlp_head(self.dim, projector, norm, output_norm=True)
        width = head_width(self.dim, projector)
        self.predictor = mlp_head(width, [predictor, width], norm)
        self.criterion = NegativeCosineSimilarity()

    def branch(self, view: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Branch:
        """Return the prediction, and the projection without a gradient, each (N, projector)."""
        projection = self.projector(z)
        return self.predictor(projection), projection.detach()

    def pair(self, one: Branch, other: Branch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss; it has no parts."""
        (prediction_1, target_1), (prediction_2, target_2) = one, other
        return 0.5 * (self.criterion(prediction_1, target_2) + self.criterion(prediction_2, target_1)), {}
