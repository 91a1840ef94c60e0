"""`python -m vje_ppl.benchmark on=gpu`: everything worth knowing about one GPU, in at most eight minutes.

Each stage runs in a process of its own, which is killed at its time limit, and writes what it has measured so far. So a
late failure or a hang loses nothing.

Read in this order:

    run.py            the campaign: starts the stages, and writes the results after each
    limits.py         the time limits of the stages, and their sizes on a GPU and with smoke=true
    __main__.py       the process of one stage
    notebook.py       how a stage keeps its results
    correctness.py    the tests marked `gpu`
    throughput.py     images per second of all methods; shares.py splits a step into its parts
    program.py        the cost of the probabilistic program; launches.py counts its operations
    scaling.py        the same as without on=gpu, and k-NN with a bank of ImageNet's size
    training.py       a training run, its evaluation and models of one class
    report.py         the targets, and the results in Markdown
"""
