"""A trained run opened for diagnosis: a few held-out images, their views, and their posteriors."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int64
from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.data.batches import evaluation_views
from vje_ppl.data.image_set import ImageData, ImageSet
from vje_ppl.diagnose.faults import Fault, NoFault
from vje_ppl.errors import UserError
from vje_ppl.features.opened_run import OpenedRun, open_run
from vje_ppl.measures.anomaly.conditional_densities import draw_latents
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.parallel.randomness import Stream, stream_seed
from vje_ppl.runs.trained_run import TrainedRun
from vje_ppl.settings.build import build

#: Numbers of views: the image without augmentation, the source a, and the first target b.
CLEAN, SOURCE, FIRST_TARGET = 0, 1, 2


@dataclass(frozen=True, eq=False)
class DiagnosedRun:
    """N held-out images under a trained run.

    The images are the first N of an order that depends only on their number, so a larger N contains a smaller one.
    Views are keyed by (`seed`, place in that order, view), posterior draws by (`seed`, image, view): no image depends
    on others, and nothing is drawn from the training stream. View 0 is the image without augmentation, 1 the source a
    whose posterior is diagnosed, and all others are targets b of that source.

    Attributes:
        evaluated: the opened run with its data and options.
        images: the chosen images.
        index: their places in the held-out set, shape (N,).
        z: embeddings of their views, float32, shape (V, N, D).
        fault: the fault planted into the guide, usually none.
    """

    evaluated: OpenedRun
    images: ImageSet
    index: Int64[np.ndarray, " N"]
    z: Float[Tensor, "V N D"]
    fault: Fault = field(default_factory=NoFault)

    @property
    def options(self) -> DictConfig:
        """The configuration of `configs/diagnose.yaml`."""
        return self.evaluated.options

    @property
    def run(self) -> TrainedRun:
        """The trained run, in evaluation mode."""
        return self.evaluated.run

    @property
    def data(self) -> ImageData:
        """The images for training and testing."""
        return self.evaluated.data

    @property
    def program(self) -> JointEmbedding:
        """Guide, model and objective."""
        return self.run.program

    @property
    def beta(self) -> float:
        """The weight β of the KL with which the run was trained."""
        return self.program.elbo.beta

    @property
    def seed(self) -> int:
        """The seed of views and draws; the run has its own for training."""
        return self.options.seed

    @property
    def dim(self) -> int:
        """Embedding width D."""
        return self.z.shape[-1]

    @property
    def label_names(self) -> list[str]:
        """The images' classes by name, or `unlabelled`."""
        labels, classes = self.images.labels, self.images.classes
        if labels is None:
            return ["unlabelled"] * len(self.index)
        return ["unlabelled" if one < 0 else str(one) if classes is None else classes[one] for one in labels.tolist()]

    @cached_property
    def trained_posterior(self) -> Any:
        """The trained guide's posteriors of all views, tensors of shape (V, N, ...)."""
        with torch.no_grad():
            flat = self.program.guide.infer(self.z.flatten(0, 1))
        return map_posterior(flat, lambda one: one.unflatten(0, self.z.shape[:2]).detach())

    @cached_property
    def posterior(self) -> Any:
        """The diagnosed posteriors: the trained guide's, with the fault if one is planted."""
        return self.fault.posterior(self.trained_posterior)

    def posterior_of(self, view: int) -> Any:
        """Return the posterior of one view, tensors of shape (N, ...)."""
        return map_posterior(self.posterior, lambda one: one[view])

    @property
    def targets(self) -> Float[Tensor, "T N D"]:
        """Embeddings of all target views of the same source."""
        return self.z[FIRST_TARGET:]

    @cached_property
    def likelihood_scale(self) -> Float[Tensor, "N D"]:
        """The likelihood's scale for the source view, from the trained guide by `model.scale`; always held fixed."""
        with torch.no_grad():
            return self.program.model.scale(self.trained_posterior.scale[SOURCE]).detach().expand(self.targets[0].shape)

    @torch.no_grad()
    def infer(self, prepared: Float[Tensor, "N C S S"]) -> Any:
        """Return the guide's posteriors of prepared images, with the fault if one is planted."""
        guide = self.program.guide
        return self.fault.posterior(guide.infer(guide.embed(prepared)))

    def wider(self, count: int, views: int) -> DiagnosedRun:
        """Return the same run and fault with another number of images and of random views of each."""
        return embedded(self.evaluated, count, views, self.fault)

    def draws(self, samples: int, view: int = SOURCE) -> Float[Tensor, "S N D"]:
        """Draw the guide's latent for one view, keyed by (seed, view, image).

        Args:
            samples: S.
            view: number of the view.
        """
        alone = map_posterior(self.posterior, lambda one: one[view].unsqueeze(0))
        seed = stream_seed(self.seed, Stream.DIAGNOSIS_DRAWS, view)
        with torch.no_grad():
            found = draw_latents(
                self.program, alone, self.z[view].unsqueeze(0), samples, seed, torch.from_numpy(self.index)
            )
        return found.get("latent", next(iter(found.values())))[:, 0]


def held_out_images(data: ImageData) -> ImageSet:
    """Return the images to diagnose with: the test images or, if there are none, the training images."""
    return data.train if data.test is None else data.test


@torch.no_grad()
def open_diagnosed_run(options: DictConfig, views: int) -> DiagnosedRun:
    """Load the run and its data, choose images and embed their views.

    Args:
        options: the configuration of `configs/diagnose.yaml`.
        views: random views of an image: the source and at least one target.

    Raises:
        UserError: if there is no run, or its data are missing.
    """
    evaluated = open_run(options)
    return embedded(evaluated, options.images.count, views, build(options.fault, "fault"))


@torch.no_grad()
def embedded(evaluated: OpenedRun, count: int, views: int, fault: Fault) -> DiagnosedRun:
    """Choose images of an opened run and embed their views.

    Args:
        evaluated: the run and its data.
        count: images, at most.
        views: random views of an image.
        fault: planted into the guide.

    Raises:
        UserError: if no image can be read.
    """
    held_out = held_out_images(evaluated.data)
    count = min(count, len(held_out))
    order = np.random.default_rng(0).permutation(len(held_out))[:count]
    chosen = held_out.select(order)
    seed = stream_seed(evaluated.options.seed, Stream.DIAGNOSIS_VIEWS)
    places, embeddings = [], []
    for place, batch in evaluation_views(chosen, evaluated.augment, views=views, seed=seed, device=evaluated.device):
        places.append(place)
        embeddings.append(torch.stack([evaluated.embedder.embed(view).float() for view in batch]))
    if not places:
        raise UserError(f"none of the {count} images of {evaluated.data.name} could be read; check its files.")
    kept = torch.cat(places).numpy()
    if len(kept) < count:
        chosen = chosen.select(kept)
    return DiagnosedRun(evaluated, chosen, order[kept], torch.cat(embeddings, 1), fault)
