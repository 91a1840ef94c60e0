"""The figures and tables of `reproduce`, one per file: each is a function from `Results` to a `Product`.

Read in this order:

    figure_2.py       the Student-t's loss and influence; needs no runs
    figure_3.py       k-NN accuracy over training
    figure_4.py       one-class AUROC over β and ν
    knn_linear.py, one_class.py, ood.py, scores.py, epochs.py, ablation.py    the tables of results
    tuning.py, likelihood.py    the trials of learning rates and of likelihoods
    dots.py           the picture of a table: one dot per method
"""
