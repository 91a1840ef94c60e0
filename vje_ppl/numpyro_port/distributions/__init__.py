"""Densities that NumPyro lacks, one a file. Twins of `vje_ppl.distributions`."""

from vje_ppl.numpyro_port.distributions.diagonal_student_t import DiagonalStudentT
from vje_ppl.numpyro_port.distributions.student_t import StudentT
from vje_ppl.numpyro_port.distributions.unit_normal import UnitNormal

__all__ = ["DiagonalStudentT", "StudentT", "UnitNormal"]
