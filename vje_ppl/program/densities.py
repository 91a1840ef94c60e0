"""How log densities and divergences are computed: as they are written, or compiled."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from vje_ppl.distributions.kl import closed_form_kl


class Densities(NamedTuple):
    """Two functions that hold nearly all of the objective's arithmetic.

    Attributes:
        log_prob: of a distribution and a value, with further arguments of its `log_prob`.
        kl: of two distributions, or None if there is no closed form.
    """

    log_prob: Callable[..., Tensor]
    kl: Callable[[Distribution, Distribution], Tensor | None]


def _log_prob(distribution: Any, value: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    return distribution.log_prob(value, *args, **kwargs)


#: As they are written.
DENSITIES = Densities(_log_prob, closed_form_kl)


@cache
def compiled() -> Densities:
    """Return both, compiled at their first use, and again for each shape and type of distribution.

    What the compiler cannot follow, such as a distribution that looks at numbers, runs as it is written.
    """
    return Densities(torch.compile(_log_prob, dynamic=False), torch.compile(closed_form_kl, dynamic=False))
