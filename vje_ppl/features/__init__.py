"""A run opened for evaluation, and features of whole data sets.

Read in this order:

    opened_run.py     a run with its data, and features that are computed when first needed
    embedder.py       an encoder with its program, trained or untrained
    extract.py        features of any number of images, in memory or in a file; raw pixels
    other_data.py     another data set, converted to the form of the run's images
    shards.py         dividing the work among processes
"""
