"""The identity of a run: its default name, and the differences of configurations that prevent resuming."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from typing import Any

#: Keys that affect where a run happens, but not its result.
WITHOUT_EFFECT = frozenset(
    {
        "run",
        "resume",
        "debug",
        "logger",
        "rank",  # measures embeddings and changes nothing
        "data.root",
        "data.download",
        "data.workers",
        "trainer.device",
        "trainer.devices",
        "trainer.num_nodes",
        "trainer.accumulate",
        "trainer.progress",
        "trainer.checkpoint_every",
        "trainer.on_nonfinite",  # a run that stopped on it can resume with the other value
    }
)

#: Keys that were added after the first version, with the value that reproduces runs without them. At that value they
#: are ignored, so that an older run keeps its name, can be resumed, and is not computed again.
ADDED: dict[str, Any] = {
    "hold_out": 0,
    "without_class": [],
    "calibration": 0,
    "rotations": False,
    "cached_views": 0,
    "data.bits": None,
    "objective.compile": False,
    "guide.whiten": None,
    "encoder.weights": None,
    "encoder.freeze": False,
    "optimizer.encoder_lr": None,
    "optimizer.fused": True,  # the same up to rounding
    "init": None,
    "init_parts": ["encoder"],
}

#: Modules whose parts have moved since the first runs were named: where they stood, and where they stand now. An old
#: address in a `_target_` still builds, and counts as the new address, so that a run keeps its name and resumes.
MOVED: dict[str, str] = {
    "vje_ppl.encoders": "vje_ppl.networks.encoders",
    "vje_ppl.inference_network": "vje_ppl.networks.inference_network",
    "vje_ppl.objective": "vje_ppl.program.objective",
    "vje_ppl.diagnostics.corruptions": "vje_ppl.diagnose.statistics.corruptions",
    "vje_ppl.diagnostics.faults": "vje_ppl.diagnose.faults",
}


def new_address(target: str) -> str:
    """Return the present address of a part that was at the dotted path `target`."""
    return next((new + target.removeprefix(old) for old, new in MOVED.items() if target.startswith(f"{old}.")), target)


def new_addresses(node: Any) -> Any:
    """Replace the addresses of all moved parts in a configuration or a part of it."""
    if isinstance(node, list):
        return [new_addresses(item) for item in node]
    if not isinstance(node, Mapping):
        return node
    return {
        key: new_address(value) if key == "_target_" and isinstance(value, str) else new_addresses(value)
        for key, value in node.items()
    }


def first_address(target: str) -> str:
    """Return the address that the part at `target` had when the first runs were named."""
    return next((old + target.removeprefix(new) for old, new in MOVED.items() if target.startswith(f"{new}.")), target)


def config_digest(resolved: Mapping[str, Any]) -> str:
    """Return the eight hexadecimal characters of SHA-256 that name a configuration by what it computes.

    Keys in `WITHOUT_EFFECT` (devices, paths), keys in `ADDED` at the value there, and the order of keys are ignored.
    """
    return hashlib.sha256(canonical_json(with_effect(resolved)).encode()).hexdigest()[:8]


def default_name(resolved: Mapping[str, Any], name: str) -> str:
    """Return the default `run.name`: a readable part (the experiment, or else the data set) and the digest."""
    return f"{name.replace('/', '-')}-{config_digest(resolved)}"


def config_differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """Return the differences that change the result, a line each: `optimizer.lr: 0.001 -> 0.003`; sorted by key.

    A key that a side lacks is `(absent)` there.
    """
    before, after = dict(leaves(with_effect(old))), dict(leaves(with_effect(new)))
    lines = []
    for key in sorted(before.keys() | after.keys()):
        was, is_now = (_shown(side[key]) if key in side else "(absent)" for side in (before, after))
        if key not in before or key not in after or canonical_json(before[key]) != canonical_json(after[key]):
            lines.append(f"{key}: {was} -> {is_now}")
    return lines


def with_effect(resolved: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return the configuration without the keys in `WITHOUT_EFFECT`, and those in `ADDED` at the value there.

    Parts that have moved have their new address.
    """
    reduced: dict[str, Any] = {}
    for key, value in resolved.items():
        full = f"{prefix}{key}"
        if full in WITHOUT_EFFECT or (full in ADDED and canonical_json(value) == canonical_json(ADDED[full])):
            continue
        if isinstance(value, Mapping):
            inner = with_effect(value, f"{full}.")
            if inner or not value or any(f"{full}.{name}" not in ADDED for name in value):
                reduced[str(key)] = inner
        else:
            reduced[str(key)] = new_address(value) if key == "_target_" and isinstance(value, str) else value
    return reduced


def without_added(config: Mapping[str, Any], added: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Return a configuration without keys that were added later, where they have the value that changes nothing.

    Args:
        config: nested; a part that has no key left is left out as well.
        added: that value by dotted key.
        prefix: of the dotted keys, for a part.
    """
    reduced: dict[str, Any] = {}
    for key, value in config.items():
        full = f"{prefix}{key}"
        if full in added and canonical_json(value) == canonical_json(added[full]):
            continue
        if isinstance(value, Mapping) and value:
            value = without_added(value, added, f"{full}.")
            if not value:
                continue
        reduced[str(key)] = value
    return reduced


def leaves(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield dotted keys and values of a nested configuration; lists and empty mappings are values."""
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def canonical_json(value: Any) -> str:
    """Return the same text for all configurations that compute the same, in any order and spelling of keys.

    It never changes: a moved part appears under its first address.
    """
    return json.dumps(_canonical(value), sort_keys=True, separators=(",", ":"))


def _canonical(value: Any) -> Any:
    """Make 1 and 1.0 the same, and the old and new addresses of a part that has moved."""
    if isinstance(value, Mapping):
        return {
            str(key): first_address(item) if key == "_target_" and isinstance(item, str) else _canonical(item)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_canonical(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def _shown(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
