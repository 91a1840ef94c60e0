"""The sections of a diagnosis: each is a function that returns a `Section`.

Read in this order:

    reference.py      whether the ground truth is sound
    guide.py          the guide compared with the ground truth; guide_verdicts.py judges it
    calibration.py    simulation-based calibration
    uncertainty.py    whether the posterior scale is informative, by three checks:
                      corruption_check.py, knn_error_check.py, other_data_check.py
    predictive.py     whether the program predicts the target views
    active_features.py    which features carry information, and whether scales are at a bound
    guide_pictures.py, uncertainty_pictures.py, predictive_pictures.py    the pictures of these sections
"""
