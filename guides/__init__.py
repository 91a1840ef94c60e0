"""Guides, one per file: amortized posteriors over the latent, which contain the encoder.

All are subclasses of `vje_ppl.program.amortized.AmortizedGuide`. Read in this order:

    diagonal_normal.py    the default
    low_rank_normal.py    with correlations in a few directions
    flow.py               affine couplings on top of the diagonal Normal
"""
