"""A damaged checkpoint of a real run is never loaded: the one before it is."""

from __future__ import annotations

import random

import pytest

from tests.helpers.commands import SMALL, command
from vje_ppl.runs import checkpoint
from vje_ppl.runs.checkpoint import LAST, PREVIOUS
from vje_ppl.train.__main__ import main


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    """The checkpoint of a training run, which has all that a run goes on from."""
    folder = tmp_path_factory.mktemp("real")
    made = command(main, "vje_ppl.train", *SMALL, f"run.root={folder}", "run.name=a")
    assert made.returncode == 0, made.stderr
    return (folder / "a" / "checkpoints" / LAST).read_bytes()


def cut(data, draw):
    return data[: draw.randrange(len(data))]


def flipped(data, draw):
    place = draw.randrange(len(data))
    return data[:place] + bytes([data[place] ^ 1 << draw.randrange(8)]) + data[place + 1 :]


@pytest.mark.parametrize("damage", [cut, flipped])
def test_a_real_checkpoint_that_is_damaged_anywhere_gives_way_to_the_one_before(damage, real, tmp_path):
    checkpoint.save(tmp_path / PREVIOUS, {"step": 1})
    draw, taken = random.Random(0), []
    for number in range(200):
        (tmp_path / LAST).write_bytes(damage(real, draw))
        latest = checkpoint.load_latest(tmp_path)
        if latest is None or latest.path != tmp_path / PREVIOUS or latest.state["step"] != 1 or not latest.warning:
            taken.append(number)

    assert taken == []
    (tmp_path / LAST).write_bytes(real)
    assert checkpoint.load_latest(tmp_path).path == tmp_path / LAST
