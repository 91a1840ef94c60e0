"""`python -m vje_ppl.diagnose`: tests whether the guide of a trained run can be trusted.

Read in this order:

    command.py        the command: runs the sections one after the other, and writes the report
    run.py            the run opened for diagnosis, with the views and posteriors to be diagnosed
    posterior/        the ground truth: NUTS, the gap to the log evidence, calibration
    statistics/       what is computed from posteriors and predictions
    sections/         the sections of the report, with their pictures
    report/           the HTML page
    faults.py         faults to plant on purpose, to test the checks
    options.py        the checks of options
"""
