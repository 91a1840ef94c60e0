"""`python -m vje_ppl.train`: training one run.

Read in this order:

    __main__.py       the command
    run.py            one run, from its configuration or its saved state to its end
    fit.py            `vje_ppl.fit`, the same from a script or a notebook; given_images.py stores its images;
                      given_dataset.py reads those of a torch data set
    session.py        the objects that a run needs: data, module, devices, folder
    start.py          the weights that a new run starts from
    summary.py        the first lines, the closing table, and the final figures
    loop.py           epochs: steps, k-NN, rows of the history, checkpoints, signals
    step.py           one batch: forward, gradient, clipping, optimizer
    freezing.py       parts of the encoder that are not trained
    cached_views.py   embeddings of a frozen encoder, computed once
    accumulation.py   the terms of a step that is split into micro-batches
    monitor.py        means over an epoch, and the detection of collapse and of values that are not finite
    run_log.py        TensorBoard and W&B
    online_knn.py     k-NN accuracy during training; online_rank.py: RankMe and LiDAR
    options.py        the checks of options; batch_size.py has one that depends on the module
"""
