"""Likelihoods of the target embedding, one per file: `likelihood(latent, scale, target)` declares the observed sites.

Read in this order:

    polar_tangent_student_t.py    the default: a direction on the sphere and a radius, each with heavy tails
    polar_student_t.py    the ambient direction, a Student-t of R^D
    polar_normal.py       its Gaussian limit
    cartesian_student_t.py    the raw embedding, without direction and radius
    polar_spherical_student_t.py, polar_spherical_cauchy.py    directions with heavy tails, normalized on the sphere
    polar_von_mises_fisher.py, polar_power_spherical.py        other directions normalized on the sphere
"""
