"""Plain torch networks: encoders, the inference network, and their normalization."""
