"""`encoder.freeze`: an encoder, or its first stages, that training leaves as they are."""

from __future__ import annotations

from collections.abc import Sequence, Set
from contextlib import suppress
from typing import Any

from torch import nn

from vje_ppl.errors import UserError
from vje_ppl.networks import timm_encoder
from vje_ppl.settings.checks import is_whole


def freeze(encoders: Sequence[nn.Module], what: Any) -> list[nn.Module]:
    """Exclude parameters of encoders of one kind from training.

    Args:
        encoders: the encoders, whose frozen parameters need no gradient afterwards.
        what: True: all of each encoder; a number: its stem and that many stages; False, None or 0: nothing.

    Returns:
        The modules that must stay in evaluation mode, so that batch statistics stay as they are.

    Raises:
        UserError: for another value, and for a number of stages that the encoder does not have.
    """
    if not (what is None or isinstance(what, bool) or (is_whole(what) and what >= 0)):
        raise UserError(f"encoder.freeze expects true, false, or a number of stages, got {what}.")
    if not what:
        return []
    kept: list[nn.Module] = []
    for encoder in encoders:
        stages = {name: 0 for name, _ in encoder.named_parameters()} if what is True else _stages(encoder, what)
        frozen = {name for name, stage in stages.items() if stage <= what}
        for name, parameter in encoder.named_parameters():
            if name in frozen:
                parameter.requires_grad_(False)
        kept += [part for name, part in encoder.named_modules() if _holds_only(part, name, frozen)]
    return kept


def _stages(encoder: nn.Module, wanted: int) -> dict[str, int]:
    """Return the stage, from 1, of each parameter.

    Raises:
        UserError: if the encoder has no stages, or fewer than wanted.
    """
    stages = _known_stages(encoder)
    if stages is None:
        raise UserError(
            f"encoder.freeze={wanted} expects an encoder with stages, but {type(encoder).__name__} has none; give "
            "encoder.freeze=true, or define its method stage(name), which returns the stage of a parameter."
        )
    if wanted > max(stages.values()):
        raise UserError(
            f"encoder.freeze={wanted} expects at most {max(stages.values())}, the stages of this encoder; give fewer, "
            "or encoder.freeze=true."
        )
    return stages


def _known_stages(encoder: nn.Module) -> dict[str, int] | None:
    own: Any = getattr(encoder, "stage", None)
    if callable(own):
        return {name: own(name) for name, _ in encoder.named_parameters()}
    if hasattr(encoder, "group_matcher"):
        with suppress(AssertionError):  # of models of timm that group single layers only
            return timm_encoder.stages(encoder)
    return None


def _holds_only(part: nn.Module, place: str, frozen: Set[str]) -> bool:
    """Return whether a module at a place has parameters, all of them frozen."""
    names = {f"{place}.{name}".lstrip(".") for name, _ in part.named_parameters()}
    return bool(names) and names <= frozen
