"""Densities that torch and Pyro lack, one per file.

Read in this order:

    student_t.py, diagonal_student_t.py    the Student-t, univariate and with a diagonal scale matrix
    unit_normal.py, mixture.py, coupling_flow.py    the standard normal of R^D, mixtures, and a flow
    sphere.py         the base class and geometry of densities on the unit sphere
    von_mises_fisher.py, power_spherical.py, spherical_cauchy.py, spherical_student_t.py    densities on the sphere
    tangent_student_t.py    the Student-t of a tangent plane, mapped to the sphere, and tangent_distance.py
    kl.py             KL divergences in closed form
    log_gamma.py, bessel.py, zonal_integral.py    special functions with few rounding errors
    tail.py, of_constant.py    the normalizer of a Student-t, and how it is remembered
    promoted.py       one floating type for all parameters of a distribution
"""

from vje_ppl.distributions.diagonal_student_t import DiagonalStudentT
from vje_ppl.distributions.mixture import Mixture
from vje_ppl.distributions.power_spherical import PowerSpherical
from vje_ppl.distributions.spherical_cauchy import SphericalCauchy
from vje_ppl.distributions.spherical_student_t import SphericalStudentT
from vje_ppl.distributions.student_t import StudentT
from vje_ppl.distributions.tangent_student_t import TangentStudentT
from vje_ppl.distributions.unit_normal import UnitNormal
from vje_ppl.distributions.von_mises_fisher import VonMisesFisher

__all__ = [
    "DiagonalStudentT",
    "Mixture",
    "PowerSpherical",
    "SphericalCauchy",
    "SphericalStudentT",
    "StudentT",
    "TangentStudentT",
    "UnitNormal",
    "VonMisesFisher",
]
