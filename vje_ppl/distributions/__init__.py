"""Densities that Pyro lacks, one a file."""

from vje_ppl.distributions.diagonal_student_t import DiagonalStudentT
from vje_ppl.distributions.student_t import StudentT
from vje_ppl.distributions.unit_normal import UnitNormal

__all__ = ["DiagonalStudentT", "StudentT", "UnitNormal"]
