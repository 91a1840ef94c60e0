"""Posterior draws in evaluation: noise that belongs to an image and a view, whatever the batch."""

from __future__ import annotations

from typing import Any

import torch
from jaxtyping import Int64
from pyro.poutine.messenger import Messenger
from torch import Tensor
from torch.overrides import TorchFunctionMode

from vje_ppl.data.batches import BLOCK
from vje_ppl.randomness import stream_seed


class ImageNoise(Messenger):
    """Within it, reparameterized latents are drawn with noise keyed by (seed, view, image).

    A block of consecutive images shares a generator, from which the whole block is drawn and the images at hand take
    their rows; so neither which other images are in the batch nor how many processes share them changes a draw. It
    covers what a guide draws as normal noise (`Tensor.normal_`), of shape (draws, views, images, features).

    Args:
        seed: of the noise.
        images: which image of its set each column is, shape (N,).

    Source: ours; see `vje_ppl.program.noise.KeyedNoise` for training.
    """

    def __init__(self, seed: int, images: Int64[Tensor, " N"]) -> None:
        super().__init__()
        self._seed = seed
        blocks, self._block_of = torch.unique(images.cpu() // BLOCK, return_inverse=True)
        self._blocks, self._rows = blocks.tolist(), images.cpu() % BLOCK
        self._draws = 0

    def _pyro_sample(self, msg: Any) -> None:
        if msg["is_observed"] or msg["value"] is not None or not getattr(msg["fn"], "has_rsample", False):
            return
        with _Normals(self):
            msg["value"] = msg["fn"].rsample()

    def fill(self, noise: Tensor) -> Tensor:
        """Overwrite a tensor of shape (draws, views, N, features) with the images' noise."""
        draws, views, _, features = noise.shape
        for view in range(views):
            for place, block in enumerate(self._blocks):
                seed = stream_seed(self._seed, view, block, self._draws)
                generator = torch.Generator(noise.device).manual_seed(seed)
                whole = noise.new_empty(draws, BLOCK, features).normal_(generator=generator)
                members = self._block_of == place
                noise[:, view, members.to(noise.device)] = whole[:, self._rows[members].to(noise.device)]
        self._draws += 1
        return noise


class _Normals(TorchFunctionMode):
    """Replaces in-place normal noise by that of the images."""

    def __init__(self, images: ImageNoise) -> None:
        super().__init__()
        self._images = images

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is not Tensor.normal_ or len(args) + len(kwargs or {}) > 1 or args[0].dim() != 4:
            return func(*args, **(kwargs or {}))
        return self._images.fill(args[0])
