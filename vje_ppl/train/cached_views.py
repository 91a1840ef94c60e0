"""`cached_views`: embeddings of a frozen encoder, computed once and trained on in place of images."""

from __future__ import annotations

import hashlib
import math
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from omegaconf import DictConfig
from torch import Tensor
from tqdm import tqdm

from vje_ppl.data.augment import Augment
from vje_ppl.data.batches import BLOCK, evaluation_views
from vje_ppl.data.feature_views import FeatureViews, GivenViews
from vje_ppl.data.image_set import ImageData, ImageSet
from vje_ppl.data.rotations import with_rotations
from vje_ppl.data.selection import at_most
from vje_ppl.errors import UserError
from vje_ppl.features.shards import Shards
from vje_ppl.methods.method import Method
from vje_ppl.parallel.fabric import Fabric
from vje_ppl.parallel.randomness import Stream, stream_seed
from vje_ppl.runs.files import explain
from vje_ppl.settings.build import starting_options
from vje_ppl.settings.identity import canonical_json

#: The folder of the embeddings in a run folder; it is deleted when the run is finished.
FOLDER = "cached_views"


@dataclass(frozen=True, eq=False)
class FrozenEncoder:
    """An encoder that embeds images before training.

    Attributes:
        module: the method that it belongs to, in evaluation mode on the device.
        augment: how views are made.
        fabric: the device and the precision.
        shards: the processes that share the images.
        folder: where embeddings are kept.
        seed: the run's.
    """

    module: Method
    augment: Augment
    fabric: Fabric
    shards: Shards
    folder: Path
    seed: int

    def embedded(self, images: ImageSet, name: str, views: int = 0) -> FeatureViews:
        """Return embeddings of images as they are and of random views, with the images' labels.

        They are kept in a file, from which every process reads.

        Args:
            images: the images; files that cannot be read are left out, if the data set says so.
            name: the file's.
            views: random views of an image.
        """
        path = self.folder / f"{name}.npy"
        if not self.shards.agree(path.is_file()):
            self._write(images, path, views)
        self.fabric.barrier()
        vectors, index = (np.load(one, mmap_mode="c") for one in (path, _index(path)))
        labels = None if images.labels is None else images.labels[torch.from_numpy(np.array(index))]
        return FeatureViews(torch.from_numpy(vectors), labels, images.classes)

    @torch.no_grad()
    def _write(self, images: ImageSet, path: Path, views: int) -> None:
        parts = evaluation_views(
            images,
            self.augment,
            views=views,
            seed=stream_seed(Stream.CACHED_VIEWS, self.seed),
            device=self.fabric.device,
            share=self.shards.share(),
        )
        embedded = ((index, {"z": self._embed(batch)}) for index, batch in parts)
        gathered = self.shards.gathered(embedded)
        total = math.ceil(len(images) / BLOCK)
        bar = tqdm(gathered, desc=f"embedding {path.stem}", total=total, leave=False, disable=None)
        shape, count, found = (len(images), 1 + views, self.module.dim), 0, []
        try:
            if not self.shards.is_first:
                for _ in gathered:
                    pass
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".part")
            vectors = np.lib.format.open_memmap(temporary, "w+", np.float32, shape)
            for index, values in bar:
                vectors[count : count + len(index)] = values["z"].numpy()
                found.append(index.numpy())
                count += len(index)
            vectors.flush()
            if count < len(images):
                np.save(temporary.with_suffix(".short.npy"), vectors[:count])
                temporary.with_suffix(".short.npy").replace(temporary)
            np.save(_index(path), np.concatenate(found) if found else np.empty(0, np.int64))
            temporary.replace(path)
        except OSError as error:
            raise UserError(
                f"cached_views needs {4 * math.prod(shape) / 1e9:.1f} GB in {self.folder}, which cannot be used: "
                f"{explain(error)}; free space there, or give cached_views=0."
            ) from error

    def _embed(self, batch: Sequence[Tensor]) -> Tensor:
        with self.fabric.autocast():
            h = self.module.encoders[0](torch.cat(list(batch)))  # the guide may whiten it, in each step
        return h.float().unflatten(0, (len(batch), -1)).transpose(0, 1)


def embedded_once(
    config: DictConfig,
    data: ImageData,
    augment: Augment,
    module: Method,
    fabric: Fabric,
    folder: Path,
    shards: Shards,
    state: dict[str, Any] | None,
    made_of: Any,
) -> tuple[ImageData, Augment]:
    """Embed a run's images with its frozen encoder, and let the encoder pass embeddings through from then on.

    Args:
        config: the resolved configuration.
        data: the images.
        augment: how views are made.
        module: the method, which holds the encoder; moved to the device here.
        fabric: a launched Fabric.
        folder: the run folder.
        shards: the processes that share the images.
        state: the state that the run resumes from, or None.
        made_of: what embeddings depend on besides the encoder's weights, in plain containers; if it has changed, those
            that an interrupted run has left are not used.

    Returns:
        The data with embeddings in place of the images that training and its k-NN measurement use, and a recipe that
        picks views among them.

    Raises:
        UserError: unless the whole encoder is frozen and there are as many views as a step takes; and if the embeddings
            cannot be stored.
    """
    views = config.cached_views
    if starting_options(config).get("freeze") is not True:
        raise UserError(
            f"cached_views={views} keeps embeddings of an encoder that does not change in training; give "
            "encoder.freeze=true, or cached_views=0."
        )
    if views < config.trainer.views:
        raise UserError(
            f"trainer.views={config.trainer.views} needs as many views of each image, got cached_views={views}; give "
            f"cached_views={config.trainer.views} or more."
        )
    if state is not None:
        module.load_state_dict(state["module"])
    module.to(fabric.device).eval()
    key = hashlib.sha256(canonical_json(made_of).encode())
    for name, value in sorted(module.encoder.state_dict().items()):  # type: ignore[union-attr]
        key.update(name.encode() + value.cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    of = FrozenEncoder(module, augment, fabric, shards, folder / FOLDER / key.hexdigest()[:16], config.seed)
    images = with_rotations(data.train) if data.rotations else data.train
    parts: dict[str, Any] = {"train": of.embedded(images, "train", views), "rotations": False}
    if data.bank is not None:
        parts["bank"] = of.embedded(at_most(data.bank, config.knn.bank), "bank")
    if data.test is not None:
        parts["test"] = of.embedded(at_most(data.test, config.knn.queries), "test")
    for encoder in module.encoders:
        encoder.forward = _passed  # so that what is saved keeps the encoder's weights
    return replace(data, **parts), GivenViews(clean=True, channels=module.dim)


def forget(folder: Path) -> None:
    """Delete the embeddings in a run folder, if there are any."""
    shutil.rmtree(folder / FOLDER, ignore_errors=True)


def _passed(embeddings: Tensor) -> Tensor:
    """Return embeddings, (N, D), that come as pixels, (N, D, 1, 1)."""
    return embeddings.flatten(1)


def _index(path: Path) -> Path:
    """Return the file of the images' places in their set."""
    return path.with_suffix(".index.npy")
