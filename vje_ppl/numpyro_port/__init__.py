"""The probabilistic program in NumPyro: the same sites, plates and semantics as in Pyro, and nothing from torch.

Every file is the twin of one in Pyro, with the same names and the same order of lines:

    models/*                                      vje.py, scales.py, radius.py, ...
    models/priors/*, models/likelihoods/*         priors/*, likelihoods/*
    guides/*                                      guides/*
    vje_ppl/distributions/*                       distributions/*
    vje_ppl/program/*                             polar.py, objective.py, sites.py

Arguments, units, base measures, errors and sources are those of the original, whose docstrings have them; a docstring
here has the formula and what differs.

The encoder and the inference network stay in torch: a guide here takes the posterior's parameters as arrays. Importing
`vje_ppl` does not import this package, nor JAX; importing this package changes none of JAX's settings.
"""
