"""Projection and prediction heads: lightly's, with the normalization that the configuration chooses."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

from vje_ppl.errors import UserError
from vje_ppl.networks.normalization import norm_1d


def mlp_head(inputs: int, widths: Sequence[int], norm: str, output_norm: bool = False) -> nn.Module:
    """Linear layers, each but the last followed by normalization and ReLU.

    Args:
        inputs: features that come in.
        widths: output features of each layer; the last one's are the head's.
        norm: "batch" or "group"; published heads have batch normalization.
        output_norm: whether the last layer is normalized too, without learned scale and shift.

    Raises:
        UserError: for no layer, or one without features.
    """
    from lightly.models.modules.heads import ProjectionHead  # optional, and slow to import

    if not widths or min(widths) < 1:
        raise UserError(f"A head expects the widths of one layer or more, each at least 1, got {list(widths)}.")
    sizes = [inputs, *widths]
    blocks = [(before, after, norm_1d(norm)(after), nn.ReLU()) for before, after in pairwise(sizes[:-1])]
    last = norm_1d(norm, affine=False)(sizes[-1]) if output_norm else None
    return ProjectionHead([*blocks, (sizes[-2], sizes[-1], last, None)])
