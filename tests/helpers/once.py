"""Work that is the same in many tests, done once: yaml files are parsed, commands composed, and alike curves drawn."""

from __future__ import annotations

import copy
import math
import os
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra._internal import defaults_list
from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.default_element import InputDefault
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource
from omegaconf import DictConfig

from vje_ppl.runs.files import write_atomically

_PARSED: dict[tuple[str, float], ConfigResult] = {}
_DRAWN: dict[Hashable, bytes] = {}


def parse_each_file_once(patch: pytest.MonkeyPatch) -> None:
    """Let Hydra keep what it reads from the files of a package."""
    Plugins.instance()  # registers the sources
    source: Any = SourcesRegistry.instance().resolve("pkg")
    read = source._read_config

    def read_once(self: ConfigSource, resource: Any) -> ConfigResult:
        key = (str(resource), resource.stat().st_mtime_ns)
        if key not in _PARSED:
            _PARSED[key] = read(self, resource)
        result = copy.copy(_PARSED[key])
        result.config, result.header = copy.deepcopy(result.config), dict(result.header)
        return result

    patch.setattr(source, "_read_config", read_once)


def compose_each_command_once(patch: pytest.MonkeyPatch) -> None:
    """Keep Hydra from composing the whole configuration a second time, only to look up a `hydra.mode` nobody gave."""
    look_up = Hydra.get_mode

    def mode(self: Hydra, config_name: str | None, overrides: list[str]) -> Any:
        given = any("hydra.mode" in override for override in overrides)
        return look_up(self, config_name, overrides) if given else None

    patch.setattr(Hydra, "get_mode", mode)


def map_choices_where_they_are_read(patch: pytest.MonkeyPatch) -> None:
    """Keep Hydra from making a configuration of all choices per file, which only defaults such as `${data}` read."""
    make = defaults_list._create_interpolation_map

    def choices(overrides: Any, defaults: list[InputDefault], self_added: bool) -> DictConfig | None:
        read = any(default.is_interpolation() for default in defaults)
        return make(overrides, defaults, self_added) if read else None

    patch.setattr(defaults_list, "_create_interpolation_map", choices)


def draw_alike_curves_once(rows: Sequence[dict[str, Any]], path: str | os.PathLike[str], title: str) -> None:
    """Stand in for `draw_curves`: of runs with the same columns, signs and gaps, draw the first."""
    from vje_ppl.pictures.curves import curves_figure
    from vje_ppl.pictures.style import png

    key = (min(len(rows), 3), title.isascii(), frozenset(_form(row) for row in rows))
    if key not in _DRAWN:
        _DRAWN[key] = png(curves_figure(rows, title))
    write_atomically(Path(path), _DRAWN[key])


def _form(row: dict[str, Any]) -> Hashable:
    """The columns of a row, each with whether its number is positive, zero, negative, infinite or none."""
    return frozenset((name, _kind(value)) for name, value in row.items())


def _kind(value: Any) -> str:
    if value is None or math.isnan(value):
        return "none"
    return "infinite" if math.isinf(value) else str((value > 0) - (value < 0))
