"""One module that holds everything with parameters, for training."""

from __future__ import annotations

from typing import Any

from pyro.infer.elbo import ELBOModule
from torch import Tensor

from vje_ppl.objective import ObjectiveTerms, SymmetricConditionalELBO


class JointEmbedding(ELBOModule):
    """Encoder, guide, model and objective as one `torch.nn.Module`, whose `forward(*views)` returns `ObjectiveTerms`.

    So distributed training wraps one thing, and logging costs no second pass. `pyro.infer.ELBOModule` itself, which
    returns the loss alone, is what `objective(model, guide)` gives.

    Args:
        model: `model(posterior, target)`.
        guide: `guide(posterior, target)`, with `embed` and `infer`.
        objective: a `SymmetricConditionalELBO`.
    """

    model: Any
    guide: Any
    elbo: SymmetricConditionalELBO

    def forward(self, *views: Tensor) -> ObjectiveTerms:
        """The loss and its parts on a batch of two or more views, each (N, C, H, W)."""
        return self.elbo.terms(self.model, self.guide, *views)
