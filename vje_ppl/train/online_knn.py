"""k-NN accuracy while training: on z, on μ, and on raw pixels."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial

from jaxtyping import Int64
from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.data.batches import Share
from vje_ppl.data.image_set import ImageData, ImageSet
from vje_ppl.data.selection import at_most
from vje_ppl.features.embedder import Embedder
from vje_ppl.features.extract import extract, raw_pixels
from vje_ppl.features.shards import WHOLE, Shards
from vje_ppl.measures.knn import Features, accuracy, knn_ranks
from vje_ppl.methods.method import Method

Batches = Callable[[ImageSet, Share], Iterable[tuple[Tensor, Tensor]]]


class OnlineKNN:
    """Weighted k-NN of test images among labelled training images, both capped by a fixed random choice.

    The chosen images are copied for each evaluation and not kept in between.

    Args:
        data: a data set with a labelled bank and a labelled test set.
        config: the `knn` group: k, temperature, bank, queries.
        batches: yields (index, images), preprocessed and on the device, for a share of a set of images.
        shards: the processes that share the work on images; only the first process gets results.
        pixels: the data set whose pixels are compared, if `data` holds embeddings of its images.
    """

    def __init__(
        self,
        data: ImageData,
        config: DictConfig,
        batches: Batches,
        shards: Shards = WHOLE,
        pixels: ImageData | None = None,
    ) -> None:
        if data.bank is None or data.test is None or data.num_classes is None:
            raise ValueError("OnlineKNN expects labelled training and test images; check `has_labels` first.")
        self._bank, self._test = _chosen(data, config)
        self._raw = _chosen(data if pixels is None else pixels, config)
        self._k, self._temperature, self._classes = config.k, config.temperature, data.num_classes
        self._batches, self._image_size, self._shards = batches, data.image_size, shards

    def embeddings(self, module: Method) -> dict[str, float | int]:
        """Return top-1 accuracies on z and, with a posterior, on μ as `knn/z` and `knn/mu`, with k, T and the sizes."""
        training = module.training
        module.eval()
        try:
            bank, test = self._features(module, self._bank()), self._features(module, self._test())
        finally:
            module.train(training)
        if not self._shards.is_first:
            return {}
        found: dict[str, float | int] = {}
        for name in bank[0]:
            k, found[f"knn/{name}"] = self._accuracy(bank[0][name], bank[1], test[0][name], test[1])
        return {
            **found,
            "knn/k": k,
            "knn/temperature": float(self._temperature),
            "knn/bank": len(bank[1]),
            "knn/queries": len(test[1]),
        }

    def _features(self, module: Method, images: ImageSet) -> tuple[dict[str, Tensor], Tensor]:
        """Return features by name, and labels."""
        batches = self._batches(images, self._shards.share())
        found = extract(Embedder.of(module), batches, len(images), shards=self._shards)
        return found.by_name, _labels(images)[found.images]

    def pixels(self) -> float | None:
        """Return the top-1 accuracy on raw pixels, the floor that embeddings have to beat."""
        bank, test = (choose() for choose in self._raw)
        found = [raw_pixels(one, self._image_size, self._shards) for one in (bank, test)]
        if not self._shards.is_first:
            return None
        (bank_index, bank_pixels), (index, pixels) = found
        return self._accuracy(bank_pixels, _labels(bank)[bank_index], pixels, _labels(test)[index])[1]

    def _accuracy(self, bank: Features, bank_labels: Tensor, test: Features, test_labels: Tensor) -> tuple[int, float]:
        """Return the k that was used and the top-1 accuracy."""
        setting = {"k": self._k, "temperature": self._temperature, "num_classes": self._classes}
        k, ranks = knn_ranks(bank, bank_labels, test, test_labels, **setting)
        return k, accuracy(ranks)


def _chosen(data: ImageData, config: DictConfig) -> tuple[Callable[[], ImageSet], Callable[[], ImageSet]]:
    assert data.bank is not None
    assert data.test is not None
    return partial(at_most, data.bank, config.bank), partial(at_most, data.test, config.queries)


def has_labels(data: ImageData) -> bool:
    """Return whether k-NN can be evaluated on a data set."""
    return data.bank is not None and data.test is not None and data.test.labels is not None


def _labels(images: ImageSet) -> Int64[Tensor, " N"]:
    assert images.labels is not None
    return images.labels
