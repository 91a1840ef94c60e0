"""Guides, one a file: posteriors over the latent embedding, from parameters that the torch guide inferred."""
