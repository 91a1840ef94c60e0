"""From the `data` and `hold_out` of a configuration to images."""

from __future__ import annotations

import os
from dataclasses import replace
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.data.image_set import ImageData
from vje_ppl.data.selection import hold_out, select_class
from vje_ppl.settings.build import build


def load_data(config: DictConfig, trust_targets: bool = True, **changes: Any) -> ImageData:
    """Load the images of a configuration's `data`, with test images held out as `hold_out` says.

    Args:
        config: the whole configuration of a run.
        trust_targets: see `vje_ppl.settings.build.build`.
        **changes: replacements of values of `config.data`, such as `root`.
    """
    node: Any = OmegaConf.to_container(config.data, resolve=True)
    if not trust_targets and "download" in node:
        changes = {"download": False} | changes  # a logger would write to any place in the configuration
    node |= changes
    if isinstance(node.get("root"), str):
        node["root"] = os.path.expanduser(node["root"])
    fraction = config.get("hold_out", 0)
    if fraction == 0:
        return build(node, "data", trust_targets)
    only_class = node.pop("only_class", None)  # which comes after the split
    data = hold_out(build(node, "data", trust_targets), fraction)
    return replace(data, train=select_class(data.train, only_class))
