"""Variational Joint Embedding as a Pyro program: self-supervised image embeddings with a probability model."""

from vje_ppl.methods.method import Method
from vje_ppl.program.amortized import AmortizedGuide
from vje_ppl.program.bounded_scale import BoundedScale
from vje_ppl.program.objective import ObjectiveTerms, SymmetricConditionalELBO
from vje_ppl.runs.trained_run import load

__all__ = ["AmortizedGuide", "BoundedScale", "Method", "ObjectiveTerms", "SymmetricConditionalELBO", "load"]
