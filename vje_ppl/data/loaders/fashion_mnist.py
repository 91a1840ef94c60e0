"""Fashion-MNIST: 60,000 training and 10,000 test images of clothes, grey, 28×28 pixels."""

from __future__ import annotations

from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.idx import load_idx
from vje_ppl.data.selection import ClassChoice


def fashion_mnist(
    root: str, download: bool = False, subset: int | None = None, only_class: ClassChoice = None
) -> ImageData:
    """Load Fashion-MNIST.

    Args:
        root: the folder that holds torchvision's `FashionMNIST/raw`, or the four `-ubyte` files themselves, compressed
            (`.gz`) or not.
        download: whether to download it first.
        subset: number of training images to keep; None: all.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    from torchvision.datasets import FashionMNIST

    return load_idx("fashion_mnist", FashionMNIST, root, download, subset, only_class)
