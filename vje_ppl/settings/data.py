"""From the `data`, `hold_out`, `calibration` and `without_class` of a configuration to images."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.data.hold_out import hold_out, keep_for_calibration
from vje_ppl.data.image_set import ImageData, ImageSet
from vje_ppl.data.selection import class_list, of_class, only_classes, without_classes
from vje_ppl.errors import UserError
from vje_ppl.settings.build import build


def load_data(config: DictConfig, trust_targets: bool = True, **changes: Any) -> ImageData:
    """Load the images of a configuration's `data`, less `without_class`.

    `hold_out` sets images aside for testing, and `calibration` to calibrate scores.

    Args:
        config: the whole configuration of a run.
        trust_targets: see `vje_ppl.settings.build.build`.
        **changes: replacements of values of `config.data`, such as `root`.
    """
    data = without_classes(_load(config, trust_targets, **changes), left_out_classes(config))
    return replace(data, rotations=True) if config.get("rotations", False) else data


def load_left_out(config: DictConfig, trust_targets: bool = True, **changes: Any) -> ImageSet:
    """Load the test images, or training images if there are none, of the classes in a configuration's `without_class`.

    Arguments are as for `load_data`.

    Raises:
        UserError: if no class was left out.
    """
    wanted = left_out_classes(config)
    if not wanted:
        raise UserError(
            "ood.data=left_out needs a run whose training left out classes, but this run was trained on all classes; "
            "train a run with without_class=[<class>]."
        )
    data = _load(config, trust_targets, **changes)
    return only_classes(data.train if data.test is None else data.test, wanted)


def left_out_classes(config: DictConfig) -> list[str | int]:
    """Return the classes in `without_class`, by name or number; runs of earlier versions have none."""
    return class_list(config.get("without_class"))


def _load(config: DictConfig, trust_targets: bool, **changes: Any) -> ImageData:
    node: Any = OmegaConf.to_container(config.data, resolve=True)
    if not trust_targets and "download" in node:
        changes = {"download": False} | changes  # a download would write wherever the configuration says
    node |= changes
    if isinstance(node.get("root"), str):
        node["root"] = os.path.expanduser(node["root"])
    held_out, calibration = config.get("hold_out", 0), config.get("calibration", 0)
    if held_out == 0 and calibration == 0:
        return build(node, "data", trust_targets)
    only_class = node.pop("only_class", None)  # which comes after the splits
    data = build(node, "data", trust_targets)
    data = data if held_out == 0 else hold_out(data, held_out)
    data = data if calibration == 0 else keep_for_calibration(data, calibration)
    return of_class(data, only_class)
