"""Anomaly scores of images, of the probability model and by distance.

Read in this order:

    kinds.py          the scores by name
    view_pairs.py     the views and draws that they are averaged over
    scorer.py         all scores of a set of images
    program_scores.py, conditional_densities.py, image_noise.py    scores of the probability model
    distances.py      distances between features
    scored_images.py, tables.py    the scores of an opened run, and their tables
"""
