"""What a likelihood's base measure says about its ELBO."""

from __future__ import annotations


def elbo_is_bound(base_measure: str) -> bool | None:
    """Return whether the ELBO is a lower bound on the log evidence of a model that integrates to at most one.

    It is, if the density of each site integrates to at most one over the values that the site can have. The ambient
    Student-t and the Normal do not: on the sphere, their integral depends on the scale (`docs/densities.md`).

    Args:
        base_measure: of the likelihood, such as "polar" or "sphere, positive radius".

    Returns:
        None for a base measure that is not this project's.
    """
    kind = base_measure.partition(",")[0]
    return {"cartesian": True, "sphere": True, "polar": False}.get(kind)


def bound_note(base_measure: str) -> str:
    """Return a sentence on whether ELBOs under a base measure are bounds."""
    match elbo_is_bound(base_measure):
        case True:
            return f"ELBO [{base_measure}] is a lower bound on the log evidence."
        case False:
            return (
                f"ELBO [{base_measure}] is not a bound on the log evidence of a normalized model: on the sphere, the "
                "density of the direction does not integrate to one."
            )
        case _:
            return f"ELBO [{base_measure}]: whether it is a bound on the log evidence is not known."
