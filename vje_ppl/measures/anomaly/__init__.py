"""Anomaly scores of images, from the probability model and from distances.

Read in this order:

    kinds.py          the scores by name, with their formulas
    view_pairs.py     the views and draws over which they are averaged
    scorer.py         all scores of a set of images, and of an opened run
    program_scores.py, conditional_densities.py, image_noise.py    scores from the probability model
    distances.py      distances between features
    tables.py         tables of scores
"""
