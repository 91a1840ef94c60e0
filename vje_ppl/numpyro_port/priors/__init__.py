"""The priors in NumPyro, one per file: when called without arguments, each returns a distribution over R^D.

The twins of `vje_ppl.models.priors`, under the same names. Start with standard_normal.py, the default. To read them in
order, see `vje_ppl.models.priors`.
"""
