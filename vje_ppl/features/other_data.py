"""Data sets other than a run's own, converted to the form of its images."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from vje_ppl.data.conform import converted
from vje_ppl.data.feature_views import FeatureViews
from vje_ppl.data.fingerprint import digest
from vje_ppl.data.image_set import ImageData, ImageSet, InMemoryImages, StreamedImages
from vje_ppl.data.selection import at_most
from vje_ppl.errors import UserError
from vje_ppl.features.opened_run import OpenedRun
from vje_ppl.settings.build import build

#: Names the run's own images of the classes that its `without_class` left out.
LEFT_OUT = "left_out"


def open_other(wanted: Any, evaluated: OpenedRun, known: dict[str, str]) -> tuple[str, ImageSet, str]:
    """Open a data set by the name of its configuration, or by a mapping such as {name: cifar10, root: data}.

    Args:
        wanted: the data set; `left_out` for the run's own images of the classes that its training left out.
        evaluated: the run.
        known: digests of other data sets by name; the new digest is added.

    Returns:
        Its name, its test images (or training images if there are none) in the form of the run's, and how they were
        converted. If other images have the name already, a digest is appended.
    """
    if wanted == LEFT_OUT:
        images = at_most(evaluated.left_out, evaluated.options.images.test)
        return LEFT_OUT, images, "classes that training left out"
    config = other_config(wanted, evaluated.options.ood.root)
    data: ImageData = build(config, "ood.data")
    images = data.train if data.test is None else data.test
    if isinstance(images, FeatureViews) != isinstance(evaluated.data.train, FeatureViews):
        has, needs = ("vectors", "images") if isinstance(images, FeatureViews) else ("images", "feature vectors")
        example = "" if needs == "images" else ", such as ood.data=[{name: features, file: <name>.npz}]"
        raise UserError(
            f"ood.data={data.name} holds {has}, but the run was trained on {needs}; give data of {needs}{example}."
        )
    found = digest(images)
    own = evaluated.data.train if evaluated.data.test is None else evaluated.data.test
    same_name = data.name == evaluated.data.name
    # A user's own images have the name of their folder, or are arrays in a file: others may have the same name.
    is_own = images.files is not None or "file" in config
    same_place = not is_own or (
        _folder(config.get("root")) == _folder(evaluated.root)
        and config.get("file") == evaluated.run.config.data.get("file")
    )
    if found == digest(own) or (same_name and same_place):
        raise UserError(f"ood.data={data.name} is the data set that the run was trained on; give another data set.")
    name = f"{data.name}-{found[-8:]}" if same_name or known.get(data.name, found) != found else data.name
    known[name] = found
    converted, how = conform(
        at_most(images, evaluated.options.images.test), evaluated.data.channels, evaluated.data.image_size
    )
    return name, converted, how


def _folder(root: Any) -> Path | None:
    return None if root is None else Path(str(root)).resolve()


def other_config(wanted: Any, root: str | None) -> dict[str, Any]:
    """Return the configuration of a data set, with its options."""
    options = dict(wanted) if isinstance(wanted, Mapping) else {"name": wanted}
    if "_target_" in options:
        return {str(key): value for key, value in options.items()}
    name = str(options.pop("name", ""))
    path = files("vje_ppl.configs") / "data" / f"{name}.yaml"
    known = sorted(one.name.removesuffix(".yaml") for one in (files("vje_ppl.configs") / "data").iterdir())
    known.remove("custom")
    if name not in known:
        raise UserError(f"ood.data expects data sets among {', '.join([*known, LEFT_OUT])}, got {name or wanted}.")
    config = OmegaConf.create(path.read_text(encoding="utf-8"))
    assert isinstance(config, DictConfig)
    config.pop("defaults", None)
    if root is not None and "root" in config:
        config.root = root
    unknown = sorted(set(map(str, options)) - set(map(str, config)))
    if unknown:
        has = sorted(map(str, set(config) - {"_target_"}))
        raise UserError(f"ood.data={name} has no option {unknown[0]}; its options are {', '.join(has)}.")
    resolved = OmegaConf.to_container(OmegaConf.merge(config, options), resolve=True)
    assert isinstance(resolved, dict)
    if isinstance(resolved.get("root"), str):
        resolved["root"] = os.path.expanduser(resolved["root"])
    return {str(key): value for key, value in resolved.items()}


_CHUNK = 4096


def conform(images: ImageSet, channels: int, side: int) -> tuple[ImageSet, str]:
    """Give images the number of channels and, if they are in memory, the size of another data set.

    Colours become grey by luma; grey is repeated in red, green and blue. Images in memory are cut to their central
    square and resized (bilinear, with antialiasing) before any augmentation. Image files only change their channels:
    decoding changes their size. Feature vectors stay as they are.

    Args:
        images: the images.
        channels: 1 or 3.
        side: side in pixels.

    Returns:
        The images, unlabelled, and a description of the conversion.

    Raises:
        UserError: for feature vectors of another length.
    """
    if isinstance(images, StreamedImages):
        same = StreamedImages(
            images.files,
            channels=channels,
            workers=images.workers,
            skip_unreadable=images.skip_unreadable,
            bits=images.bits,
        )
        return same, f"read with {channels} channel(s)"
    assert isinstance(images, InMemoryImages)
    if isinstance(images, FeatureViews):
        if images.channels != channels:
            raise UserError(f"ood.data expects feature vectors of length {channels}, got {images.channels}.")
        return FeatureViews(images.features), "as they are"
    pixels = images.images
    done = []
    if pixels.shape[1] != channels:
        done.append("colour to grey" if channels == 1 else "grey to three equal channels")
    height, width = pixels.shape[2:]
    if (height, width) != (side, side):
        done.append(f"{height}×{width} to {side}×{side} pixels")
    if not done:
        return InMemoryImages(pixels), "as they are"
    result = torch.cat([converted(chunk, channels, side) for chunk in pixels.split(_CHUNK)])
    return InMemoryImages(result), ", ".join(done)
