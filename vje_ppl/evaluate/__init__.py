"""What a trained run is worth downstream: `python -m vje_ppl.evaluate`.

Read in this order:

    __main__.py       the command: one kind of evaluation after the other, each written before the next starts
    options.py        the checks of options
    knn.py, linear.py, one_class.py, ood.py    a kind each; the measures themselves are in `vje_ppl.measures`
    outcome.py        the results of one kind, and the file that they are written to
    pictures.py       their pictures
"""
