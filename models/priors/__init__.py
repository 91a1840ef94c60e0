"""Priors over the latent, one per file: when called without arguments, each returns a distribution over R^D.

Read in this order:

    standard_normal.py    the default
    ard_normal.py         a Normal with a learned scale for each feature
    student_t.py, laplace.py    heavier tails
    mixture.py            a learned mixture of Normals
    vamp.py               a mixture of the guide's posteriors at learned pseudo-embeddings
"""
