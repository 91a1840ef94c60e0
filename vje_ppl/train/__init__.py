"""Training one run: `python -m vje_ppl.train`.

Read in this order:

    run.py            one run from its configuration to its end
    session.py        what the run needs: data, module, devices, folder
    resume.py         the saved state that it resumes from
    summary.py        what is printed before and after, and the final figures
    loop.py           epochs: steps, k-NN, rows of the history, checkpoints, signals
    step.py           one batch: forward, gradient, clipping, optimizer
    monitor.py        means over an epoch, and the watch for collapse and for values that are not finite
    rollback.py, accumulation.py    parts of a step
    run_log.py        TensorBoard and W&B
    online_knn.py     k-NN accuracy while training
    options.py        the checks of options
"""
