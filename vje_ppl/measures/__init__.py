"""Measures of features and scores.

Read in this order:

    knn.py            weighted k-NN accuracy
    cosine.py         cosine distances of nearly parallel vectors
    whitening.py      features without correlations, for k-NN on whitened features
    embedding_rank.py RankMe and LiDAR, which need no labels
    linear_probe.py   the accuracy of a linear classifier
    detection.py      AUROC, AUPR and FPR95 of a score that separates two sets of images
    risk_coverage.py  risk–coverage curves and their area
    retrieval.py      errors of the nearest neighbour, and an uncertainty that should know them
    anomaly/          the anomaly scores
"""
