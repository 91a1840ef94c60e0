"""Feature vectors in place of images: those of V views of each image, computed earlier.

A feature vector is handled as an image of one pixel with D channels, and V of them as an image of V pixels side by
side, of which a view is one pixel. So everything that works on images in memory works on features too.
"""

from __future__ import annotations

import math
from typing import override

import torch
from jaxtyping import Float, Int64, Shaped
from torch import Tensor

from vje_ppl.data.augment import Augment, ViewKey
from vje_ppl.data.image_set import ImageSet, InMemoryImages
from vje_ppl.data.preprocess import Normalize, Preprocess
from vje_ppl.errors import UserError
from vje_ppl.parallel.randomness import Stream, keyed_generator


class FeatureViews(InMemoryImages):
    """Feature vectors of V views of each of N images, held as they are.

    Args:
        features: [N, V, D].
        labels: class indices, [N].
        classes: class names.
    """

    def __init__(
        self,
        features: Float[Tensor, "N V D"],
        labels: Int64[Tensor, " N"] | None = None,
        classes: tuple[str, ...] | None = None,
    ) -> None:
        self.images = as_pixels(features)
        self.labels, self.classes, self.files, self.keys = labels, classes, None, None
        self.channels = features.shape[2]
        self._check()

    @property
    def features(self) -> Float[Tensor, "N V D"]:
        """The feature vectors."""
        return self.images[:, :, 0].movedim(1, 2)


def as_pixels(features: Float[Tensor, "N V D"]) -> Float[Tensor, "N D 1 V"]:
    """Return feature vectors as pixels side by side, without copying them."""
    return features.movedim(1, 2).unsqueeze(2)


class FirstView(Preprocess):
    """Picks the first feature vector of each image.

    Args:
        channels: length of a vector, D.
    """

    def __init__(self, channels: int) -> None:
        super().__init__(1, 1.0, Normalize([0.0], [1.0], channels, channels_last=False))

    @override
    def __call__(self, images: Shaped[Tensor, "N C H W"]) -> Float[Tensor, "N D 1 1"]:
        """Return the first vector of each image.

        Args:
            images: vectors side by side, [N, D, 1, V].

        Raises:
            UserError: for another length D, or several rows of pixels.
        """
        expected = len(self.normalize.mean)
        if not images.is_floating_point() or images.shape[1:3] != (expected, 1):
            raise UserError(
                f"expected feature vectors of length {expected}, got images of shape {tuple(images.shape[1:])}."
            )
        return images[..., :1].float().contiguous()


class GivenViews(Augment):
    """A recipe that picks views among the feature vectors of an image, without changing them.

    Views 0 to V−1 of an image are its V vectors in random order. An evaluation may ask for more: then each two views,
    the first with an even number, are two different vectors, chosen at random.

    Args:
        clean: whether the first vector is that of the undisturbed image, which is evaluated and not trained on.
        channels: length of a vector, D.
        image_size: not used: a vector is one pixel.
    """

    def __init__(self, *, clean: bool = False, channels: int, image_size: int = 1) -> None:
        super().__init__(
            geometry={}, color={}, filters={}, mean=[0.0], std=[1.0], channels=channels, image_size=1, size=1
        )
        self._clean = clean
        self.evaluation = FirstView(channels)

    @override
    def most_views(self, images: ImageSet) -> float:
        assert isinstance(images, FeatureViews)
        return images.images.shape[3] - int(self._clean)

    @override
    def view(self, images: Shaped[Tensor, "n D 1 V"], key: ViewKey) -> Float[Tensor, "n D 1 1"]:
        """Pick one vector of each image.

        Args:
            images: vectors side by side, of the rows that `key` names, [n, D, 1, V].
            key: which view this is.

        Raises:
            UserError: if an image has a single vector to choose from.
        """
        choices = images[..., int(self._clean) :]
        count = choices.shape[3]
        if count < 2:
            beside = " beside that of the undisturbed image" * self._clean
            raise UserError(
                f"Random views need two or more feature vectors of each image{beside}, but there is {count}; give "
                "features (test_features, for test images) of shape (images, views, features) with more views."
            )
        in_order = key.view < count + count % 2
        number, place = (0, key.view % count) if in_order else (key.view // 2, key.view % 2)
        rng = keyed_generator(Stream.BATCH_BOXES, key.seed, key.step, number)
        order = rng.random((key.batch_size, count)).argsort(1)[key.rows, place]
        places = torch.from_numpy(order).to(images.device)
        return choices[torch.arange(len(places), device=images.device), :, :, places].unsqueeze(3).float()


def check_kind(images: ImageSet, augment: Augment) -> None:
    """Refuse augmentations of images for feature vectors, and the other way round.

    Raises:
        UserError: if the two do not fit.
    """
    if isinstance(images, FeatureViews) and type(augment) is Augment:
        raise UserError("augment makes views of images, but these data are feature vectors; leave out augment=....")
    if isinstance(augment, GivenViews) and not isinstance(images, FeatureViews):
        raise UserError("augment=features picks feature vectors, but these data are images; choose another augment.")


def mean_and_scale(features: Float[Tensor, "N V D"]) -> tuple[Float[Tensor, " D"], Float[Tensor, " D"]]:
    """Return mean and standard deviation of each feature over all images and views; 1 for a constant feature."""
    count = features.shape[0] * features.shape[1]
    total, squares = (torch.zeros(features.shape[2], dtype=torch.float64) for _ in range(2))
    chunks = features.split(max(1, 2**22 // math.prod(features.shape[1:])))
    for chunk in chunks:
        total += chunk.double().sum((0, 1))
    mean = total / count
    for chunk in chunks:
        squares += (chunk.double() - mean).square().sum((0, 1))
    scale = (squares / count).sqrt()
    return mean.float(), torch.where(scale > 1e-6 * (1 + mean.abs()), scale, 1.0).float()
