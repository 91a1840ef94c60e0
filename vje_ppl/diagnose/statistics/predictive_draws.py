"""A program's predictions of a target view and the observation, as radius and direction cosine."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int64
from torch import Tensor

from vje_ppl.data.batches import BLOCK
from vje_ppl.errors import UserError
from vje_ppl.measures.anomaly.conditional_densities import draw_latents, draw_observations
from vje_ppl.measures.anomaly.traced import map_posterior
from vje_ppl.methods.joint_embedding import JointEmbedding
from vje_ppl.parallel.randomness import Stream, stream_seed
from vje_ppl.program.moments import moments
from vje_ppl.program.polar import to_polar

COSINE, RADIUS = "direction cosine", "radius"
#: How far the length of a drawn direction may be from 1 for it to count as on the sphere: rounding in float32.
_ON_SPHERE = 1e-3


class Predictive(NamedTuple):
    """Draws of a statistic of the target view, and its observed value, for N images.

    Attributes:
        drawn: shape (S, N).
        observed: shape (N,).
    """

    drawn: Float64[np.ndarray, "S N"]
    observed: Float64[np.ndarray, " N"]


class PredictiveDraws(NamedTuple):
    """The statistics that the program's sites allow, by name, and facts about the raw draws.

    Attributes:
        statistics: `direction cosine`, `radius`, or both.
        lengths: 5, 50 and 95 % quantiles of the lengths of drawn directions; None where they are on the sphere, or
            where there is no such site.
        negative: share of drawn radii below zero.
    """

    statistics: dict[str, Predictive]
    lengths: tuple[float, float, float] | None
    negative: float


@torch.no_grad()
def predictive_draws(
    program: JointEmbedding,
    source: Any,
    given: Any,
    target: Float[Tensor, "N D"],
    images: Int64[Tensor, " N"],
    samples: int,
    seed: int,
) -> PredictiveDraws:
    """Draw s ~ q_a and y ~ p(· | s, σ_a) from the run's own program, with any likelihood, beside the observed z_b.

    The cosine is that of the angle to the mean of q_a, one fixed direction per image; the radius is the length. A site
    `embedding` gives both by its polar form. A `direction` that is drawn off the sphere is projected on it.

    The draws of a block of 64 consecutive images depend on the seed and the block alone.

    Args:
        program: guide and model.
        source: posteriors q_a of the source views, from which s is drawn; tensors of shape (N, ...).
        given: posteriors whose scale the likelihood is given; `source` unless a fault was planted there.
        target: z_b, in the units of the embedding.
        images: the images' places in the set, increasing, shape (N,).
        samples: S.
        seed: of the draws.

    Raises:
        UserError: if the likelihood declares none of the sites `direction`, `radius` and `embedding`, or one of them
            cannot be drawn from.
    """
    blocks, latent_seed = images.cpu() // BLOCK, stream_seed(seed, Stream.PREDICTIVE_LATENTS)
    parts, lengths, radii = [], [], []
    for block in blocks.unique().tolist():
        rows = (blocks == block).to(target.device)
        one, scale = (map_posterior(each, lambda value: value[rows].unsqueeze(0)) for each in (source, given))  # noqa: B023
        latents = draw_latents(program, one, target[rows].unsqueeze(0), samples, latent_seed, images[rows.cpu()])
        drawn = {name: value[:, 0] for name, value in _observations(program, scale, latents, seed, block).items()}
        towards = to_polar(moments(one)[0][0]).direction
        part, raw_direction, raw_radius = _statistics(drawn, target[rows], towards)
        parts.append(part)
        lengths.append(raw_direction)
        radii.append(raw_radius)
    names = parts[0]
    statistics = {
        name: Predictive(*(np.concatenate([part[name][i] for part in parts], -1) for i in (0, 1))) for name in names
    }
    return PredictiveDraws(statistics, _quantiles(lengths), _negative(radii))


def _observations(
    program: JointEmbedding, scale: Any, latents: dict[str, Tensor], seed: int, block: int
) -> dict[str, Tensor]:
    device = next(iter(latents.values())).device
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            torch.manual_seed(stream_seed(seed, Stream.PREDICTIVE_OBSERVATIONS, block))
            return draw_observations(program, scale, latents)
    except NotImplementedError as error:
        raise UserError(
            "Predictive checks draw from the likelihood, but one of its distributions has no sample(); add sample(), "
            "or leave out the section predictive."
        ) from error


def _statistics(
    drawn: dict[str, Tensor], target: Float[Tensor, "N D"], towards: Float[Tensor, "N D"]
) -> tuple[dict[str, tuple[np.ndarray, np.ndarray]], np.ndarray | None, np.ndarray | None]:
    """(drawn, observed) by name, the raw lengths of directions, and the raw radii."""
    direction, radius, length = drawn.get("direction"), drawn.get("radius"), None
    if direction is not None:
        direction, length = to_polar(direction)
    elif "embedding" in drawn:
        direction, radius = to_polar(drawn["embedding"])
    observed = to_polar(target)
    found = {}
    if direction is not None:
        found[COSINE] = (torch.linalg.vecdot(direction, towards), torch.linalg.vecdot(observed.direction, towards))
    if radius is not None:
        found[RADIUS] = (radius, observed.radius)
    if not found:
        raise UserError(
            f"Predictive checks need a site named direction, radius or embedding, but the likelihood declares "
            f"{', '.join(drawn) or 'none'}; rename its sites, or leave out the section predictive."
        )
    arrays = {name: tuple(value.double().cpu().numpy() for value in pair) for name, pair in found.items()}
    raw = [None if one is None else one.double().cpu().numpy() for one in (length, radius)]
    return arrays, raw[0], raw[1]


def _quantiles(lengths: Iterable[np.ndarray | None]) -> tuple[float, float, float] | None:
    known = [one.ravel() for one in lengths if one is not None]
    if not known or all((abs(one - 1) < _ON_SPHERE).all() for one in known):
        return None
    low, middle, high = np.quantile(np.concatenate(known), [0.05, 0.5, 0.95])
    return float(low), float(middle), float(high)


def _negative(radii: Iterable[np.ndarray | None]) -> float:
    known = [one.ravel() for one in radii if one is not None]
    return float((np.concatenate(known) < 0).mean()) if known else 0.0
