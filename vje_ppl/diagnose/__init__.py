"""Whether the guide of a trained run can be trusted: `python -m vje_ppl.diagnose`.

Read in this order:

    __main__.py       the command: section after section, and the report
    run.py            the opened run: the views and posteriors to be diagnosed
    posterior/        the ground truth: NUTS, the gap to the log evidence, calibration
    statistics/       what is computed from posteriors and predictions
    sections/         a section of the report each, with its pictures
    report/           the HTML page
    faults.py         faults planted on purpose, to see that they are noticed
    options.py        the checks of options
"""
