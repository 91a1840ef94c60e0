"""The certificate: Pyro against NumPyro against a third oracle. See `python -m vje_ppl.crosscheck`."""
