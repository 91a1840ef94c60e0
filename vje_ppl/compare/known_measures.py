"""The base measures of the project's own likelihoods, known without building them.

Building a likelihood imports torch, which takes several times as long as a comparison. A test compares these tables
with the built parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_LIKELIHOODS = "vje_ppl.models.likelihoods"

#: The base measure of each likelihood, with a radius that does not change it.
_MEASURES = {
    f"{_LIKELIHOODS}.cartesian_student_t.CartesianStudentT": "cartesian",
    f"{_LIKELIHOODS}.polar_normal.PolarNormal": "polar",
    f"{_LIKELIHOODS}.polar_student_t.PolarStudentT": "polar",
    f"{_LIKELIHOODS}.polar_power_spherical.PolarPowerSpherical": "sphere",
    f"{_LIKELIHOODS}.polar_spherical_cauchy.PolarSphericalCauchy": "sphere",
    f"{_LIKELIHOODS}.polar_spherical_student_t.PolarSphericalStudentT": "sphere",
    f"{_LIKELIHOODS}.polar_von_mises_fisher.PolarVonMisesFisher": "sphere",
    f"{_LIKELIHOODS}.polar_tangent_student_t.PolarTangentStudentT": "sphere, at most one",
}

#: What each radial site adds to it.
_RADII = {
    "vje_ppl.models.radius.StudentTRadius": "",
    "vje_ppl.models.radius.NormalRadius": "",
    "vje_ppl.models.radius.LogStudentTRadius": ", positive radius",
    "vje_ppl.models.radius.NoRadius": ", direction only",
}

#: Further parts that a likelihood may contain, which do not affect it.
_OTHERS = frozenset(
    {
        "vje_ppl.distributions.DiagonalStudentT",
        f"{_LIKELIHOODS}.polar_student_t.factorized",
        "vje_ppl.models.radius_scales.unit",
        "vje_ppl.models.radius_scales.projected",
    }
)

#: The options of all these parts. A run of another version may have others, so it is built, which may refuse them.
_OPTIONS = frozenset({"_target_", "_partial_", "df", "learn_df", "reference", "direction", "radius", "scale"})


def known_measure(likelihood: Any) -> str | None:
    """Return the base measure of a likelihood that consists of the project's own parts.

    Args:
        likelihood: its configuration, in plain containers.

    Returns:
        None if any part or option is not in the tables, or a value is an unresolved interpolation.
    """
    if not isinstance(likelihood, Mapping) or "${" in repr(likelihood):
        return None
    radius = likelihood.get("radius", {"_target_": "vje_ppl.models.radius.StudentTRadius"})
    if not isinstance(radius, Mapping):
        return None
    others = {key: value for key, value in likelihood.items() if key != "radius"}
    if not (_has_no_other_part(others) and _has_no_other_part(radius)):
        return None
    measure, suffix = _MEASURES.get(str(likelihood.get("_target_"))), _RADII.get(str(radius.get("_target_")))
    return None if measure is None or suffix is None else measure + suffix


def _has_no_other_part(part: Mapping[str, Any]) -> bool:
    """Return whether a part has only known options, and no parts inside except those without effect."""
    if not _OPTIONS.issuperset(part):
        return False
    inside = [value for value in part.values() if isinstance(value, Mapping | list)]
    return all(
        isinstance(one, Mapping) and one.get("_target_") in _OTHERS and _has_no_other_part(one) for one in inside
    )
