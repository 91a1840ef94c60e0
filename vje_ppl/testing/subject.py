"""The subject of checks: a part, and the whole model with the part in it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from copy import deepcopy
from typing import Any

import pyro
import torch
from omegaconf import DictConfig
from torch import Tensor

from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.settings.build import build

#: The default parts beside the part under test, by name: this package imports no model and no guide.
_DEFAULTS: dict[str, dict[str, Any]] = {
    "prior": {"_target_": "vje_ppl.models.priors.standard_normal.StandardNormal"},
    "likelihood": {"_target_": "vje_ppl.models.likelihoods.polar_student_t.PolarStudentT"},
    "guide": {
        "_target_": "vje_ppl.guides.diagonal_normal.DiagonalNormal",
        "network": {
            "_target_": "vje_ppl.networks.inference_network.InferenceNetwork",
            "_partial_": True,
            "width": 2,
            "depth": 1,
        },
    },
}
_MODEL = {"_target_": "vje_ppl.models.vje.VJE"}
_OBJECTIVE = {"_target_": "vje_ppl.program.objective.SymmetricConditionalELBO"}


class Subject:
    """A prior, likelihood or guide under test; every check gets its own copies.

    Args:
        name: for messages.
        kind: `prior`, `likelihood` or `guide`.
        build: everything put together for embeddings of D features, in float32.
        dims: the widths D to check.
        views: two views of a few images for width D, in float64; by default embeddings.
        config: the configuration for width D that `build` follows, where there is one; the NumPyro twin is built from
            it.
        alone: builds the part for width D where it does not need the rest; by default `build` does.
    """

    def __init__(
        self,
        name: str,
        kind: str,
        build: Callable[[int], JointEmbedding],
        dims: Sequence[int],
        views: Callable[[int], Sequence[Tensor]] | None = None,
        config: Callable[[int], DictConfig] | None = None,
        alone: Callable[[int], Any] | None = None,
    ) -> None:
        self.name, self.kind, self.dims, self.config = name, kind, tuple(dims), config
        self._build, self._views, self._alone = build, views or _embeddings, alone
        self._built: dict[Any, Any] = {}
        self._wholes: deque[JointEmbedding] = deque(maxlen=20)

    @property
    def dim(self) -> int:
        """The width for checks that do not depend on it: the smallest above 2, if there is one."""
        return min((dim for dim in self.dims if dim > 2), default=self.dims[0])

    def whole(self, dim: int | None = None, dtype: torch.dtype = torch.float64) -> JointEmbedding:
        """Return the part together with the other parts of its configuration, or default parts."""
        return self._copy(self._build, dim, dtype)

    def part(self, dim: int | None = None, dtype: torch.dtype = torch.float64) -> Any:
        """Return the part, ready to be called."""
        if self._alone is not None:
            return self._copy(self._alone, dim, dtype)
        whole = self.whole(dim, dtype)
        # A part may need another part that it does not keep alive, as a VampPrior needs the guide.
        self._wholes.append(whole)
        return whole.guide if self.kind == "guide" else getattr(whole.model, self.kind)

    def _copy(self, build: Callable[[int], Any], dim: int | None, dtype: torch.dtype) -> Any:
        """Return a copy of the whole for a width, which is built once."""
        pyro.get_param_store().clear()  # the store would carry a copy's parameters over to the next
        key = build, self.dim if dim is None else dim
        if key not in self._built:
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(0)
                self._built[key] = build(key[1])
        copy = deepcopy(self._built[key])
        return copy.to("cpu", dtype) if isinstance(copy, torch.nn.Module) else copy

    def views(self, dim: int | None = None, dtype: torch.dtype = torch.float64) -> list[Tensor]:
        """Return two views of a few images, the same in every call."""
        return [view.to(dtype) for view in self._views(self.dim if dim is None else dim)]


def given(kind: str, part: Any, dims: Sequence[int], views: Sequence[Tensor] | None = None) -> Subject:
    """Return the subject of a user's own instance, which is not changed: checks work on copies.

    Args:
        kind: `prior`, `likelihood` or `guide`.
        part: the instance.
        dims: the widths to check it at.
        views: two views of a few images, where a guide takes something else than embeddings.

    Raises:
        ValueError: for a class instead of an instance, or no width.
    """
    if isinstance(part, type) or not callable(part):
        what = f"the class {part.__name__}" if isinstance(part, type) else repr(part)
        raise ValueError(f"check_{kind} expects an instance of a {kind}, got {what}; pass an instance.")
    if not dims or min(dims) < 2:
        raise ValueError(f"check_{kind} expects embedding widths of 2 or more, got {tuple(dims)}; give dim=...")

    def whole(dim: int) -> JointEmbedding:
        return _together(dim, **{kind: deepcopy(part)})

    def own_views(dim: int) -> Sequence[Tensor]:
        return _embeddings(dim) if views is None else views

    return Subject(type(part).__name__, kind, whole, dims, own_views)


def _together(dim: int, **parts: Any) -> JointEmbedding:
    """Put a part together with the defaults of the others, like `build_joint_embedding`."""
    for kind, node in _DEFAULTS.items():
        if kind not in parts:
            parts[kind] = build(node, kind, dim=dim)
    model = build(_MODEL, "model", dim=dim, prior=parts["prior"], likelihood=parts["likelihood"])
    if hasattr(parts["prior"], "bind"):
        parts["prior"].bind(parts["guide"].infer)
    return JointEmbedding(model, parts["guide"], build(_OBJECTIVE, "objective"))


def images(dim: int) -> int:
    """Return the number of images for a check: few, and not the number of features, so as not to confuse the two."""
    return 6 if dim != 6 else 7


def _embeddings(dim: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(5)
    return [torch.randn(images(dim), dim, generator=generator, dtype=torch.float64) for _ in range(2)]
