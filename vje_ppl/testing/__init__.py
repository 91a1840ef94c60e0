"""The checks that a prior, a likelihood, a guide or a distribution must pass, for your own parts and for the project's.

    vje_ppl.testing.check_likelihood(MyLikelihood(kappa=2.0))
    vje_ppl.testing.check_distribution(MyDistribution, {"loc": [0.0, 3.0], "scale": [1.0, 0.01]})

Each function runs all checks of its kind. It raises one error that lists every failed check by name, with what was
expected, what was received and how to fix it. The project's own tests run the same checks, one by one. Read in this
order:

    run.py, report.py     running the checks, and the report
    subject.py, whole.py  the part under test, and the whole objective with the part in it
    prior.py, likelihood.py, guide.py, distribution.py    the checks of each kind
    normalized.py, integral.py, moments.py, nodes.py      whether densities integrate to one
    density.py, draws.py, precision.py, stress.py, traced.py, twin.py    other groups of checks, and their inputs
    documented.py         the checks of docstrings
"""

from vje_ppl.testing.distribution import DISTRIBUTION_CHECKS, check_distribution
from vje_ppl.testing.guide import GUIDE_CHECKS, check_guide
from vje_ppl.testing.likelihood import LIKELIHOOD_CHECKS, check_likelihood
from vje_ppl.testing.prior import PRIOR_CHECKS, check_prior
from vje_ppl.testing.report import ConformanceError, Outcome, Report
from vje_ppl.testing.run import Check, Checks, outcome
from vje_ppl.testing.subject import Subject

__all__ = [
    "DISTRIBUTION_CHECKS",
    "GUIDE_CHECKS",
    "LIKELIHOOD_CHECKS",
    "PRIOR_CHECKS",
    "Check",
    "Checks",
    "ConformanceError",
    "Outcome",
    "Report",
    "Subject",
    "check_distribution",
    "check_guide",
    "check_likelihood",
    "check_prior",
    "outcome",
]
