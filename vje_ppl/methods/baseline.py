"""The base of all baselines: an encoder, a branch for each view, and a loss between the branches of two views."""

from __future__ import annotations

import importlib.util
from abc import abstractmethod
from collections.abc import Sequence
from itertools import combinations, pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, distributed, nn
from torch.nn.functional import cosine_similarity

from vje_ppl.errors import UserError
from vje_ppl.methods.method import Method
from vje_ppl.networks.normalization import norm_1d

#: The result of a branch for a view; the loss compares the results of two views.
Branch = tuple[Tensor, ...]


class BaselineTerms(NamedTuple):
    """The loss of a baseline on a batch, and its parts.

    Attributes:
        loss: what an optimizer minimizes, shape (), in float32 at least.
        embeddings: the encoder's embeddings z of each view, shape (views, N, D), detached.
        means: named numbers of the batch, each of shape (), detached.
    """

    loss: Float[Tensor, ""]
    embeddings: Float[Tensor, "views N D"]
    means: dict[str, Float[Tensor, ""]]

    def scalars(self) -> dict[str, Tensor]:
        """Return numbers of the batch, by the name of their column."""
        return self.means

    def checked(self) -> dict[str, Tensor]:
        """Return what has to stay finite, in the order in which it is computed."""
        return {"the embedding": self.embeddings, "the loss": self.loss}


class Baseline(Method):
    """An encoder with its own heads; a subclass defines the branch of a view and the loss of two views.

    The loss is the mean over pairs of views, unless a subclass defines a loss of all views together. Each view goes
    through the network by itself, so batch statistics are per view. Losses are computed in float32 at least, also under
    autocast. Downstream tasks use the encoder's embedding z, without the heads.

    Args:
        encoder: maps views (N, C, H, W) to embeddings (N, D), with its width as `dim`.

    Raises:
        UserError: if lightly is not installed.

    Source: more than two views: ours.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        if importlib.util.find_spec("lightly") is None:
            raise UserError(
                f"{type(self).__name__} takes its heads and losses from lightly, which is not installed; "
                'pip install "vje_ppl[baselines]".'
            )
        self.encoder = encoder

    @property
    def dim(self) -> int:
        """Embedding width D."""
        dim = self.encoder.dim
        assert isinstance(dim, int)
        return dim

    def embed(self, view: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Return the encoder's embeddings z of a batch of views; in the precision of autocast where it is on."""
        return self.encoder(view)

    def forward(self, *views: Tensor) -> BaselineTerms:
        """Return the loss and its parts on a batch of two or more views, each (N, C, H, W)."""
        if len(views) < 2:
            raise ValueError(f"{type(self).__name__} expects two or more views of a batch, got {len(views)}.")
        embeddings = [self.embed(view) for view in views]
        branches = [self.branch(view, z) for view, z in zip(views, embeddings, strict=True)]
        with torch.autocast(embeddings[0].device.type, enabled=False):
            outputs = [tuple(map(_at_least_float32, branch)) for branch in branches]
            z = torch.stack([_at_least_float32(one.detach()) for one in embeddings])
            loss, parts = self.of_views(outputs)
            means = {name: part.detach() for name, part in parts.items()}
            cosines = [cosine_similarity(one, other, dim=-1).mean() for one, other in combinations(z, 2)]
        return BaselineTerms(loss, z, {**means, "view_cosine": _mean(cosines)})

    @abstractmethod
    def branch(self, view: Float[Tensor, "N C H W"], z: Float[Tensor, "N D"]) -> Branch:
        """Return the heads' outputs for a view and its embedding; targets are detached."""

    @abstractmethod
    def pair(self, one: Branch, other: Branch) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of two views' branches, symmetric in them, and its parts by the name of their column."""

    def of_views(self, outputs: Sequence[Branch]) -> tuple[Float[Tensor, ""], dict[str, Float[Tensor, ""]]]:
        """Return the loss of all views' branches, and its parts: by default, the mean over pairs of views."""
        pairs = [self.pair(one, other) for one, other in combinations(outputs, 2)]
        loss = _mean([loss for loss, _ in pairs])
        return loss, {name: _mean([parts[name] for _, parts in pairs]) for name in pairs[0][1]}


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor.to(torch.promote_types(tensor.dtype, torch.float32))


def _mean(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.stack(list(values)).mean(0)


def mlp_head(inputs: int, widths: Sequence[int], norm: str, output_norm: bool = False) -> nn.Module:
    """Build linear layers, each but the last followed by normalization and ReLU; the identity for no layer.

    Args:
        inputs: input features.
        widths: output features of each layer; the last width is the head's. Without any, there is no normalization.
        norm: "batch" or "group"; published heads have batch normalization.
        output_norm: whether the last layer is normalized too, without learned scale and shift.

    Raises:
        UserError: for a layer without features.
    """
    from lightly.models.modules.heads import ProjectionHead  # optional, and slow to import

    if not widths:
        return nn.Identity()
    if min(widths) < 1:
        raise UserError(f"A head expects the width of each layer, at least 1, or [] for no layer, got {list(widths)}.")
    sizes = [inputs, *widths]
    blocks = [(before, after, norm_1d(norm)(after), nn.ReLU()) for before, after in pairwise(sizes[:-1])]
    last = norm_1d(norm, affine=False)(sizes[-1]) if output_norm else None
    return ProjectionHead([*blocks, (sizes[-2], sizes[-1], last, None)])


def head_width(inputs: int, widths: Sequence[int]) -> int:
    """Return the output features of `mlp_head`, which are its input features if it has no layer."""
    return widths[-1] if widths else inputs


def whole_batch(share: Float[Tensor, "n D"]) -> Float[Tensor, "N D"]:
    """Gather the rows of all processes, in order; a single process keeps its own.

    Gradients flow to the rows of every process and are summed over the losses of all processes, as distributed training
    expects of a loss that every process computes on the whole batch: it divides by their number.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return share
    from lightly.utils.dist import gather

    return torch.cat(gather(share.contiguous()))
