"""`python -m vje_ppl.reproduce`: the paper's figures and tables, from many runs that are each computed once.

Read in this order:

    command.py        the command
    study.py          a study, read from `configs/study/`: the runs behind a figure or table
    cell.py           one run, its evaluation, and the record of its results
    pool.py           computes cells on the cores or GPUs of a machine
    results.py        finished cells, and their means over seeds
    products/         the figures and tables
"""
