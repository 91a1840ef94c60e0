"""Pyro programs: the model, its priors and its likelihoods.

Read in this order:

    vje.py            the model: a latent from the prior, and the target embedding from the likelihood
    priors/           the priors, one per file
    likelihoods/      the likelihoods, one per file; `polar_tangent_student_t` is the default
    radius.py         the radial site of all polar likelihoods; radius_scales.py has its scales
    scales.py         how the likelihood's scale depends on the guide's; isotropic.py averages it over the features
    degrees_of_freedom.py    degrees of freedom, fixed or learned
"""
