"""Guides, one a file: amortized posteriors over the latent embedding, with the encoder inside."""
