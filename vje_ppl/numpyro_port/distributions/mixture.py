"""Mixtures of distributions of one family. Twin of `vje_ppl.distributions.mixture`."""

from __future__ import annotations

from typing import Any

import numpyro.distributions as dist


class Mixture(dist.MixtureSameFamily):
    """K components of one family on R^D, with weights w = softmax(logits): `log p(x) = log Σ_k w_k p_k(x)`.

    Differs from its twin: it is NumPyro's own mixture, since plates expand nothing and XLA fuses the sum over features.
    """

    def __init__(self, logits: Any, components: dist.Distribution, *, validate_args: bool | None = None) -> None:
        super().__init__(dist.Categorical(logits=logits), components, validate_args=validate_args)
