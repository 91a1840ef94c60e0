"""The options of `python -m vje_ppl.diagnose`, checked before any work is done."""

from __future__ import annotations

from collections.abc import Sequence

from omegaconf import DictConfig

from vje_ppl.errors import UserError
from vje_ppl.settings.checks import NULL, as_list, check_names, check_run, check_table, number, one_of, whole

#: The fewest draws for k-hat, whose largest fifth a Pareto distribution can be fitted to.
FEWEST_DRAWS = 30

_FLOAT, _DOUBLE = 4, 8  # bytes

OPTIONS = {
    "case": one_of("run", "conjugate"),
    "seed": whole(0),
    "batch_size": whole(1),
    "memory_mb": number("megabytes above 0", lambda size: size > 0),
    "samples": whole(FEWEST_DRAWS),
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


def check_memory(config: DictConfig, images: int, dim: int, targets: int, powers: int) -> None:
    """Refuse a request whose draws would not fit into memory.

    Args:
        config: the composed configuration.
        images: N.
        dim: D.
        targets: observed views of each image.
        powers: number of target densities.

    Raises:
        UserError: if they would take more than `memory_mb`.
    """
    chain_sets = powers + 2  # a further array for simulations, and a further one while it is concatenated
    parts = {
        "draws of the guide": config.samples * images * dim * _FLOAT,
        "log weights": powers * 9 * config.samples * targets * images * _DOUBLE,
        "NUTS draws": chain_sets * images * config.nuts.chains * config.nuts.draws * (dim + 5) * _FLOAT,
    }
    total = sum(parts.values())
    if total > config.memory_mb * 1e6:
        named = ", ".join(f"{size:,} for {name}" for name, size in parts.items())
        raise UserError(
            f"{images} images of {dim} features would take {total:,} bytes ({named}), more than "
            f"memory_mb={config.memory_mb:g} allows; lower images.count, targets, samples, nuts.chains or nuts.draws, "
            "or raise memory_mb."
        )
