"""Posteriors of single images, and what they are compared with.

Read in this order:

    problem.py        posteriors to be diagnosed: densities, draws, and the guide's mean and scale
    run_problem.py, conjugate.py    the problem of a run, and of a synthetic case with an exact answer
    ported_program.py a run's prior and likelihood in NumPyro
    lanes.py, nuts.py the sampler, many images at once
    gaussians.py      the best Gaussians, diagonal and full
    gap.py, importance.py    the guide's gap to the log evidence
    calibration.py    ranks of draws
    reference.py      all of these, each computed once
    datatree.py       as an ArviZ `DataTree`
"""
