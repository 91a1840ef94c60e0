"""The parts of the probabilistic program that do not depend on the choice of prior, likelihood and guide.

Read in this order:

    objective.py      the symmetric conditional ELBO and its terms
    sites.py          the log-likelihoods and the KL of a program's sites, with checks
    densities.py      how log densities and divergences are computed: as they are written, or compiled
    amortized.py      the base class of guides; bounded_scale.py keeps their scales in an interval
    polar.py          an embedding as direction and radius
    base_measure.py   whether an ELBO is a bound on the log evidence
    noise.py          latent noise that does not depend on the number of processes
    moments.py        means and standard deviations of posteriors
    borrowed.py       a method of another module, stored so that copies work
    parameter_store.py    Pyro's global parameter store
"""
