"""`python -m vje_ppl.evaluate`: how good the features and anomaly scores of a trained run are.

Read in this order:

    command.py        the command: runs each kind of evaluation, and writes its results before the next starts
    options.py        the checks of options
    knn.py, linear.py, one_class.py, ood.py, uncertainty.py    the kinds of evaluation; measures: `vje_ppl.measures`
    outcome.py        the results of one kind, and the file that they are written to
    pictures.py       the pictures
"""
