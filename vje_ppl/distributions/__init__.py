"""Densities that Pyro lacks, one a file."""

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
