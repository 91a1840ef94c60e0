"""Likelihoods of the target embedding, one a file: `likelihood(latent, scale, target)` declares the observed sites."""
