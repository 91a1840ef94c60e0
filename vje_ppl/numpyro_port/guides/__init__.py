"""The guides in NumPyro, one per file: posteriors over the latent, from parameters that the torch guide has inferred.

The twins of `vje_ppl.guides`. Read in this order:

    diagonal_normal.py    the default
    low_rank_normal.py    with correlations in a few directions
    flow.py               affine couplings on top of the diagonal Normal
"""
