"""Anomaly scores of images, from the probability model and from distances.

Read in this order:

    kinds.py          the scores by name, with their formulas
    view_pairs.py     the views and draws over which they are averaged
    scorer.py         all scores of a set of images, and of an opened run
    program_scores.py    scores from the probability model
    program_terms.py, conditional_densities.py, traced.py, image_noise.py    the model's terms behind them
    joint.py, evidence.py, surprise_rank.py, typicality.py, regret.py    one family of scores each
    refinement.py     posteriors moved away from the guide's, for `regret`
    gaussian.py, distances.py    distances between features
    complexity.py     the size of an image when compressed
    tables.py         tables of scores
"""
