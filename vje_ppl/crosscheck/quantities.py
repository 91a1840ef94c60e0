"""The names of the compared quantities, which are the rows of the table.

Each of `pyro_side`, `numpyro_side`, `closed_form` and `scipy_side` has two functions, `densities` and `program`, from
cases to a dictionary of arrays under these names. A value has one entry per case. A gradient has the shape of the
argument by which it is taken.
"""

from __future__ import annotations

POLAR_DIRECTION = "polar: direction"
POLAR_RADIUS = "polar: radius"
POLAR_GRADIENT = "polar: d/dvector"

DIAGONAL_STUDENT_T = "diagonal Student-t"
FACTORIZED_STUDENT_T = "factorized Student-t"
STUDENT_T = "univariate Student-t"
BROADCAST = "diagonal Student-t, broadcast batch shapes"

PRIOR = "site latent (prior)"
GUIDE = "site latent (guide)"
DIRECTION = "site direction"
RADIUS = "site radius"

KL = "KL"
ELBO = ("conditional ELBO 0→1", "conditional ELBO 1→0")
OBJECTIVE = "symmetric objective"
LOSS = "loss"
DETACHED = "symmetric objective: d/dtarget, detached"


def gradient(quantity: str, *arguments: str) -> tuple[str, ...]:
    """Return the names of the gradients of a quantity, in order."""
    return tuple(f"{quantity}: d/d{argument}" for argument in arguments)


DENSITY_ARGUMENTS = ("df", "loc", "scale", "target")
SITE_ARGUMENTS = ("latent", "scale", "target", "df")
ELBO_ARGUMENTS = ("loc", "scale", "target", "df", "radius_df")
FREE_SCALE = f"{OBJECTIVE}: d/dlog of a free scale"

#: The rows in the order of the table.
ORDER = (
    POLAR_DIRECTION,
    POLAR_RADIUS,
    POLAR_GRADIENT,
    *(
        name
        for density in (DIAGONAL_STUDENT_T, FACTORIZED_STUDENT_T, STUDENT_T)
        for name in (density, *gradient(density, *DENSITY_ARGUMENTS))
    ),
    BROADCAST,
    PRIOR,
    *gradient(PRIOR, "latent"),
    GUIDE,
    *gradient(GUIDE, "latent", "loc", "scale"),
    DIRECTION,
    *gradient(DIRECTION, *SITE_ARGUMENTS),
    RADIUS,
    *gradient(RADIUS, *SITE_ARGUMENTS),
    KL,
    *gradient(KL, "loc", "scale"),
    *(name for elbo in ELBO for name in (elbo, *gradient(elbo, *ELBO_ARGUMENTS))),
    OBJECTIVE,
    *gradient(OBJECTIVE, *ELBO_ARGUMENTS),
    FREE_SCALE,
    DETACHED,
    LOSS,
)


def is_vector(quantity: str) -> bool:
    """Return whether the quantity is a vector over features for each case, rather than a number."""
    return quantity == POLAR_DIRECTION or quantity.rpartition(": d/d")[2].split(",")[0] in (
        "vector",
        "latent",
        "loc",
        "scale",
        "target",
    )
