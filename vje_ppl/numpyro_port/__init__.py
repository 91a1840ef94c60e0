"""The probabilistic program in NumPyro: the same sites, plates and semantics as in Pyro, without torch.

Each file is the twin of a file in Pyro, with the same names and the same order of lines. Read the original first:

    models/*                                      vje.py, scales.py, isotropic.py, radius.py, radius_scales.py,
                                                  degrees_of_freedom.py
    models/priors/*, models/likelihoods/*         priors/*, likelihoods/*
    guides/*                                      guides/*
    vje_ppl/distributions/*                       distributions/*
    vje_ppl/program/*                             polar.py, objective.py, sites.py

Docstrings here give the formula and the differences only. Arguments, units, base measures, errors and sources are those
of the original and are documented there. Only pytree.py, which makes frozen dataclasses JAX pytrees, and memory.py, for
JAX beside torch on a GPU, have no original.

The encoder and the inference network stay in torch: a guide here takes the posterior's parameters as arrays. Importing
`vje_ppl` does not import this package, nor JAX; importing this package changes none of JAX's settings.
"""
