"""From images to the posteriors that are diagnosed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from vje_ppl.diagnose.run import DiagnosedRun

#: From prepared images (N, C, S, S) to posteriors.
Infer = Callable[[Tensor], Any]


def inferring(diagnosed: DiagnosedRun) -> Infer:
    """The way from prepared images to the guide's posteriors, with the fault where one is planted."""
    guide = diagnosed.program.guide

    @torch.no_grad()
    def infer(prepared: Tensor) -> Any:
        return diagnosed.fault.posterior(guide.infer(guide.embed(prepared)))

    return infer
