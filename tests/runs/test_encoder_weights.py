"""Weights of other programs: what is found under which names, and what is refused."""

from __future__ import annotations

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import nn

from vje_ppl.errors import UserError
from vje_ppl.networks.encoders import MLP, ResNet, SmallResNet
from vje_ppl.networks.torchvision_names import torchvision_state
from vje_ppl.runs.encoder_weights import load_weights, matched
from vje_ppl.runs.weights_file import read_tensors

ARCHITECTURES = ("resnet18", "resnet34", "resnet50")


def torchvision_resnet(arch: str = "resnet18", **options) -> nn.Module:
    """A ResNet of torchvision, with statistics unlike those it starts with."""
    net = getattr(torchvision.models, arch)(**options)
    for buffer in net.buffers():
        if buffer.is_floating_point():
            buffer.uniform_(0.5, 1.5)
    return net.eval()


@pytest.mark.parametrize("arch", ARCHITECTURES)
@torch.no_grad()
def test_torchvisions_weights_give_its_features(arch):
    theirs, ours = torchvision_resnet(arch).double(), ResNet(arch, stem="imagenet").double().eval()
    line = load_weights([ours], theirs.state_dict(), "resnet.pth")
    theirs.fc = nn.Identity()
    images = torch.randn(2, 3, 64, 64, dtype=torch.float64)
    torch.testing.assert_close(ours(images), theirs(images))
    count = len(ours.state_dict())
    assert line == f"resnet.pth: {count} of {count} tensors of the encoder; ignored a classifier: fc.weight, fc.bias"


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "module.",
        "encoder.",
        "backbone.",
        "model.",
        "module.encoder.",
        "guide.encoder.",
        "teacher.backbone.",
        "net.",
        "online_network.encoder.",
        "a.b.0.",
    ],
)
def test_prefixes_are_stripped(prefix):
    source, target = SmallResNet(2), SmallResNet(2)
    given = {prefix + name: tensor for name, tensor in torchvision_state(source).items()}
    given |= {"head.weight": torch.ones(3)}
    load_weights([target], given, "file")
    for name, tensor in source.state_dict().items():
        assert torch.equal(target.state_dict()[name], tensor)


@pytest.mark.parametrize("prefix", ["", "backbone.", "model.features."])
def test_the_children_of_a_resnet_in_a_row_are_its_parts(prefix):
    """What `nn.Sequential(*list(resnet.children())[:-1])` saves, as in the examples of lightly."""
    theirs, ours = torchvision_resnet(), ResNet("resnet18", stem="imagenet").eval()
    row = nn.Sequential(*list(theirs.children())[:-1])
    head = {"projection_head.layers.0.weight": torch.ones(3)}
    load_weights([ours], {prefix + name: one for name, one in row.state_dict().items()} | head, "file")
    images = torch.randn(2, 3, 64, 64)
    with torch.no_grad():
        torch.testing.assert_close(ours(images), row(images).flatten(1))


def test_every_copy_of_an_encoder_gets_the_weights():
    source, *targets = (MLP(1, 4, dim=3, width=5) for _ in range(3))
    load_weights(targets, source.state_dict(), "file")
    assert all(torch.equal(one.state_dict()["layers.1.weight"], source.layers[1].weight) for one in targets)


def test_what_was_not_used_is_named():
    encoder = MLP(1, 4, dim=3, width=5)
    given = {f"model.{name}": tensor for name, tensor in encoder.state_dict().items()}
    given |= {"model.projector.0.weight": torch.ones(2), "optimizer.step": torch.ones(2)}
    line = matched(encoder, given, "file").line("file")
    assert line.endswith("; ignored others: projector.0.weight, optimizer.step")


def test_a_file_may_lack_the_counts_of_batches_and_a_few_small_vectors():
    encoder = SmallResNet(8)
    given = {name: one for name, one in torchvision_state(encoder).items() if "num_batches_tracked" not in name}
    del given["layer1.0.bn1.bias"]
    assert matched(encoder, given, "file").missing == ("layer1.0.bn1.bias",)


def without(part: str) -> dict[str, torch.Tensor]:
    return {name: one for name, one in torchvision_resnet().state_dict().items() if part not in name}


def changed(encoder: nn.Module, change) -> dict[str, torch.Tensor]:
    return {name: change(one) if one.dim() else one for name, one in encoder.state_dict().items()}


REFUSED = {
    "imagenet's stem": (
        lambda: (ResNet("resnet18", stem="cifar"), torchvision_resnet().state_dict()),
        "conv1.weight is 64×3×7×7 in the file and 64×3×3×3 in the encoder; give encoder.stem=imagenet, the stem of the "
        "file.",
    ),
    "small stem": (
        lambda: (ResNet("resnet18", stem="imagenet"), ResNet("resnet18", stem="cifar").state_dict()),
        "stem.0.weight is 64×3×3×3 in the file and 64×3×7×7 in the encoder; give encoder.stem=cifar, the stem of the "
        "file.",
    ),
    "grey images": (
        lambda: (ResNet("resnet18", channels=1, stem="imagenet"), torchvision_resnet().state_dict()),
        "conv1.weight is 64×3×7×7 in the file and 64×1×7×7 in the encoder; the file's encoder takes images of 3 "
        "channel(s); give data.channels=3, which image_folder, webdataset and hf_dataset have, or convert the images.",
    ),
    "another width": (
        lambda: (ResNet("resnet18", stem="imagenet"), torchvision_resnet("resnet50").state_dict()),
        "is 64×64×1×1 in the file and 64×64×3×3 in the encoder",
    ),
    "a deeper network": (
        lambda: (ResNet("resnet18", stem="imagenet"), torchvision_resnet("resnet34").state_dict()),
        "has tensors that the encoder has no place for: layer1.2.conv1.weight, layer1.2.bn1.weight, layer1.2.bn1.bias",
    ),
    "a shallower network": (
        lambda: (ResNet("resnet34", stem="imagenet"), torchvision_resnet("resnet18").state_dict()),
        "which would stay untrained; choose the encoder that the file was made with.",
    ),
    "a missing kernel": (
        lambda: (ResNet("resnet18", stem="imagenet"), without("conv1.weight")),
        "tensors, conv1.weight, layer1.0.conv1.weight, layer1.1.conv1.weight and 6 more, which would stay untrained",
    ),
    "no vector": (
        lambda: (
            ResNet("resnet18", stem="imagenet"),
            {
                name: one
                for name, one in torchvision_resnet().state_dict().items()
                if one.dim() != 1 or "running" in name
            },
        ),
        "lacks 40 of the encoder's 120 tensors, bn1.weight, bn1.bias, layer1.0.bn1.weight and 37 more",
    ),
    "batch statistics for groups": (
        lambda: (ResNet("resnet18", stem="imagenet", norm="group"), torchvision_resnet().state_dict()),
        "but the encoder has no batch normalization; give norm=batch.",
    ),
    "groups for batch statistics": (
        lambda: (SmallResNet(16), SmallResNet(16, norm="group").state_dict()),
        "has no batch statistics, which the encoder's batch normalization needs; give norm=group.",
    ),
    "no floats": (
        lambda: (SmallResNet(2), changed(SmallResNet(2), torch.Tensor.int)),
        "file cannot be loaded: stem.0.weight is a strided tensor of int32, not one of dense floats",
    ),
    "complex numbers": (
        lambda: (SmallResNet(2), changed(SmallResNet(2), lambda one: one * 1j)),
        "stem.0.weight is a strided tensor of complex64, not one of dense floats",
    ),
    "sparse tensors": (
        lambda: (SmallResNet(2), changed(SmallResNet(2), torch.Tensor.to_sparse)),
        "stem.0.weight is a sparse_coo tensor of float32",
    ),
    "no values": (
        lambda: (SmallResNet(2), changed(SmallResNet(2), lambda one: one.to("meta"))),
        "stem.0.weight is a meta tensor of float32",
    ),
    "no numbers": (
        lambda: (SmallResNet(2), changed(SmallResNet(2), lambda one: one * torch.nan)),
        "stem.0.weight has NaN or infinite values; save the weights again",
    ),
    "another kind of network": (
        lambda: (MLP(1, 4), torchvision_resnet().state_dict()),
        "holds none of the encoder's weights: it has conv1.weight, bn1.weight, bn1.bias and 119 more, but the encoder "
        "has layers.1.weight",
    ),
}


@pytest.mark.parametrize(("make", "sentence"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_does_not_fit_is_refused_and_changes_nothing(make, sentence):
    encoder, given = make()
    before = {name: tensor.clone() for name, tensor in encoder.state_dict().items()}
    with pytest.raises(UserError) as refused:
        load_weights([encoder], given, "encoder.weights=file")
    assert str(refused.value).startswith("encoder.weights=file ")
    assert sentence in str(refused.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.state_dict().items())


@pytest.mark.parametrize("kind", ["state dict", "nested", "safetensors"])
def test_files_of_each_kind_are_read(kind, tmp_path):
    state = {"a.weight": torch.ones(2), "b": torch.zeros(3)}
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    if kind == "safetensors":
        save_file(state, path)
    else:
        torch.save(state if kind == "state dict" else {"state_dict": state, "epoch": 3, "args": {"lr": 0.1}}, path)
    prefix = "state_dict." if kind == "nested" else ""
    found = read_tensors(path, "encoder.weights")
    assert found.keys() == {prefix + name for name in state}
    assert all(torch.equal(found[prefix + name], tensor) for name, tensor in state.items())


class Evil:
    def __reduce__(self):
        return (print, ("code from a file",))


FILES = {
    "missing": (None, "expects a file of weights, but there is no file"),
    "text": (b"hello", "is not a file of weights that torch.load"),
    "code": ({"a": Evil()}, "is not a file of weights that torch.load"),
    "no tensors": ({"epoch": 3}, "holds no tensors by name"),
    "a list": ([torch.ones(2)], "holds no tensors by name"),
}


@pytest.mark.parametrize(("content", "sentence"), FILES.values(), ids=FILES)
def test_a_file_without_weights_is_refused(content, sentence, tmp_path, capsys):
    path = tmp_path / "w.pth"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(UserError, match=sentence):
        read_tensors(path, "encoder.weights")
    assert capsys.readouterr().out == ""


def test_a_damaged_safetensors_file_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_bytes(b"no header")
    with pytest.raises(UserError, match="is not a safetensors file, or is damaged"):
        read_tensors(path, "encoder.weights")
