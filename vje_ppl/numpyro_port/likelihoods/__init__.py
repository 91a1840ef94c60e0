"""The likelihoods in NumPyro, one per file: `likelihood(latent, scale, target)` declares the observed sites.

The twins of `vje_ppl.models.likelihoods`, under the same names. Start with polar_student_t.py, the default. To read
them in order, see `vje_ppl.models.likelihoods`.
"""
