"""Work that is the same in many tests, done once: yaml files are parsed, and commands composed."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hydra._internal.hydra import Hydra
from hydra._internal.sources_registry import SourcesRegistry
from hydra.core.plugins import Plugins
from hydra.plugins.config_source import ConfigResult, ConfigSource

_PARSED: dict[tuple[str, float], ConfigResult] = {}


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
