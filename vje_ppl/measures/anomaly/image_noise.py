"""Noise of posterior draws in evaluation: keyed by image and view, independent of the batch."""

from __future__ import annotations

import torch
from jaxtyping import Int64
from torch import Tensor

from vje_ppl.data.batches import BLOCK
from vje_ppl.parallel.randomness import stream_seed
from vje_ppl.program.noise import NormalNoise


class ImageNoise(NormalNoise):
    """Noise keyed by (seed, view, image), for draws of shape (draws, views, images, features).

    A block of consecutive images shares a generator, from which the whole block is drawn, and each image takes its row;
    so neither the other images of a batch nor the number of processes changes a draw.

    Args:
        seed: of the noise.
        images: the images' places in their set, shape (N,).

    Source: ours; see `vje_ppl.program.noise.KeyedNoise` for training.
    """

    def __init__(self, seed: int, images: Int64[Tensor, " N"]) -> None:
        super().__init__()
        self._seed = seed
        blocks, self._block_of = torch.unique(images.cpu() // BLOCK, return_inverse=True)
        self._blocks, self._rows = blocks.tolist(), images.cpu() % BLOCK
        self._draws = 0

    def fill(self, noise: Tensor) -> Tensor:
        """Overwrite a tensor of shape (draws, views, N, features) with the images' noise; any other as torch does."""
        if noise.dim() != 4:
            return noise.normal_()
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
