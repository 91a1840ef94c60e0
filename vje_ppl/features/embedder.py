"""What an evaluation uses of a method: an encoder and, if there is one, a probability model over its embeddings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.methods.method import Method, PredictiveDensity
from vje_ppl.program.moments import moments


@dataclass(frozen=True)
class Embedder:
    """An encoder in evaluation mode, with its probability model.

    A method without a probability model has only z, and only the scores that need no model.

    Attributes:
        embed: maps prepared images (N, C, H, W) to embeddings z, (N, D).
        dim: embedding width D.
        program: guide and model over the embeddings, in evaluation mode; None if the method has none.
        density: the density of another view's embedding, if the method has one without a program.
    """

    embed: Callable[[Tensor], Tensor]
    dim: int
    program: JointEmbedding | None = None
    density: PredictiveDensity | None = None

    @classmethod
    def of(cls, module: Method) -> Embedder:
        """Return the embedder of a method, in its present mode and on its device."""
        density = module if isinstance(module, PredictiveDensity) else None
        return cls(module.embed, module.dim, module.program, density)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The kinds of features: `z` and, with a posterior, `mu`."""
        return ("z",) if self.program is None else ("z", "mu")

    @torch.no_grad()
    def features(self, images: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N D"]]:
        """Return all kinds of features of a batch of prepared images, float32, on the device of the images."""
        z = self.embed(images)
        return self.with_mean(z, self.infer(z))

    def infer(self, z: Float[Tensor, "N D"]) -> Any:
        """Return the amortized posterior of embeddings; None if the method has none."""
        return None if self.program is None else self.program.guide.infer(z)

    def with_mean(self, z: Float[Tensor, "N D"], posterior: Any) -> dict[str, Float[Tensor, "N D"]]:
        """Return embeddings and, if there is a posterior, its mean, by name."""
        found = {"z": z.float()}
        return found if posterior is None else found | {"mu": moments(posterior)[0].float()}
