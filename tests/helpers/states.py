"""States of runs, and whether they are the same."""

from __future__ import annotations

import torch

from vje_ppl.runs import checkpoint


def final_state(folder):
    latest = checkpoint.load_latest(folder / "checkpoints")
    assert latest is not None
    assert latest.warning is None
    return latest.state


def assert_same(first, second):
    """Bit-identical tensors and equal numbers, at any depth."""
    if isinstance(first, torch.Tensor):
        assert torch.equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        assert len(first) == len(second)
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second


def compare(straight, killed):
    """Bit for bit, all but the timing."""
    assert straight["epoch"] == killed["epoch"]
    for part in ("module", "optimizer", "random"):
        assert_same(straight[part], killed[part])
    timing = {"seconds", "images_per_s", "wait_share"}
    histories = [
        [{key: value for key, value in row.items() if key not in timing} for row in state["history"]]
        for state in (straight, killed)
    ]
    assert histories[0] == histories[1]
