"""Variational Joint Embedding as a Pyro program: self-supervised image embeddings with a probability model.

Each command, `python -m vje_ppl.<name>`, is a package: `train`, `score`, `evaluate`, `compare`, `diagnose`,
`crosscheck`, `reproduce`, `export` and `benchmark`. To understand the model, read in this order:

    models/           the generative model, its priors and its likelihoods
    guides/           the amortized posteriors
    program/          the objective, and what all programs share
    distributions/    the densities
    methods/          VJE and the baselines behind one interface
    train/            the training of one run
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vje_ppl.methods.method import Method
    from vje_ppl.program.amortized import AmortizedGuide
    from vje_ppl.program.bounded_scale import BoundedScale
    from vje_ppl.program.objective import ObjectiveTerms, SymmetricConditionalELBO
    from vje_ppl.score.loaded_run import load
    from vje_ppl.train.fit import fit

__all__ = ["AmortizedGuide", "BoundedScale", "Method", "ObjectiveTerms", "SymmetricConditionalELBO", "fit", "load"]

#: The module of each name. It is imported when the name is first used, because it imports torch, which takes seconds
#: and which `--help` and `vje_ppl.compare` do not need.
_MODULES = {
    "AmortizedGuide": "vje_ppl.program.amortized",
    "BoundedScale": "vje_ppl.program.bounded_scale",
    "Method": "vje_ppl.methods.method",
    "ObjectiveTerms": "vje_ppl.program.objective",
    "SymmetricConditionalELBO": "vje_ppl.program.objective",
    "fit": "vje_ppl.train.fit",
    "load": "vje_ppl.score.loaded_run",
}


def __getattr__(name: str) -> Any:
    """Import a public name (PEP 562)."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_MODULES[name]), name)
    return value


def __dir__() -> list[str]:
    """Return all names, imported or not."""
    return sorted({*globals(), *__all__})
