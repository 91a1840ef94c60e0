"""From JPEG files to augmented views: our pipeline against torchvision's usual pipeline, image by image."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from hydra import compose
from omegaconf import DictConfig
from PIL import Image, ImageFilter
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from vje_ppl.benchmark.timing import alternate
from vje_ppl.data.batches import TrainingBatches
from vje_ppl.data.image_set import StreamedImages
from vje_ppl.settings.build import build_augment

#: Files to write, images in an epoch of the benchmark, which repeats the files, and views.
FILES, IMAGES, VIEWS = 64, 256, 2


class TwoViews(Dataset):
    """Image files as torchvision's ImageFolder opens them, each through a random transform twice.

    Args:
        paths: the files.
        transform: from an image to a view.
    """

    def __init__(self, paths: list[Path], transform: Callable[[Image.Image], Tensor]) -> None:
        self._paths, self._transform = paths, transform

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> list[Tensor]:
        """Decode the file once."""
        with Image.open(self._paths[index]) as opened:
            image = opened.convert("RGB")
        return [self._transform(image) for _ in range(VIEWS)]


class PillowBlur:
    """MoCo v2's blur, by Pillow's own filter: several times as fast as torchvision's on a Pillow image.

    Source: facebookresearch/moco, moco/loader.py.
    """

    def __call__(self, image: Image.Image) -> Image.Image:
        """Blur by a standard deviation of 0.1 to 2 pixels."""
        return image.filter(ImageFilter.GaussianBlur(float(torch.empty(()).uniform_(0.1, 2.0))))


def usual_transform(size: int) -> Callable[[Image.Image], Tensor]:
    """Return MoCo v2's augmentation in torchvision's transforms of Pillow images: the recipe of augment=imagenet."""
    from torchvision import transforms

    return transforms.Compose(
        [
            transforms.RandomResizedCrop(size, scale=(0.2, 1.0)),
            transforms.RandomApply([transforms.ColorJitter(0.4, 0.4, 0.4, 0.1)], p=0.8),
            transforms.RandomGrayscale(p=0.2),
            transforms.RandomApply([PillowBlur()], p=0.5),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
        ]
    )


def decoding_pieces(
    config: DictConfig, folder: Path, workers: int, device: torch.device, size: int = 224, images: int = IMAGES
) -> dict[str, Callable[[], int]]:
    """Run an epoch of either pipeline, from files to views on the device, and return the number of views.

    Both have the same files, batches and number of workers, which are kept from one epoch to the next and idle while
    the other pipeline runs.

    Args:
        config: a training configuration, of which only `augment` is used.
        folder: an empty folder, for the files.
        workers: decoding processes of each pipeline.
        device: the device of the views.
        size: side of a view in pixels.
        images: images in an epoch.
    """
    files = write_photographs(folder, min(FILES, images))
    paths = files * (images // len(files))
    augment = build_augment(config, 3, size)
    batch_size = min(64, images)
    streamed = StreamedImages(paths, workers=workers)
    batches = TrainingBatches(streamed, augment, batch_size=batch_size, seed=0, device=device, views=VIEWS)
    loader: DataLoader = DataLoader(
        TwoViews(paths, usual_transform(size)),
        batch_size,
        shuffle=True,
        drop_last=True,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=device.type == "cuda",
    )
    epochs = count()

    def ours() -> int:
        return sum(len(view) for batch in batches.epoch(next(epochs)) for view in batch.views)

    def torchvision() -> int:
        return sum(len(view) for views in loader for view in (one.to(device, non_blocking=True) for one in views))

    return {"ours": ours, "torchvision": torchvision}


def measure(device: torch.device, seconds: float, workers: int) -> dict[str, Any]:
    """Return images per second of both pipelines, with two views per image, and their ratio."""
    config = compose("train", ["data=imagenet"])
    with tempfile.TemporaryDirectory() as folder:
        times = alternate(decoding_pieces(config, Path(folder), workers, device), 6 * seconds, device)
    rates = {f"decoding_{name}_images_per_s": IMAGES / time for name, time in times.items()}
    return {"decoding_over_torchvision": times["torchvision"] / times["ours"], **rates, "decoding_workers": workers}


#: Width and height in pixels that many of ImageNet's photographs have, lying and upright.
SIZES = ((500, 375), (500, 375), (500, 333), (375, 500))

#: Of JPEG, at which these photographs take 92 kB each; ImageNet's take 110 kB on average.
QUALITY = 97


def photographs(count: int, seed: int = 0) -> Iterator[tuple[str, Image.Image]]:
    """Yield random cuts of both photographs in turn, each 80 to 100 % as high or wide as it can be, resized.

    Args:
        count: number of cuts.
        seed: of the cuts.

    Yields:
        The name of the photograph, and the cut.
    """
    from sklearn.datasets import load_sample_images

    bunch = load_sample_images()
    names = [Path(str(name)).stem for name in bunch.filenames]
    rng = np.random.default_rng(seed)
    for number in range(count):
        photo = Image.fromarray(np.asarray(bunch.images[number % len(names)]))
        width, height = SIZES[number // len(names) % len(SIZES)]
        share = rng.uniform(0.8, 1.0) * min(photo.width / width, photo.height / height)
        left = rng.uniform(0, photo.width - share * width)
        top = rng.uniform(0, photo.height - share * height)
        box = (left, top, left + share * width, top + share * height)
        yield names[number % len(names)], photo.resize((width, height), Image.Resampling.LANCZOS, box=box)


def write_photographs(folder: Path, count: int, seed: int = 0) -> list[Path]:
    """Write `photographs` as JPEG files, a folder for each of the two, and return their paths."""
    paths = []
    for number, (name, photo) in enumerate(photographs(count, seed)):
        path = folder / name / f"{name}_{number:05}.JPEG"
        path.parent.mkdir(parents=True, exist_ok=True)
        photo.save(path, quality=QUALITY)
        paths.append(path)
    return paths
