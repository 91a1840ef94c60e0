"""The plan in figures: the page shows what the script computes, and its counts agree with others' ways to count."""

from __future__ import annotations

import sys

import pytest
import torch
from torch import nn
from torchvision.models import resnet50

from tests.documentation.blocks import ROOT
from vje_ppl import load
from vje_ppl.reproduction.study import read_study


@pytest.fixture(scope="module")
def scaling():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "docs"))
        import scaling

        yield scaling
        for name in [one for one in sys.modules if one == "scaling" or one.split(".")[0] == "plan"]:
            del sys.modules[name]


@pytest.fixture(scope="module")
def narrow(scaling):
    return scaling.count((*scaling.SETTING, scaling.NARROW))


def test_the_page_shows_what_the_script_computes(scaling):
    page = scaling.PAGE.read_text(encoding="utf-8")
    assert scaling.written(page, scaling.tables()) == page


def test_a_table_without_a_place_is_noticed(scaling):
    with pytest.raises(ValueError, match="places"):
        scaling.written("<!-- table: one -->\n<!-- end -->", {"other": "|"})


def test_writing_twice_changes_nothing(scaling):
    once = scaling.written("<!-- table: one -->\n<!-- end -->\nmore", {"one": "| 1 |"})
    assert once == "<!-- table: one -->\n\n| 1 |\n\n<!-- end -->\nmore"
    assert scaling.written(once, {"one": "| 1 |"}) == once


def test_the_setting_is_that_of_the_reproduction_at_the_paper_scale(scaling):
    (block,) = (block for block in read_study("knn_linear", "paper").blocks if block.name == "imagenet")
    assert {"encoder=resnet50", "batch_size=1024", "trainer.epochs=100"} <= set(scaling.SETTING) & set(block.train)


def test_operations_are_those_of_torchvision_counted_layer_by_layer(narrow):
    """Every layer costs its multiply-adds once forward and twice backward, but the first, whose input has no gradient.

    Counted from the shapes of outputs: a convolution's multiply-adds are its outputs times its kernel's numbers.
    """
    model = resnet50().to("meta")
    forward: list[int] = []

    def add(layer, _, output):
        forward.append(output.numel() * layer.weight[0].numel())

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(add)
    model(torch.empty(1, 3, 224, 224, device="meta"))
    encoder = 2 * (3 * sum(forward) - forward[0])  # two operations a multiply-add
    width, dim = 2, 2048
    inference = 2 * 3 * (dim * width * dim + (width * dim) ** 2 + width * dim * 2 * dim)
    assert narrow.operations_of_inference == 2 * inference
    assert narrow.operations == 2 * (encoder + inference)


def test_parameters_are_those_of_torchvision_without_its_classifier(narrow):
    model = resnet50()
    assert narrow.encoder == sum(p.numel() for p in model.parameters()) - sum(p.numel() for p in model.fc.parameters())
    assert narrow.norms == sum(isinstance(layer, nn.BatchNorm2d) for layer in model.modules()) + 2


def test_activations_hold_at_least_what_convolutions_put_out(narrow):
    """Batch normalization keeps every convolution's output, in bf16; nothing keeps more than three times that."""
    model = resnet50().to("meta")
    outputs: list[int] = []
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            layer.register_forward_hook(lambda _, __, output: outputs.append(output.numel()))
    model(torch.empty(1, 3, 224, 224, device="meta"))
    least = 2 * 2 * sum(outputs)  # two views, two bytes
    assert least < narrow.activations < 3 * least
    assert narrow.traffic > 3 * least  # written, read by the next layer, read again in the backward pass


def test_a_budget_follows_from_its_numbers(scaling, narrow):
    budget = scaling.Budget(narrow, scaling.A100)
    assert budget.steps == 100 * 1251
    assert budget.step == max(budget.arithmetic, budget.traffic) / 0.5
    assert budget.arithmetic == pytest.approx(128 * narrow.operations / 312e12)
    assert budget.hours == pytest.approx(budget.steps * 1024 / (8 * budget.rate) / 3600)
    assert budget.checkpoint == 12 * narrow.parameters + narrow.buffers
    assert budget.sent == pytest.approx(2 * 7 / 8 * 4 * narrow.parameters)
    assert budget.between == 0


def test_the_checkpoint_of_a_run_has_the_bytes_that_are_planned(workshop):
    """A small run's file, counted in the same way, up to what a zip archive says of each of its tensors."""
    module = load(workshop / "runs/first").module
    parameters = sum(parameter.numel() for parameter in module.parameters())
    buffers = sum(buffer.numel() * buffer.element_size() for buffer in module.buffers())
    size = (workshop / "runs/first/checkpoints/last.pt").stat().st_size
    assert size == pytest.approx(12 * parameters + buffers, rel=0.02)
