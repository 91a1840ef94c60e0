"""MNIST: 60,000 training and 10,000 test images of handwritten digits, grey, 28×28 pixels."""

from __future__ import annotations

from vje_ppl.data.image_set import ImageData
from vje_ppl.data.loaders.idx import load_idx
from vje_ppl.data.selection import ClassChoice


def mnist(root: str, download: bool = False, subset: int | None = None, only_class: ClassChoice = None) -> ImageData:
    """Load MNIST.

    Args:
        root: the folder that holds torchvision's `MNIST/raw`, or the four `-ubyte` files themselves, compressed
            (`.gz`) or not.
        download: whether to download it first.
        subset: number of training images to keep; None: all.
        only_class: train on a single class, or on a list of classes, by name or number; None: on all classes.
    """
    from torchvision.datasets import MNIST

    return load_idx("mnist", MNIST, root, download, subset, only_class)
