"""A batch that several processes share, put together for losses that compare images with each other."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, distributed


def whole_batch(share: Float[Tensor, "n D"]) -> Float[Tensor, "N D"]:
    """The rows of all processes, in order; the share itself where there is one process.

    Gradients flow to the rows of every process and are summed over the losses of all, as distributed training, which
    divides by their number, expects of a loss that every process computes of the whole batch.
    """
    if not (distributed.is_available() and distributed.is_initialized()) or distributed.get_world_size() == 1:
        return share
    from lightly.utils.dist import gather

    return torch.cat(gather(share.contiguous()))
