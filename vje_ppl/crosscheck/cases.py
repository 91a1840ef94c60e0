"""The cases: inputs drawn with NumPy, the same for both backends and the oracles."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float

SMALLEST_DF, LARGEST_DF = 0.1, 1e6
SMALLEST_SCALE, LARGEST_SCALE = 1e-4, 1e2
SMALLEST_NORM, LARGEST_NORM = 1e-6, 1e4
#: A norm so small that it matters for the direction only.
NEAR_ZERO = 1e-10

#: Degrees of freedom used at every width; log_gamma_ratio changes its formula at ν = 32.
DFS = (SMALLEST_DF, 0.5, 1.0, 2.0, 5.0, 30.0, 31.9, 32.1, 1e3, LARGEST_DF)

#: The weight of the KL in the symmetric objective; neither 0 nor 1, so that a forgotten weight shows.
BETA = 0.3


@dataclass(frozen=True)
class Cases:
    """N cases at one width D, as arrays of one dtype.

    Attributes:
        mean: posterior means of two views, shape (2, N, D).
        scale: posterior standard deviations, shape (2, N, D).
        embedding: embeddings, shape (2, N, D).
        noise: standard normal noise of the posterior draw, shape (2, N, D).
        latent: mean + scale · noise, for the sites evaluated alone, shape (2, N, D).
        df: degrees of freedom of the direction, for each direction of the pair and each image, shape (2, N).
        radius_df: degrees of freedom of the radius, shape (2, N).
        log_scale: logarithm of a scale shared by all images, shape (D,).
        loc: locations for the densities evaluated alone, shape (N, D).
        target: values for these densities, shape (N, D).
        radius_loc: locations for the univariate density, shape (N,).
        radius_scale: scales for the univariate density, shape (N,).
        radius_target: values for the univariate density, shape (N,).
        cotangent: the vector onto which the polar direction is projected before its gradient is taken, shape (N, D).
    """

    mean: Float[np.ndarray, "2 N D"]
    scale: Float[np.ndarray, "2 N D"]
    embedding: Float[np.ndarray, "2 N D"]
    noise: Float[np.ndarray, "2 N D"]
    latent: Float[np.ndarray, "2 N D"]
    df: Float[np.ndarray, "2 N"]
    radius_df: Float[np.ndarray, "2 N"]
    log_scale: Float[np.ndarray, " D"]
    loc: Float[np.ndarray, "N D"]
    target: Float[np.ndarray, "N D"]
    radius_loc: Float[np.ndarray, " N"]
    radius_scale: Float[np.ndarray, " N"]
    radius_target: Float[np.ndarray, " N"]
    cotangent: Float[np.ndarray, "N D"]

    @property
    def dim(self) -> int:
        """D."""
        return self.mean.shape[-1]

    def astype(self, dtype: str) -> Cases:
        """Return the same cases rounded to a dtype; the rounded numbers are the exact inputs of all backends."""
        return replace(self, **{field.name: getattr(self, field.name).astype(dtype) for field in fields(self)})

    def arrays(self) -> dict[str, np.ndarray]:
        """Return every array by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def draw_cases(dim: int, count: int, seed: int) -> Cases:
    """Draw cases: first the corners of all ranges, then special cases, then random cases.

    Args:
        dim: width D.
        count: number of cases N, at least 24.
        seed: seed of the NumPy generator, together with the width.
    """
    rng = np.random.default_rng((seed, dim))
    df = _degrees_of_freedom(rng, (2, count))
    scale = _scales(rng, (2, count, dim))
    mean = _unit(rng.standard_normal((2, count, dim))) * _norms(rng, (2, count, 1))
    embedding = _unit(rng.standard_normal((2, count, dim))) * _norms(rng, (2, count, 1))
    noise = rng.standard_normal((2, count, dim))
    _corners(df, scale, mean, embedding)
    _special(rng, mean, embedding, noise)
    latent = mean + scale * noise
    loc, target = _unit(latent[0]), _unit(embedding[1])
    target[16], target[17::4] = loc[16], embedding[1][17::4]  # exactly at the location; and off the sphere
    return Cases(
        mean=mean,
        scale=scale,
        embedding=embedding,
        noise=noise,
        latent=latent,
        df=df,
        radius_df=rng.permutation(df.ravel()).reshape(df.shape),
        log_scale=np.log(_scales(rng, (dim,))),
        loc=loc,
        target=target,
        radius_loc=np.linalg.norm(mean[0], axis=-1),
        radius_scale=scale[0, :, 0],
        radius_target=np.linalg.norm(embedding[1], axis=-1),
        cotangent=rng.standard_normal((count, dim)),
    )


def _degrees_of_freedom(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    df = _log_uniform(rng, SMALLEST_DF, LARGEST_DF, shape)
    fixed = np.resize(np.array(DFS), shape)
    return np.where(rng.random(shape) < 0.5, df, fixed)


def _scales(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Draw the scales of a case within half a decade, and those of every sixth case over the whole range."""
    centre = _log_uniform(rng, SMALLEST_SCALE, LARGEST_SCALE, (*shape[:-1], 1))
    scale = centre * _log_uniform(rng, 10**-0.25, 10**0.25, shape)
    if len(shape) > 1:
        scale[..., 5::6, :] = _log_uniform(rng, SMALLEST_SCALE, LARGEST_SCALE, scale[..., 5::6, :].shape)
    return np.clip(scale, SMALLEST_SCALE, LARGEST_SCALE)


def _norms(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    return _log_uniform(rng, SMALLEST_NORM, LARGEST_NORM, shape)


def _corners(df: np.ndarray, scale: np.ndarray, mean: np.ndarray, embedding: np.ndarray) -> None:
    """Set the first 16 cases: every combination of smallest and largest ν, scale, latent norm and target norm."""
    for case in range(16):
        high = [bool(case >> bit & 1) for bit in range(4)]
        df[:, case] = LARGEST_DF if high[0] else SMALLEST_DF
        scale[:, case] = LARGEST_SCALE if high[1] else SMALLEST_SCALE
        mean[:, case] = _unit(mean[:, case]) * (LARGEST_NORM if high[2] else SMALLEST_NORM)
        embedding[:, case] = _unit(embedding[:, case]) * (LARGEST_NORM if high[3] else SMALLEST_NORM)


def _special(rng: np.random.Generator, mean: np.ndarray, embedding: np.ndarray, noise: np.ndarray) -> None:
    """Put targets at the location and close to it, and latents near zero, all without noise."""
    noise[:, 16:22] = 0
    embedding[:, 16:18] = mean[::-1, 16:18]
    near = mean[::-1, 18:20]
    embedding[:, 18:20] = near * (1 + 1e-3 * rng.standard_normal(near.shape))
    mean[:, 20:22] *= NEAR_ZERO / np.linalg.norm(mean[:, 20:22], axis=-1, keepdims=True)


def _log_uniform(rng: np.random.Generator, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.exp(rng.uniform(np.log(low), np.log(high), shape))


def _unit(vector: np.ndarray) -> np.ndarray:
    return vector / np.linalg.norm(vector, axis=-1, keepdims=True)
