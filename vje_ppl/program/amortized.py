"""The base of amortized guides: they own the encoder, and embed and infer once per view."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from jaxtyping import Float, Shaped
from pyro.nn import PyroModule
from torch import Tensor, nn

from vje_ppl.networks.whitening import WhiteningLayer


class AmortizedGuide(PyroModule):
    """A Pyro guide whose parameters come from a network applied to an encoder's embedding.

    A subclass sets `self.network` and defines `infer` (embedding -> posterior, a dataclass of tensors with at least
    `mean` and `scale`, both (N, D)) and `forward(posterior, target)`, which declares the site "latent".

    Args:
        dim: embedding width D.
        encoder: maps views (N, C, H, W) to embeddings (N, D); `None` if the views are embeddings already.
        whiten: features of each group in which `WhiteningLayer` takes correlations out of the encoder's embeddings;
            `None` leaves them as they are.
    """

    network: nn.Module

    def __init__(self, dim: int, encoder: nn.Module | None = None, whiten: int | None = None) -> None:
        super().__init__()
        self.dim = dim
        self.encoder = nn.Identity() if encoder is None else encoder
        self.whitening = nn.Identity() if whiten is None else WhiteningLayer(dim, whiten)

    def embed(self, view: Shaped[Tensor, "N ..."]) -> Float[Tensor, "N D"]:
        """Embed a batch of views.

        Args:
            view: the encoder's input: images (N, C, H, W), or embeddings (N, D) without an encoder.

        Returns:
            Embeddings z, shape (N, D), whitened if the guide whitens them; otherwise in the precision of autocast where
            it is on.

        Raises:
            ValueError: if the result is not (N, D) for this guide's D.
        """
        embedding = self.encoder(view)
        if embedding.shape != (view.shape[0], self.dim):
            raise ValueError(
                f"The guide expects embeddings of shape (images, {self.dim}), got {tuple(embedding.shape)} from views "
                f"of shape {tuple(view.shape)}; give the encoder's width as the guide's dim."
            )
        return self.whitening(embedding)

    def network_output(self, embedding: Float[Tensor, "N D"]) -> Float[Tensor, "N outputs"]:
        """Return the inference network's raw output in at least float32; densities never run in half precision."""
        output = self.network(embedding)
        return output.to(torch.promote_types(output.dtype, torch.float32))

    @abstractmethod
    def infer(self, embedding: Float[Tensor, "N D"]) -> Any:
        """Return the posterior of N embeddings: a dataclass with `mean` and `scale` (N, D) and `distribution()`."""
