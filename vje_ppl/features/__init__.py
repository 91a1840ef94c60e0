"""A run opened for evaluation, and features of whole data sets.

Read in this order:

    opened_run.py     a run with its data, and features that are computed when first asked for
    subject.py        an encoder with its program, trained or untrained
    extract.py        features of any number of images, in memory or in a file (stored_rows.py)
    in_memory.py      the same for an evaluation while training
    pixels.py         raw pixels as features
    other_data.py     another data set, as the run's images are
    shards.py         processes that share the work
"""
