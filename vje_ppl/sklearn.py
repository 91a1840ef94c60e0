"""`VJETransformer`: a run of `vje_ppl.fit` as a transformer of scikit-learn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from io import StringIO
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, check_non_negative, validate_data
from torch import Tensor

from vje_ppl.errors import UserError
from vje_ppl.measures.anomaly.gaussian import Gaussian
from vje_ppl.terminal.text_keys import quoted
from vje_ppl.train.fit import fit

#: Images that are embedded at a time. Matrix products of one shape sum in one order, so the features of an image are
#: the same to the last bit, whatever images are beside it.
AT_A_TIME = 64


class VJETransformer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Learns embeddings of images without labels, by `vje_ppl.fit`.

    Every X holds images: whole numbers in 0..255, or floats in [0, 1], of shape (N, H, W) or (N, C, H, W), or flattened
    to (N, H·W) or (N, C·H·W).

    Args:
        epochs: `trainer.epochs`; None: the configuration's number.
        encoder: `encoder`, such as `mlp`, `small_resnet` or `resnet18`.
        features: what `transform` returns: `z`, the embeddings, or `mu`, the means of the posteriors.
        image_shape: the shape of an image whose pixels are flattened, (H, W) or (C, H, W); None: square and grey.
        batch_size: images per step, at most all of them.
        random_state: seed of the training: a number, or a `Generator` or `RandomState` of NumPy's to draw it from;
            None: the global `RandomState`.
        run_root: folder of the run, which the same call of `fit` resumes; None: a temporary folder, which is deleted.
        overrides: further overrides as on the command line, such as "augment=digits".
        device: where images are embedded.
        verbose: whether to print what `vje_ppl.fit` prints.

    Attributes:
        run_: the trained run; without `run_root`, its folder is gone.
        image_shape_: (C, H, W).
        gaussian_: fitted to the features of the training images, for `score_samples`.
        n_features_in_: C·H·W.
        feature_names_in_: the columns of a data frame, if X was one.
    """

    def __init__(
        self,
        epochs: Any = None,
        *,
        encoder: Any = "small_resnet",
        features: Any = "z",
        image_shape: Any = None,
        batch_size: Any = 256,
        random_state: Any = 0,
        run_root: Any = None,
        overrides: Any = (),
        device: Any = "cpu",
        verbose: Any = False,
    ) -> None:
        self.epochs = epochs
        self.encoder = encoder
        self.features = features
        self.image_shape = image_shape
        self.batch_size = batch_size
        self.random_state = random_state
        self.run_root = run_root
        self.overrides = overrides
        self.device = device
        self.verbose = verbose

    def fit(self, X: Any, y: Any = None) -> VJETransformer:
        """Train a run on images.

        Args:
            X: images, at least 2.
            y: ignored.

        Raises:
            UserError: for images or parameters that `vje_ppl.fit` would refuse.
        """
        if self.features not in ("z", "mu"):
            raise UserError(f"features expects z or mu, got {self.features}.")
        if isinstance(self.overrides, str):
            raise UserError(f"overrides expects a list of texts, got a text; give overrides=[{self.overrides!r}].")
        images = self._images(X, fitting=True)
        seed = self.random_state
        if isinstance(seed, np.random.Generator):
            seed = int(seed.integers(2**31 - 1))
        elif not isinstance(seed, int | np.integer):
            seed = check_random_state(seed).randint(2**31 - 1)
        progress = "trainer.progress=auto" if self.verbose else "trainer.progress=false"
        folder = TemporaryDirectory() if self.run_root is None else nullcontext(self.run_root)
        with folder as root, nullcontext() if self.verbose else redirect_stdout(StringIO()):
            self.run_ = fit(
                images,
                f"encoder={self.encoder}",
                f"batch_size={min(self.batch_size, len(images))}",
                f"seed={seed}",
                f"run.root={quoted(str(root))}",
                progress,
                *self.overrides,
                epochs=self.epochs,
                device=self.device,
            )
        features = self._features(images)
        self.gaussian_ = Gaussian.fitted(features, torch.device("cpu"))
        self._n_features_out = features.shape[1]
        return self

    def transform(self, X: Any) -> np.ndarray:
        """Embed images.

        Args:
            X: images.

        Returns:
            Features, (N, D), float32.

        Raises:
            ValueError: for images of another shape, or another range of pixels.
        """
        check_is_fitted(self)
        return self._features(self._images(X)).numpy()

    def score_samples(self, X: Any) -> np.ndarray:
        """Return how usual images are: log N(x; m, Σ) of their features x, in nats; higher = more normal.

        m is the mean and Σ Ledoit and Wolf's covariance of the training images' features, all classes together. This
        orders images as the default score of `python -m vje_ppl.score`, the Mahalanobis distance, from the other end.
        It is no likelihood of the program, which says whether the views of an image agree; `run_.score` has those
        scores, if the run folder is kept.

        Args:
            X: images.

        Returns:
            Log densities, (N,), float64.

        Raises:
            ValueError: for images of another shape, or another range of pixels.
        """
        check_is_fitted(self)
        return self.gaussian_.log_prob(self._features(self._images(X))).numpy()

    def __sklearn_tags__(self) -> Any:
        """Say that images with two or three dimensions are welcome too, and that features are float32."""
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.positive_only = True
        tags.transformer_tags.preserves_dtype = ["float32"]
        return tags

    def _features(self, images: Tensor) -> Tensor:
        filled = torch.cat([images, images.new_zeros(-len(images) % AT_A_TIME, *images.shape[1:])])
        found = self.run_.embed(filled, AT_A_TIME)
        features = found.z if self.features == "z" else found.mean
        if features is None:
            raise UserError("features=mu needs a posterior, which the method does not have; give features='z'.")
        return features[: len(images)].cpu()

    def _images(self, X: Any, fitting: bool = False) -> Tensor:
        """Return images, (N, C, H, W), after scikit-learn's checks."""
        given = None
        if getattr(X, "ndim", 2) in (3, 4):
            X = np.asarray(X)
            given = (1, *X.shape[1:]) if X.ndim == 3 else X.shape[1:]
            X = X.reshape(len(X), -1)
        flat = validate_data(self, X, reset=fitting, ensure_min_samples=2 if fitting else 1)
        if fitting:
            self.image_shape_ = given or self._shape(flat.shape[1])
        if given not in (None, self.image_shape_):
            raise ValueError(f"X has images of shape {given}, but the transformer was fitted to {self.image_shape_}.")
        return self._tensor(flat)

    def _tensor(self, flat: np.ndarray) -> Tensor:
        check_non_negative(flat, type(self).__name__)
        return torch.from_numpy(np.ascontiguousarray(flat).reshape(len(flat), *self.image_shape_))

    def _shape(self, pixels: int) -> tuple[int, ...]:
        """Return the shape (C, H, W) of flattened images."""
        if self.image_shape is None:
            side = math.isqrt(pixels)
            shape: tuple[int, ...] = (1, side, side)
        elif not isinstance(self.image_shape, Sequence) or isinstance(self.image_shape, str):
            raise UserError(f"image_shape expects (H, W) or (C, H, W), got {self.image_shape!r}.")
        else:
            shape = (1, *self.image_shape) if len(self.image_shape) == 2 else tuple(self.image_shape)
        if len(shape) != 3 or math.prod(shape) != pixels:
            expected = "a square" if self.image_shape is None else f"image_shape={tuple(self.image_shape)}"
            raise UserError(
                f"expected {expected}, got {pixels} pixels per image; give image_shape=(H, W) or (C, H, W)."
            )
        return shape
