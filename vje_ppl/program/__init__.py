"""The probabilistic program, whatever its parts: what VJE is, apart from its prior, likelihood and guide.

Read in this order:

    objective.py      the symmetric conditional ELBO, with its terms
    sites.py          log-probabilities and divergences of a program's sites, checked and named
    amortized.py      what guides share; bounded_scale.py keeps their scales in an interval
    polar.py          an embedding as direction and radius
    noise.py          latent noise that does not depend on the number of processes
    moments.py        means and standard deviations of posteriors
"""
