"""Priors over the latent embedding, one a file: called without arguments, each returns a distribution over (D,)."""
