"""The views that a published model was trained on, in place of those of a data set's recipe."""

from __future__ import annotations

from omegaconf import DictConfig, OmegaConf

from vje_ppl.errors import UserError
from vje_ppl.networks.timm_encoder import model_input
from vje_ppl.settings.build import starting_options


def with_model_input(config: DictConfig, image_size: int, channels: int) -> DictConfig:
    """Return a configuration whose views suit its encoder, if that has `own_input`.

    `augment.mean` and `augment.std` become those of the model; for grey images, their means over the channels. Unless
    `augment.size` is given, views get the model's size, or the images' if that is smaller, in whole patches.

    Args:
        config: the whole configuration; not changed.
        image_size: height and width of the images, in pixels.
        channels: their channels.

    Raises:
        UserError: if timm is not installed, or has no such model.
    """
    wanted = starting_options(config).get("own_input", False)
    if not isinstance(wanted, bool):
        raise UserError(f"encoder.own_input expects true or false, got {wanted}.")
    if not wanted:
        return config
    try:
        own = model_input(config.encoder.name)
    except ValueError as error:
        raise UserError(str(error)) from error
    changed = config.copy()
    for key, values in (("mean", own.mean), ("std", own.std)):
        shown = list(values) if len(values) == channels else [round(sum(values) / len(values), 6)]
        OmegaConf.update(changed, f"augment.{key}", shown, force_add=True)
    if changed.augment.get("size") is None:
        size = min(own.size, image_size)
        OmegaConf.update(changed, "augment.size", max(own.patch, size // own.patch * own.patch), force_add=True)
    return changed
