"""What makes two configurations the same run: its name, and what keeps it from going on under another one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

#: Keys that say where and on what a run happens, not what comes out of it.
WITHOUT_EFFECT = frozenset(
    {
        "run",
        "resume",
        "debug",
        "logger",
        "data.root",
        "data.download",
        "data.workers",
        "trainer.device",
        "trainer.devices",
        "trainer.num_nodes",
        "trainer.accumulate",
        "trainer.progress",
        "trainer.checkpoint_every",
        "trainer.on_nonfinite",  # a run that stops for it goes on with the other
    }
)

#: Keys that came after the first version, with the value at which a run is what it was without them. There they do not
#: count, so that an older run keeps its name, goes on, and is not computed again.
ADDED: dict[str, Any] = {"hold_out": 0, "data.bits": None}


def config_digest(resolved: Mapping[str, Any]) -> str:
    """Eight hexadecimal characters of SHA-256 that name a configuration by what it computes.

    Devices, paths and other keys in `WITHOUT_EFFECT` do not count, nor those in `ADDED` at the value there, nor the
    order of keys.
    """
    return hashlib.sha256(canonical_json(with_effect(resolved)).encode()).hexdigest()[:8]


def default_name(resolved: Mapping[str, Any], name: str) -> str:
    """The default `run.name`: a readable part (the experiment, or else the data set) and the digest."""
    return f"{name.replace('/', '-')}-{config_digest(resolved)}"


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What would change the result, a line each: `optimizer.lr: 0.001 -> 0.003`; sorted by key.

    A key that one side lacks is `(absent)` there.
    """
    before, after = dict(leaves(with_effect(old))), dict(leaves(with_effect(new)))
    lines = []
    for key in sorted(before.keys() | after.keys()):
        was, is_now = (_shown(side[key]) if key in side else "(absent)" for side in (before, after))
        if key not in before or key not in after or canonical_json(before[key]) != canonical_json(after[key]):
            lines.append(f"{key}: {was} -> {is_now}")
    return lines


def with_effect(resolved: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The configuration without the keys in `WITHOUT_EFFECT`, and those in `ADDED` at the value there."""
    reduced = {}
    for key, value in resolved.items():
        full = f"{prefix}{key}"
        if full in WITHOUT_EFFECT or (full in ADDED and canonical_json(value) == canonical_json(ADDED[full])):
            continue
        reduced[str(key)] = with_effect(value, f"{full}.") if isinstance(value, Mapping) else value
    return reduced


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and values of a nested configuration; lists and empty mappings are values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def canonical_json(value: Any) -> str:
    """Text that is the same for configurations that compute the same, whatever the order and spelling of keys."""
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))


def _canonical(value: Any) -> Any:
    """Makes 1 and 1.0 the same, which are the same to who types them."""
    if isinstance(value, Mapping):
        return {str(key): _canonical(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
