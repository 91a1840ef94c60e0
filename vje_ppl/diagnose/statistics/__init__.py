"""The statistics that the sections of a diagnosis report: functions of arrays or posteriors.

The files are independent of each other; this is the order in which the sections use them:

    posterior_scale.py    the geometric mean scale of an image's posterior, also under corruption
    corruptions.py        noise, blur and occlusion of rising severity
    predictive_draws.py   target views drawn from a program, beside the observed targets
    pit.py                probability integral transforms by rank, and their distance from uniform
    activity.py           active features, effective rank, and the KL of each feature
"""
