"""Encoders: images to embeddings, the pooled features with no projection head.

Each has its width as `dim`, and `stage`, by which `encoder.freeze` finds its first stages.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from vje_ppl.networks.convolution import replace_strided
from vje_ppl.networks.normalization import norm_1d, norm_2d


def _imagenet_stem(channels: int, width: int, norm_layer: Callable[[int], nn.Module]) -> list[nn.Module]:
    """7×7 convolution and pooling: a quarter of the resolution, for images of about 224 pixels."""
    conv = nn.Conv2d(channels, width, 7, stride=2, padding=3, bias=False)
    return [conv, norm_layer(width), nn.ReLU(inplace=True), nn.MaxPool2d(3, stride=2, padding=1)]


def _cifar_stem(channels: int, width: int, norm_layer: Callable[[int], nn.Module]) -> list[nn.Module]:
    """3×3 convolution at full resolution, for images of about 32 pixels (He et al. 2016; SimCLR, appendix B.9)."""
    return [nn.Conv2d(channels, width, 3, padding=1, bias=False), norm_layer(width), nn.ReLU(inplace=True)]


_STEMS = {"cifar": _cifar_stem, "imagenet": _imagenet_stem}

#: Most layers; larger networks are of no use here, and take minutes to build.
MOST_LAYERS = 1000

#: `auto` is the ImageNet stem for images above this many pixels a side. Ours.
LARGE = 64


def _stem(
    stem: str, image_size: int, channels: int, width: int, norm_layer: Callable[[int], nn.Module]
) -> list[nn.Module]:
    if stem == "auto":
        stem = "imagenet" if image_size > LARGE else "cifar"
    if stem not in _STEMS:
        raise ValueError(f"stem expects one of auto, {', '.join(_STEMS)}, got {stem!r}.")
    return _STEMS[stem](channels, width, norm_layer)


def _projection(inputs: int, outputs: int, stride: int, norm_layer: Callable[[int], nn.Module]) -> list[nn.Module]:
    """Return the shortcut of a block whose shape changes (He et al. 2016, option B)."""
    return [nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False), norm_layer(outputs)]


class ResNet(nn.Module):
    """torchvision's ResNet without its classifier; the embedding is the globally averaged last feature map.

    Args:
        arch: torchvision's name: "resnet18", "resnet34" (dim 512) or "resnet50" (dim 2048).
        channels: input channels.
        stem: "cifar" (3×3 at full resolution), "imagenet" (7×7, a quarter of the resolution), or "auto", which
            chooses by the size of the images.
        image_size: height and width of the images, in pixels; used only by "auto".
        norm: "batch" or "group".
    """

    def __init__(
        self, arch: str, channels: int = 3, stem: str = "auto", image_size: int = 224, norm: str = "batch"
    ) -> None:
        super().__init__()
        import torchvision  # slow to import, and not needed by the small encoders

        known = ("resnet18", "resnet34", "resnet50")
        if arch not in known:
            raise ValueError(f"arch expects one of {', '.join(known)}, got {arch!r}.")
        norm_layer = norm_2d(norm)
        net = getattr(torchvision.models, arch)(norm_layer=norm_layer)
        self.dim: int = net.fc.in_features
        self.stem = nn.Sequential(*_stem(stem, image_size, channels, 64, norm_layer))
        self.stages = nn.Sequential(net.layer1, net.layer2, net.layer3, net.layer4)
        _initialize(self.stem)
        replace_strided(self)

    def stage(self, name: str) -> int:
        """Return the number, from 1, of the stage that holds a parameter or buffer; the stem belongs to the first."""
        place, number = name.split(".")[:2]
        return 1 if place == "stem" else int(number) + 1

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Return embeddings, shape (N, dim)."""
        return self.stages(self.stem(images)).mean((2, 3))


class SmallResNet(nn.Module):
    """A ResNet for CPUs: stages of one basic block with `width`, 2, 4 and 8 times `width` channels; dim = 8 width.

    Args:
        width: channels of the first stage; 16 gives 128-dimensional embeddings.
        blocks: basic blocks in each of the stages.
        channels: input channels.
        stem: "cifar", "imagenet" or "auto", as for `ResNet`.
        image_size: height and width of the images, in pixels; used only by "auto".
        norm: "batch" or "group".
    """

    def __init__(
        self,
        width: int = 16,
        blocks: Sequence[int] = (1, 1, 1, 1),
        channels: int = 3,
        stem: str = "auto",
        image_size: int = 32,
        norm: str = "batch",
    ) -> None:
        super().__init__()
        from torchvision.models.resnet import BasicBlock  # slow to import, and not needed by the MLP

        if width < 1 or not blocks or min(blocks) < 1:
            raise ValueError(
                f"SmallResNet expects width >= 1 and one or more blocks in every stage, got {width} and {list(blocks)}."
            )
        if len(blocks) > 10 or sum(blocks) > MOST_LAYERS:
            raise ValueError(f"SmallResNet expects 10 stages and {MOST_LAYERS} blocks at most, got {list(blocks)}.")
        norm_layer = norm_2d(norm)
        widths = [width * 2**stage for stage in range(len(blocks))]
        self.dim = widths[-1]
        self.stem = nn.Sequential(*_stem(stem, image_size, channels, width, norm_layer))
        layers: list[nn.Module] = []
        for stage, (inputs, outputs) in enumerate(pairwise([width, *widths])):
            for block in range(blocks[stage]):
                stride = 2 if stage > 0 and block == 0 else 1
                source = inputs if block == 0 else outputs
                same = stride == 1 and source == outputs
                shortcut = None if same else nn.Sequential(*_projection(source, outputs, stride, norm_layer))
                layers.append(BasicBlock(source, outputs, stride, shortcut, norm_layer=norm_layer))
        self.stages = nn.Sequential(*layers)
        self._stage_of_block = [stage for stage, count in enumerate(blocks, start=1) for _ in range(count)]
        _initialize(self)
        replace_strided(self)

    def stage(self, name: str) -> int:
        """Return the number, from 1, of the stage that holds a parameter or buffer; the stem belongs to the first."""
        place, number = name.split(".")[:2]
        return 1 if place == "stem" else self._stage_of_block[int(number)]

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Return embeddings, shape (N, dim)."""
        return self.stages(self.stem(images)).mean((2, 3))


class MLP(nn.Module):
    """Flattened pixels through `depth` hidden layers (linear, normalization, ReLU) to a linear embedding.

    Args:
        channels: input channels.
        image_size: height and width of the images, in pixels.
        dim: embedding width D.
        width: width of a hidden layer.
        depth: number of hidden layers.
        norm: "batch" or "group".
    """

    def __init__(
        self, channels: int, image_size: int, dim: int = 64, width: int = 256, depth: int = 2, norm: str = "batch"
    ) -> None:
        super().__init__()
        if min(dim, width) < 1 or depth < 0:
            raise ValueError(f"MLP expects dim >= 1, width >= 1 and depth >= 0, got {dim}, {width} and {depth}.")
        if depth > MOST_LAYERS:
            raise ValueError(f"MLP expects {MOST_LAYERS} layers at most, got {depth}.")
        self.dim = dim
        widths = [channels * image_size**2, *[width] * depth]
        hidden = [
            layer
            for inputs, outputs in pairwise(widths)
            for layer in (nn.Linear(inputs, outputs, bias=False), norm_1d(norm)(outputs), nn.ReLU())
        ]
        self.layers = nn.Sequential(nn.Flatten(), *hidden, nn.Linear(widths[-1], dim))

    def stage(self, name: str) -> int:
        """Return the number, from 1, of the hidden layer that holds a parameter or buffer; the output is the last."""
        return (int(name.split(".")[1]) - 1) // 3 + 1

    def forward(self, images: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Return embeddings, shape (N, dim)."""
        return self.layers(images)


def _initialize(module: nn.Module) -> None:
    """Initialize convolutions by He's method, like torchvision's ResNet."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
