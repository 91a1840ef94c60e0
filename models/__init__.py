"""Pyro programs: the model, its priors, its likelihoods and what ties their scales."""
