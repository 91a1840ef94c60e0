"""Training one run: `python -m vje_ppl.train`.

Read in this order:

    run.py            one run from its configuration: data, module, devices, folder, and what is printed
    loop.py           epochs: steps, k-NN, rows of the history, checkpoints, signals
    step.py           one batch: forward, gradient, clipping, optimizer
    monitor.py        means over an epoch, and the watch for collapse
    finiteness.py, rollback.py, accumulation.py, schedule.py    parts of a step
    online_knn.py     k-NN accuracy while training
    options.py        the checks of options
"""
