"""`python -m vje_ppl.benchmark`: speed and memory, as ratios measured in one run.

Read in this order:

    options.py        the checks of the options
    command.py        the command: runs the measurements, prints the table with its targets, writes the JSON file
    step.py           the cost of the probabilistic program compared with the same loss written by hand in plain torch,
                      and of a training step compared with its encoder alone
    throughput.py     images per second compared with SimSiam as lightly trains it
    decoding.py       from JPEG files to views, compared with torchvision
    memory.py         the peak memory of a run
    startup.py        the time until a command does something, compared with importing torch
    scaling.py        how the time of a step grows with its sizes, and k-NN with its bank
    timing.py         alternating timings of several pieces of code
    campaign/         on=gpu: everything about one GPU, in stages with time limits
"""
