"""What is evaluated: an encoder, and a probability model over its embeddings where the method has one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.methods.method import Method, PredictiveDensity
from vje_ppl.program.moments import moments
from vje_ppl.runs.trained_run import TrainedRun
from vje_ppl.settings.build import build_method


@dataclass(frozen=True)
class Subject:
    """An encoder in evaluation mode; all that comes after it works on features.

    A method without a probability model has z alone, and the scores that need no model.

    Attributes:
        embed: maps prepared images (N, C, H, W) to embeddings z, (N, D).
        dim: embedding width D.
        program: guide and model over the embeddings, in evaluation mode; None for a method without.
        density: what predicts another view's embedding, for a method that does so without a program; None otherwise.
    """

    embed: Callable[[Tensor], Tensor]
    dim: int
    program: JointEmbedding | None = None
    density: PredictiveDensity | None = None

    @classmethod
    def of(cls, module: Method) -> Subject:
        """The subject that a method's module is, in the mode and on the device that the module has."""
        density = module if isinstance(module, PredictiveDensity) else None
        return cls(module.embed, module.dim, module.program, density)

    @property
    def feature_names(self) -> tuple[str, ...]:
        """The kinds of features there are: `z` and, with a posterior, `mu`."""
        return ("z",) if self.program is None else ("z", "mu")

    @torch.no_grad()
    def features(self, images: Float[Tensor, "N C H W"]) -> dict[str, Float[Tensor, "N D"]]:
        """Each kind of features of a batch of prepared images, float32, where the images lie."""
        z = self.embed(images)
        return self.with_mean(z, self.infer(z))

    def infer(self, z: Float[Tensor, "N D"]) -> Any:
        """The amortized posterior of embeddings; None for a method without."""
        return None if self.program is None else self.program.guide.infer(z)

    def with_mean(self, z: Float[Tensor, "N D"], posterior: Any) -> dict[str, Float[Tensor, "N D"]]:
        """Embeddings and, where there is a posterior, its mean, by name."""
        found = {"z": z.float()}
        return found if posterior is None else found | {"mu": moments(posterior)[0].float()}


def trained_subject(run: TrainedRun) -> Subject:
    """The subject that a run has trained."""
    return Subject.of(run.module)


def untrained_subject(run: TrainedRun, channels: int, device: torch.device, trust_targets: bool) -> Subject:
    """What the run started from: the same parts with the initial weights of the run's seed.

    The global random state of the CPU is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(run.config.seed)
        module = build_method(run.config, channels, run.preprocess.size, trust_targets)
    return Subject.of(module.to(device).eval())
