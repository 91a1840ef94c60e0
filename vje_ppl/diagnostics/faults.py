"""Faults that are planted into a guide on purpose, to see that a diagnosis notices them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar


class Fault(ABC):
    """A change of amortized posteriors. What the likelihood is given stays as trained.

    Attributes:
        sentence: what was done, for the report; empty for nothing.
    """

    sentence: ClassVar[str]

    @abstractmethod
    def __call__(self, posterior: Any) -> Any:
        """The posterior with the fault.

        Args:
            posterior: a dataclass with `mean` and `scale`, shape (..., D).
        """


class NoFault(Fault):
    """The guide as it was trained."""

    sentence = ""

    def __call__(self, posterior: Any) -> Any:
        """The posterior itself."""
        return posterior
