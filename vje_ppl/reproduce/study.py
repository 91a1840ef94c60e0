"""A study from its configuration: blocks of runs that differ in variant, swept values and seed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.resources import files
from itertools import product
from typing import Any

from omegaconf import OmegaConf

from vje_ppl.errors import UserError
from vje_ppl.settings.checks import check_names, one_of

SCALES = ("small", "paper")

#: The file with the overrides of each method and its variants, as frozen after tuning.
VARIANTS = "variants"


@dataclass(frozen=True)
class Block:
    """Runs on one data set.

    Attributes:
        name: the data set; a key of `sources`.
        train: common overrides of `vje_ppl.train`.
        evaluate: common overrides of `vje_ppl.evaluate`; if empty, runs are not evaluated.
        variants: overrides by name.
        sweep: lists of values by dotted key.
        seeds: the seeds.
        about: the budget in a few words.
    """

    name: str
    train: tuple[str, ...]
    evaluate: tuple[str, ...]
    variants: Mapping[str, tuple[str, ...]]
    sweep: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    seeds: tuple[int, ...] = (0,)
    about: str = ""

    def points(self) -> list[dict[str, Any]]:
        """Return all combinations of swept values; a single empty combination without a sweep."""
        return [dict(zip(self.sweep, values, strict=True)) for values in product(*self.sweep.values())]


@dataclass(frozen=True)
class Study:
    """All runs behind one figure or table.

    Attributes:
        name: `knn_linear`, `figure_3` and so on.
        scale: `small` or `paper`.
        title: title of the figure or table.
        blocks: empty for a figure without runs.
    """

    name: str
    scale: str
    title: str
    blocks: tuple[Block, ...]

    def only(self, blocks: Sequence[str] | None, variants: Sequence[str] | None, seeds: Sequence[int] | None) -> Study:
        """Restrict the study to some blocks and variants, leave out blocks without any of them, and replace its seeds.

        Raises:
            UserError: for a block or variant that the study does not have, or that do not go together.
        """
        if blocks is not None:
            check_names("blocks", blocks, dict.fromkeys(block.name for block in self.blocks))
        if variants is not None:
            check_names("variants", variants, dict.fromkeys(name for block in self.blocks for name in block.variants))
        chosen = [
            replace(
                block,
                variants={name: one for name, one in block.variants.items() if variants is None or name in variants},
                seeds=block.seeds if seeds is None else tuple(seeds),
            )
            for block in self.blocks
            if blocks is None or block.name in blocks
        ]
        kept = tuple(block for block in chosen if block.variants)
        if chosen and not kept:
            raise UserError(
                f"variants={list(variants or ())} expects variants of blocks={list(blocks or ())}, which have none of "
                "them; give other blocks, or none."
            )
        return replace(self, blocks=kept)


def read_study(name: str, scale: str) -> Study:
    """Read `configs/study/<scale>/<name>.yaml`.

    Raises:
        UserError: if there is no such study at this scale.
    """
    one_of(*SCALES).require("scale", scale)
    found = _read(f"{scale}/{name}")
    if found is None:
        raise UserError(f"{name} is not defined at scale={scale}; give scale={SCALES[scale == SCALES[0]]}.")
    if "like" in found:
        blocks = _like(read_study(found["like"], scale), found["blocks"])
    else:
        known = _read(VARIANTS) or {}
        blocks = [_block(key, one or {}, known) for key, one in found.get("blocks", {}).items()]
    return Study(name, scale, found["title"], tuple(blocks))


def _like(other: Study, chosen: Mapping[str, Sequence[str]]) -> list[Block]:
    """Return blocks and variants of another study, whose runs serve both."""
    return [block for name, variants in chosen.items() for block in other.only([name], variants, None).blocks]


def _block(name: str, config: Mapping[str, Any], known: Mapping[str, Sequence[str]]) -> Block:
    variants = config["variants"]
    if not isinstance(variants, Mapping):
        variants = {one: known[one] for one in variants}
    return Block(
        name.partition("/")[0],
        tuple(config.get("train", ())),
        tuple(config.get("evaluate", ())),
        {key: tuple(overrides) for key, overrides in variants.items()},
        {key: tuple(values) for key, values in config.get("sweep", {}).items()},
        tuple(config.get("seeds", (0,))),
        config.get("about", ""),
    )


def _read(name: str) -> dict[str, Any] | None:
    path = files("vje_ppl.configs") / "study" / f"{name}.yaml"
    if not path.is_file():
        return None
    found = OmegaConf.to_container(OmegaConf.create(path.read_text(encoding="utf-8")), resolve=True)
    assert isinstance(found, dict)
    return {str(key): value for key, value in found.items()}
