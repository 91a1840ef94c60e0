"""Densities that NumPyro lacks, one per file: the twins of `vje_ppl.distributions`, under the same names.

To read them in order, see `vje_ppl.distributions`.
"""

from vje_ppl.numpyro_port.distributions.diagonal_student_t import DiagonalStudentT
from vje_ppl.numpyro_port.distributions.mixture import Mixture
from vje_ppl.numpyro_port.distributions.power_spherical import PowerSpherical
from vje_ppl.numpyro_port.distributions.spherical_cauchy import SphericalCauchy
from vje_ppl.numpyro_port.distributions.spherical_student_t import SphericalStudentT
from vje_ppl.numpyro_port.distributions.student_t import StudentT
from vje_ppl.numpyro_port.distributions.tangent_student_t import TangentStudentT
from vje_ppl.numpyro_port.distributions.unit_normal import UnitNormal
from vje_ppl.numpyro_port.distributions.von_mises_fisher import VonMisesFisher

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
