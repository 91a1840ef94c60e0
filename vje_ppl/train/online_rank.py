"""RankMe and LiDAR while training, on a fixed choice of training images."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.data.augment import Augment
from vje_ppl.data.batches import evaluation_views
from vje_ppl.data.image_set import ImageSet
from vje_ppl.data.selection import at_most
from vje_ppl.features.shards import WHOLE, Shards
from vje_ppl.measures.embedding_rank import lidar, rankme
from vje_ppl.methods.method import Method
from vje_ppl.parallel.randomness import Stream, stream_seed

#: `rank.images=auto`: at least so many images, and so many for each feature, so that the noise of the covariance within
#: images does not decide the order of runs. Ours.
IMAGES, IMAGES_PER_FEATURE = 1000, 4

#: Deviations from an image's mean for each feature, below which there is no LiDAR. Ours.
LEAST_PER_FEATURE = 2


class OnlineRank:
    """Measures the rank of the embeddings z: RankMe of the prepared images, LiDAR of their random views.

    Args:
        images: the training images; labels are not used.
        augment: makes the views.
        config: the `rank` group: images, views.
        seed: the run's seed; the views are others than those of the training.
        device: where views are made.
        shards: the processes that share the work; only the first process gets results.
    """

    def __init__(
        self,
        images: ImageSet,
        augment: Augment,
        config: DictConfig,
        seed: int,
        device: torch.device,
        shards: Shards = WHOLE,
    ) -> None:
        self._images, self._augment, self._device, self._shards = images, augment, device, shards
        self._count, self._views = config.images, config.views
        self._seed = stream_seed(Stream.RANK_VIEWS, seed)

    @torch.no_grad()
    def measured(self, module: Method) -> dict[str, float]:
        """Return `rankme` and, with enough images and two or more views, `lidar`; nothing for fewer than two images."""
        count = max(IMAGES, IMAGES_PER_FEATURE * module.dim) if self._count == "auto" else self._count
        images = at_most(self._images, count)
        if len(images) < 2:
            return {}
        deviations = len(images) * (self._views - 1)
        views = self._views if self._views > 1 and deviations >= LEAST_PER_FEATURE * module.dim else 0
        training = module.training
        module.eval()
        try:
            parts = [values["z"] for _, values in self._shards.gathered(self._embedded(module, images, views))]
        finally:
            module.train(training)
        if not self._shards.is_first:
            return {}
        z = torch.cat(parts)
        found = {"rankme": rankme(z[:, 0])}
        return {**found, "lidar": lidar(z[:, 1:])} if views else found

    def _embedded(self, module: Method, images: ImageSet, views: int) -> Iterator[tuple[Tensor, dict[str, Tensor]]]:
        share = self._shards.share()
        batches = evaluation_views(
            images, self._augment, views=views, seed=self._seed, device=self._device, share=share
        )
        for index, ready in batches:
            z = module.embed(torch.cat(ready)).float()
            yield index, {"z": z.unflatten(0, (len(ready), -1)).transpose(0, 1)}
