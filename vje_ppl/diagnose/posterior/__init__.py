"""Posteriors of single images, and the references that they are compared with.

Read in this order:

    problem.py        the posteriors to be diagnosed: densities, draws, and the guide's mean and scale
    run_problem.py, conjugate.py    the problem of a run, and of a synthetic case with an exact answer
    ported_program.py a run's prior and likelihood in NumPyro
    lanes.py, nuts.py the sampler, for many images at once
    gaussians.py      the best Gaussians, for each target and for all targets of an image
    gap.py, importance.py    the guide's gap to the log evidence, and importance weights
    offsets.py        systematic errors of the guide
    calibration.py    ranks of simulated true values among draws
    reference.py      all references, each computed when first needed
    datatree.py       the results as an ArviZ `DataTree`
"""
