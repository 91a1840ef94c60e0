"""`python -m vje_ppl.crosscheck`: Pyro, NumPyro, SciPy and closed forms evaluated on the same numbers and compared.

Read in this order:

    __main__.py       the command
    certificate.py    the errors of every quantity over all cases, compared with tolerances
    cases.py          the inputs, drawn with NumPy; variants.py lists the models that they cover
    quantities.py     the names of the compared quantities, which are the rows of the table
    pyro_side.py, numpyro_side.py, scipy_side.py    the values from each library
    closed_form.py, closed_form_student_t.py    values and gradients by hand; rounded.py bounds rounding errors
    trained.py        the comparison for a trained run, on its own images
    normalization.py  integrals of the densities; quadrature.py and normalization_picture.py belong to it
"""
