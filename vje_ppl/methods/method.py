"""The interface of a method, VJE or a baseline, for training and evaluation."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn


@runtime_checkable
class Terms(Protocol):
    """A method's result for a batch of views: the loss, and values for the history and the monitor."""

    @property
    def loss(self) -> Float[Tensor, ""]:
        """What an optimizer minimizes, shape ()."""

    @property
    def embeddings(self) -> Float[Tensor, "views N D"]:
        """Embeddings z of N images, one or more times each, detached."""

    def scalars(self) -> dict[str, Tensor]:
        """Return means over the batch, each of shape (), by the name of their column."""

    def checked(self) -> dict[str, Tensor]:
        """Return what has to stay finite, in order of computation, by display name."""


class Method(nn.Module, ABC):
    """An encoder and everything trained with it; `forward(*views)` returns `Terms`.

    A subclass has the encoder as `encoder`, which `trainer.compile` compiles.

    Attributes:
        min_batch_size: fewest images in a batch; above 1, the method compares the images of a batch, which then cannot
            be split into parts (`trainer.accumulate`).
        collapse_advice: what may help when embeddings collapse, after "try".
    """

    min_batch_size: ClassVar[int] = 1
    collapse_advice: ClassVar[str] = "another optimizer.lr or a larger batch_size"

    @property
    @abstractmethod
    def dim(self) -> int:
        """Embedding width D."""

    @abstractmethod
    def embed(self, view: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """Return embeddings z of a batch of views."""

    @property
    def encoders(self) -> tuple[nn.Module, ...]:
        """The encoder, and the copies of it that begin with its weights; the encoder alone by default."""
        encoder: Any = self.encoder
        return (encoder,)

    @property
    def program(self) -> Any:
        """A `JointEmbedding`, guide and model over the embeddings; None if the method is not a program."""
        return None

    def learned_numbers(self) -> dict[str, float]:
        """Return numbers learned by its parts, by the name of their column; none by default."""
        return {}

    def after_step(self, step: int, steps: int) -> None:
        """Follow an optimizer step, for example by moving a momentum encoder; do nothing by default.

        Args:
            step: the step just taken, from 0.
            steps: total steps of the run.
        """


@runtime_checkable
class LearnsNumber(Protocol):
    """A part of a program that learns a number worth a column in an epoch's row, such as degrees of freedom."""

    def learned_number(self) -> Float[Tensor, ""] | None:
        """Return the number, shape (); None where it is fixed."""


@runtime_checkable
class PredictiveDensity(Protocol):
    """A method with a density of another view's embedding, given this view or not, without being a program."""

    def surprise(self, source: Float[Tensor, "N D"], target: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """−log p(target | source) in nats, from embeddings of two views of N images."""


@runtime_checkable
class UncertainDensity(PredictiveDensity, Protocol):
    """A predictive density that is wider for some images than for others."""

    def uncertainty(self, z: Float[Tensor, "N D"]) -> Float[Tensor, " N"]:
        """Return how wide the density is that N embeddings predict; higher is wider."""
