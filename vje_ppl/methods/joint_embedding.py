"""One module that holds everything with parameters, for training."""

from __future__ import annotations

from typing import Any, ClassVar

from pyro.infer.elbo import ELBOModule
from torch import Tensor, nn

from vje_ppl.methods.method import LearnsNumber, Method
from vje_ppl.program.bounded_scale import BoundedScale
from vje_ppl.program.objective import ObjectiveTerms, SymmetricConditionalELBO


class JointEmbedding(ELBOModule, Method):
    """Encoder, guide, model and objective as one `torch.nn.Module`, whose `forward(*views)` returns `ObjectiveTerms`.

    So distributed training wraps a single module, and logging needs no second pass. `objective(model, guide)` gives a
    `pyro.infer.ELBOModule`, which returns only the loss.

    Args:
        model: `model(posterior, target)`.
        guide: `guide(posterior, target)`, with `embed` and `infer`.
        objective: a `SymmetricConditionalELBO`.
    """

    model: Any
    guide: Any
    elbo: SymmetricConditionalELBO
    collapse_advice: ClassVar[str] = "a smaller objective.beta or optimizer.lr"

    @property
    def dim(self) -> int:
        """Embedding width D."""
        return self.guide.dim

    @property
    def encoder(self) -> nn.Module:
        """The guide's encoder."""
        return self.guide.encoder

    @property
    def program(self) -> JointEmbedding:
        """The module itself."""
        return self

    @property
    def bounded_scale(self) -> BoundedScale | None:
        """The module that bounds the guide's scales; None if there is none."""
        return getattr(self.guide, "bounded_scale", None)

    def learned_numbers(self) -> dict[str, float]:
        """Return numbers that model and guide learn, by their place in the configuration, such as `likelihood.df`."""
        numbers = {name: part.learned_number() for name, part in self.named_modules() if isinstance(part, LearnsNumber)}
        return {name.removeprefix("model."): float(one) for name, one in numbers.items() if one is not None}

    def embed(self, view: Tensor) -> Tensor:
        """Return the guide's embeddings z of a batch of views."""
        return self.guide.embed(view)

    def forward(self, *views: Tensor) -> ObjectiveTerms:
        """Return the loss and its parts on a batch of two or more views, each (N, C, H, W)."""
        return self.elbo.terms(self.model, self.guide, *views)
