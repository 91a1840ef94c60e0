"""Variational Joint Embedding as a Pyro program: self-supervised image embeddings with a probability model."""

from vje_ppl.loading import load
from vje_ppl.objective import ObjectiveTerms, SymmetricConditionalELBO

__all__ = ["ObjectiveTerms", "SymmetricConditionalELBO", "load"]
