"""The checks that a prior, likelihood, guide or distribution must pass, for your own and for the project's.

    vje_ppl.testing.check_likelihood(MyLikelihood(kappa=2.0))
    vje_ppl.testing.check_distribution(MyDistribution, {"loc": [0.0, 3.0], "scale": [1.0, 0.01]})

Each function runs all checks of its kind, and raises one error that lists every check that failed by name, with what
was expected, what came, and what to do. The project's own tests run the same checks, one by one.
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
