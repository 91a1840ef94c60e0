"""The options of `python -m vje_ppl.diagnose`, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.diagnose.posterior.importance import FEWEST_DRAWS
from vje_ppl.errors import UserError
from vje_ppl.settings.checks import listed

_FLOAT, _DOUBLE = 4, 8


#: Whole numbers and their least value.
_AT_LEAST = {
    "seed": 0,
    "batch_size": 1,
    "samples": FEWEST_DRAWS,  # which k-hat needs
    "targets": 1,
    "conjugate.dim": 1,
    "images.count": 1,
    "nuts.chains": 2,
    "nuts.warmup": 1,
    "nuts.draws": 10,
    "nuts.thin": 1,
    "nuts.max_tree_depth": 1,
    "datatree.samples": 1,
    "datatree.nuts_draws": 1,
}


def check_options(config: DictConfig, sections: Sequence[str], synthetic: Sequence[str]) -> None:
    """Refuse what cannot be meant, with one sentence.

    Args:
        config: the composed configuration of `configs/diagnose.yaml`.
        sections: those that there are.
        synthetic: those that a synthetic case has.

    Raises:
        UserError: for the first mistake.
    """
    if config.case not in ("run", "conjugate"):
        raise UserError(f"case expects run or conjugate, got {config.case}.")
    if config.case == "run" and not config.run:
        raise UserError("run expects the folder of a trained run; give run=runs/<name>, or case=conjugate.")
    if config.sections is not None:
        _check_sections(listed(config.sections), sections if config.case == "run" else synthetic)
    for key, least in _AT_LEAST.items():
        value = OmegaConf.select(config, key)
        if not (_is_whole(value) and value >= least):
            raise UserError(f"{key} expects a whole number of at least {least}, got {value}.")
    features = config.datatree.features
    if features is not None and not (_is_whole(features) and features >= 1):
        raise UserError(f"datatree.features expects a whole number of at least 1 or null, got {features}.")
    if not (isinstance(config.nuts.target_accept, float) and 0 < config.nuts.target_accept < 1):
        raise UserError(f"nuts.target_accept expects a probability between 0 and 1, got {config.nuts.target_accept}.")
    if not (isinstance(config.memory_mb, int | float) and config.memory_mb > 0):
        raise UserError(f"memory_mb expects megabytes above 0, got {config.memory_mb}.")


def _check_sections(wanted: Sequence[Any], known: Sequence[str]) -> None:
    for section in wanted:
        if section not in known:
            near = get_close_matches(str(section), known, n=1)
            hint = f"did you mean {near[0]}?" if near else f"give sections=[{','.join(known)}] or some of them."
            raise UserError(f"sections expects a list of {', '.join(known)}, got {section}; {hint}")
    if not wanted:
        raise UserError(f"sections expects one section or more, got none; give some of [{','.join(known)}].")


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


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
