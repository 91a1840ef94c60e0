"""The options of `python -m vje_ppl.diagnose`, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from omegaconf import DictConfig

from vje_ppl.diagnose.posterior.importance import FEWEST_DRAWS
from vje_ppl.errors import UserError
from vje_ppl.settings.checks import NULL, as_list, check_names, check_run, check_table, number, one_of, whole

_FLOAT, _DOUBLE = 4, 8


OPTIONS = {
    "case": one_of("run", "conjugate"),
    "seed": whole(0),
    "batch_size": whole(1),
    "memory_mb": number("megabytes above 0", lambda size: size > 0),
    "samples": whole(FEWEST_DRAWS),  # which k-hat needs
    "targets": whole(1),
    "conjugate.dim": whole(1),
    "images.count": whole(1),
    "nuts.chains": whole(2),
    "nuts.warmup": whole(1),
    "nuts.draws": whole(10),
    "nuts.thin": whole(1),
    "nuts.max_tree_depth": whole(1),
    "nuts.target_accept": number("a probability between 0 and 1", lambda rate: 0 < rate < 1),
    "datatree.samples": whole(1),
    "datatree.nuts_draws": whole(1),
    "datatree.features": whole(1) | NULL,
}


def check_options(config: DictConfig, sections: Sequence[str], synthetic: Sequence[str]) -> None:
    """Check `configs/diagnose.yaml` as composed.

    Args:
        config: the configuration.
        sections: the sections of a run.
        synthetic: the sections of a synthetic case.

    Raises:
        UserError: for the first invalid option.
    """
    check_table(config, OPTIONS)
    if config.case == "run":
        check_run(config.run, ", or case=conjugate")
    if config.sections is not None:
        check_names("sections", as_list(config.sections), sections if config.case == "run" else synthetic)


@dataclass(frozen=True)
class Request:
    """How much is asked for.

    Attributes:
        images: N.
        dim: D.
        targets: observed views of an image.
        samples: draws of the guide and the Gaussians.
        chains: of each posterior.
        draws: kept of each chain.
        powers: number of target densities.
    """

    images: int
    dim: int
    targets: int
    samples: int
    chains: int
    draws: int
    powers: int

    @property
    def parts(self) -> dict[str, int]:
        """Bytes by what takes them."""
        chains = self.images * self.chains * self.draws * (self.dim + 5) * _FLOAT
        return {
            "draws of the guide": self.samples * self.images * self.dim * _FLOAT,
            "log weights": self.powers * 9 * self.samples * self.targets * self.images * _DOUBLE,
            "NUTS draws": (self.powers + 2)
            * chains,  # one set more while simulations are, and one while it is put together
        }

    @property
    def bytes(self) -> int:
        """All of them."""
        return sum(self.parts.values())


def check_memory(request: Request, limit_mb: float) -> None:
    """Refuse what would not fit, before it is worked on.

    Args:
        request: how much is asked for.
        limit_mb: megabytes.

    Raises:
        UserError: with the bytes that it would take.
    """
    if request.bytes <= limit_mb * 1e6:
        return
    parts = ", ".join(f"{size:,} for {name}" for name, size in request.parts.items())
    raise UserError(
        f"{request.images} images of {request.dim} features would take {request.bytes:,} bytes ({parts}), more than "
        f"memory_mb={limit_mb:g} allows; lower images.count, targets, samples, nuts.chains or nuts.draws, or "
        "raise memory_mb."
    )
