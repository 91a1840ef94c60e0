"""The guides in NumPyro, one per file: posteriors over the latent, given the parameters that the torch guide infers.

The twins of `vje_ppl.guides`. Read in this order:

    diagonal_normal.py    the default
    low_rank_normal.py    with correlations in a few directions
    flow.py               affine couplings on top of the diagonal Normal
"""
