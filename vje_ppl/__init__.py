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

from vje_ppl.methods.method import Method
from vje_ppl.program.amortized import AmortizedGuide
from vje_ppl.program.bounded_scale import BoundedScale
from vje_ppl.program.objective import ObjectiveTerms, SymmetricConditionalELBO
from vje_ppl.score.loaded_run import load

__all__ = ["AmortizedGuide", "BoundedScale", "Method", "ObjectiveTerms", "SymmetricConditionalELBO", "load"]
