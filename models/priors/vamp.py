"""The VampPrior: a mixture of the guide's posteriors of learned pseudo-embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from pyro.distributions.torch_distribution import TorchDistributionMixin
from pyro.nn import PyroModule
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from vje_ppl.distributions import Mixture
from vje_ppl.program.borrowed import Borrowed


class VampPrior(PyroModule):
    """`p(s) = 1/K Σ_k q(s | u_k)` on R^D: the guide's posterior q of K learned pseudo-embeddings u_k, of equal weights.

    So prior and posterior are learned together, and the prior has the shape of the posterior averaged over images. The
    pseudo-embeddings pass the guide's inference network; gradients reach it and them.

    The network is evaluated as after training, with its running statistics instead of those of a batch, and updates
    none: pseudo-embeddings are not a batch of images, and their own statistics would make the prior's density differ
    between training and evaluation. With `norm=batch` the prior therefore follows the running statistics of the step.

    The pseudo-embeddings start as draws from Normal(0, init_scale²): embeddings are not known yet, and those of
    untrained encoders have features of a root mean square between 0.4 (MLP) and 0.9 (ResNet-18).

    Base measure: Lebesgue on R^D, over which it integrates to one. No KL in closed form: Monte Carlo.

    Args:
        dim: embedding width D.
        components: their number K, at least 1.
        init_scale: standard deviation of the first pseudo-embeddings, positive, in units of the embedding.

    Raises:
        ValueError: for no component, or an initial scale that is not positive.

    Source: Tomczak and Welling, VAE with a VampPrior (AISTATS 2018), equation 9, with pseudo-inputs of the inference
    network in place of images; running statistics: ours.
    """

    def __init__(self, dim: int, components: int = 32, init_scale: float = 0.5) -> None:
        super().__init__()
        if components < 1 or not 0 < init_scale < math.inf:
            raise ValueError(
                f"VampPrior expects components >= 1 and a positive init_scale, got {components} and {init_scale}; both "
                f"must be finite."
            )
        self.pseudo_embeddings = nn.Parameter(init_scale * torch.randn(components, dim))
        self._infer: Borrowed | None = None

    def bind(self, infer: Callable[[torch.Tensor], Any]) -> None:
        """Bind the inference network, before the first call.

        The guide is not registered as a part of this module, and this module does not keep it alive. Copied, pickled or
        saved together, prior and guide stay together. A copy of the prior alone has to be bound again.

        Args:
            infer: the guide's method: from embeddings (K, D) to a posterior of batch shape (K,), event shape (D,).
        """
        self._infer = Borrowed(infer)

    def forward(self) -> TorchDistributionMixin:
        """Return the prior, batch shape (), event shape (D,).

        Raises:
            ValueError: before `bind`, and if the guide no longer exists, as in a copy of the prior alone.
        """
        if self._infer is None:
            raise ValueError(
                "VampPrior expects the guide's inference network before its first call; call prior.bind(guide.infer)."
            )
        infer = self._infer.function
        if infer is None:
            raise ValueError(
                "VampPrior has lost its guide, since it was copied or loaded without it, or the guide was deleted; "
                "copy model and guide together, as copy.deepcopy((model, guide)) does, or call prior.bind(guide.infer)."
            )
        with _as_after_training(getattr(infer, "__self__", None)):
            posterior = infer(self.pseudo_embeddings)
        equal = self.pseudo_embeddings.detach().new_zeros(len(self.pseudo_embeddings))
        return Mixture(equal, posterior.distribution())


@contextmanager
def _as_after_training(owner: Any) -> Iterator[None]:
    """Put all parts of a module in evaluation mode.

    Running statistics are copied, because autograd does not notice when the next batch updates them in place before
    backward.
    """
    parts = [part for part in owner.modules() if part.training] if isinstance(owner, nn.Module) else []
    buffers = [(part, name, buffer) for part in parts if isinstance(part, _NormBase) for name, buffer in _buffers(part)]
    try:
        for part in parts:
            part.training = False
        for part, name, buffer in buffers:
            setattr(part, name, buffer.clone())
        yield
    finally:
        for part, name, buffer in buffers:
            setattr(part, name, buffer)
        for part in parts:
            part.training = True


def _buffers(part: nn.Module) -> list[tuple[str, torch.Tensor]]:
    return list(part.named_buffers(recurse=False))
