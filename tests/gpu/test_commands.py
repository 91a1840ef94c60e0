"""Training, resuming, evaluating, scoring and exporting on the device, as a user does it."""

from __future__ import annotations

import importlib
import json
import os
import signal
from typing import ClassVar

import pytest
import torch

import vje_ppl
from tests.helpers.commands import QUICK, SMALL, command
from vje_ppl.data.loaders.digits import digits


def _run(name, *arguments, code=0):
    main = importlib.import_module(f"vje_ppl.{name}.__main__").main
    result = command(main, f"vje_ppl.{name}", *arguments)
    assert (result.returncode or 0) == code, result.stderr
    return result.stdout


@pytest.fixture
def folder(tmp_path, device):
    """A run of two epochs on the device."""
    _run("train", *SMALL, f"run.root={tmp_path}", "run.name=a", f"trainer.device={device.type}")
    return tmp_path / "a"


class Interrupting(torch.optim.AdamW):
    """Sends this process the signal of a user who stops the run, after so many steps."""

    after: ClassVar[int | None] = None

    def step(self, closure=None):
        super().step(closure)
        if Interrupting.after is not None:
            Interrupting.after -= 1
            if Interrupting.after == 0:
                os.kill(os.getpid(), signal.SIGTERM)


def test_an_interrupted_run_resumes_as_if_undisturbed(tmp_path, device, monkeypatch):
    optimizer = f"optimizer._target_={Interrupting.__module__}.Interrupting"
    arguments = [*SMALL, optimizer, f"trainer.device={device.type}", f"run.root={tmp_path}"]
    _run("train", *arguments, "run.name=straight")
    monkeypatch.setattr(Interrupting, "after", 6)  # of eight steps
    _run("train", *arguments, "run.name=stopped", code=128 + signal.SIGTERM)
    monkeypatch.setattr(Interrupting, "after", None)
    _run("train", *arguments, "run.name=stopped")
    straight, stopped = (vje_ppl.load(tmp_path / name).module.state_dict() for name in ("straight", "stopped"))
    # On a CPU the weights are bit for bit the same; a GPU may add in another order.
    tolerance = 0.0 if device.type == "cpu" else 1e-4
    torch.testing.assert_close(stopped, straight, rtol=tolerance, atol=tolerance)


def test_a_run_is_embedded_evaluated_and_exported(tmp_path, device, folder):
    run = vje_ppl.load(folder, device=device.type)
    images = digits().test.images[:16]
    on_cpu = vje_ppl.load(folder, device="cpu").embed(images)
    for one, other in zip(run.embed(images), on_cpu, strict=True):
        torch.testing.assert_close(one.cpu(), other, rtol=1e-4, atol=1e-4)  # a few layers of 16 in float32
    _run("evaluate", *QUICK, f"run={folder}", f"device={device.type}", "eval=[knn,linear]")
    report = json.loads((folder / "evaluation.json").read_text(encoding="utf-8"))
    assert {report[kind]["device"] for kind in ("knn", "linear")} == {device.type}
    _run("export", f"run={folder}")
    exported = vje_ppl.load(folder / "export", device=device.type).embed(images)
    torch.testing.assert_close(exported.z, run.embed(images).z)


def test_images_are_scored(tmp_path, device, folder):
    from PIL import Image

    (tmp_path / "mine").mkdir()
    for number, image in enumerate(digits().test.images[:6]):
        Image.fromarray(image[0].numpy()).save(tmp_path / "mine" / f"{number}.png")
    mine = tmp_path / "mine"
    _run("score", f"run={folder}", f"images={mine}", f"calibrate={mine}", f"device={device.type}")
    assert list((folder / "scores").rglob("*.csv"))
