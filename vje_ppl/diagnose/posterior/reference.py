"""The references of a guide, computed when first needed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property

import jax.numpy as jnp
import numpy as np
from jax import random
from jaxtyping import Float
from tqdm import tqdm

from vje_ppl.diagnose.posterior.gap import Gap, compiled_measure, measure, split
from vje_ppl.diagnose.posterior.gaussians import compiled
from vje_ppl.diagnose.posterior.importance import bounds, khat
from vje_ppl.diagnose.posterior.lanes import Lanes, PosteriorMap, in_blocks, repeated
from vje_ppl.diagnose.posterior.nuts import Chains, Convergence, NUTSOptions, convergence, sampler_of
from vje_ppl.diagnose.posterior.problem import LatentTerms, PosteriorProblem, Power, powers
from vje_ppl.parallel.randomness import Stream, stream_seed
from vje_ppl.terminal.progress import progress


@dataclass(frozen=True, eq=False)
class Gaussians:
    """The best diagonal Gaussians for one target density.

    Attributes:
        best: of each target, fields (T, N, ...); how posteriors are whitened.
        shared_mean: of all targets of an image together, shape (N, D).
        shared_scale: standard deviations of the shared Gaussians, shape (N, D).
    """

    best: PosteriorMap
    shared_mean: Float[np.ndarray, "N D"]
    shared_scale: Float[np.ndarray, "N D"]


@dataclass(frozen=True, eq=False)
class Sampled:
    """NUTS draws of N posteriors, given the first target.

    Attributes:
        latent: shape (N, C, S, D).
        stats: the sampler's statistics of each transition, by name, each (N, C, S).
        step_size: of each chain, shape (N, C).
        convergence: R-hat, ESS, divergences.
        at_limit: share of transitions that the tree depth ended.
    """

    latent: Float[np.ndarray, "N C S D"]
    stats: dict[str, np.ndarray]
    step_size: Float[np.ndarray, "N C"]
    convergence: Convergence
    at_limit: float

    @property
    def mean(self) -> Float[np.ndarray, "N D"]:
        """Posterior means."""
        return self.latent.mean((1, 2))

    @property
    def scale(self) -> Float[np.ndarray, "N D"]:
        """Posterior standard deviations."""
        return self.latent.std((1, 2))


@dataclass(frozen=True, eq=False)
class Comparison:
    """The guide against one target density.

    Attributes:
        gap: information, amortization, family.
        guide_khat: of importance weights from the guide to the first target's posterior, shape (N,).
        best_khat: the same from the best diagonal Gaussian, shape (N,).
        guide_bounds: importance-weighted bounds of the guide by number of draws, each (T, N).
        best_bounds: those of the best diagonal Gaussian.
    """

    gap: Gap
    guide_khat: Float[np.ndarray, " N"]
    best_khat: Float[np.ndarray, " N"]
    guide_bounds: dict[int, np.ndarray]
    best_bounds: dict[int, np.ndarray]


@dataclass(eq=False)
class Reference:
    """Best Gaussians, NUTS draws and comparisons of one problem.

    Attributes:
        problem: the diagnosed problem.
        options: settings of chains.
        quiet: whether to leave out progress.
    """

    problem: PosteriorProblem
    options: NUTSOptions
    quiet: bool = False
    _gaussians: dict[str, Gaussians] = field(default_factory=dict)
    _sampled: dict[str, Sampled] = field(default_factory=dict)
    _comparisons: dict[str, Comparison] = field(default_factory=dict)

    @property
    def powers(self) -> list[Power]:
        """The target densities; first the density that the guide was trained for."""
        return powers(self.problem.beta)

    @property
    def block(self) -> int:
        """Lanes at a time: chains of all images."""
        return self.problem.images * self.options.chains

    @cached_property
    def guide_terms(self) -> LatentTerms:
        """Prior and likelihood at the guide's draws, (S, T, N)."""
        return self.problem.terms(self.problem.guide_draws[:, None])

    def whitening(self, lanes: Lanes) -> PosteriorMap:
        """Return the best diagonal Gaussians of lanes."""
        search, _ = compiled(self.problem.program)
        key = random.key(stream_seed(self.problem.seed, Stream.GAUSSIAN_SEARCH) % 2**32)
        return in_blocks(lambda block: search(block, key), self.block, lanes)

    def beside(self, problem: PosteriorProblem) -> Reference:
        """Return the reference of another guide for the same posteriors: Gaussians and chains depend on no guide.

        Args:
            problem: the same but for its guide.
        """
        return replace(self, problem=problem, _comparisons={})

    def gaussians(self, power: Power) -> Gaussians:
        """Return the best diagonal Gaussians for a target density."""
        if power.name not in self._gaussians:
            problem = self.problem
            with self.stage("gaussians", f"{problem.targets} × {problem.images} for {power.label}"):
                lanes = _lanes(problem, power)
                shape = problem.start.shape[:2]
                best = self.whitening(lanes)
                best = PosteriorMap(**{name: one.reshape(*shape, *one.shape[1:]) for name, one in vars(best).items()})
                _, search = compiled(problem.program)
                observed = {name: jnp.asarray(value) for name, value in problem.observed.items()}
                key = random.key(stream_seed(problem.seed, Stream.GAUSSIAN_SEARCH, 1) % 2**32)
                start = jnp.asarray(best.loc.mean(0))
                mean, scale = search(jnp.float32(power.power), jnp.asarray(problem.scale), observed, start, key)
            self._gaussians[power.name] = Gaussians(best, np.asarray(mean), np.asarray(scale))
        return self._gaussians[power.name]

    def sampled(self, power: Power) -> Sampled:
        """NUTS draws of each image's posterior given its first target."""
        if power.name not in self._sampled:
            chains, images = self.options.chains, self.problem.images
            best = self.gaussians(power).best
            first = PosteriorMap(**{name: one[0] for name, one in vars(best).items()})
            lanes = repeated((_lanes(self.problem, power, 1), first), chains)
            seed = stream_seed(self.problem.seed, Stream.CHAINS, int(power.power != 1))
            draws = self.run_chains(lanes, seed, f"{images} images × {chains} chains, {power.label}")
            stats = draws.by_posterior(chains)
            latent, step_size = stats.pop("latent"), stats.pop("step_size")
            steps = 2**self.options.max_tree_depth - 1
            with self.stage("r-hat", f"and ESS of {images} × {self.problem.dim} features"):
                found = convergence(latent, stats["diverging"])
            self._sampled[power.name] = Sampled(
                latent, stats, step_size, found, float((stats["steps"] >= steps).mean())
            )
        return self._sampled[power.name]

    def run_chains(self, lanes: tuple[Lanes, PosteriorMap], seed: int, what: str) -> Chains:
        """Sample lanes, with a progress bar."""
        total = self.options.warmup + self.options.draws * self.options.thin
        with (
            self.stage("nuts", what),
            tqdm(total=total, desc="nuts", unit="transitions", leave=False, disable=self.quiet or None) as bar,
        ):
            return sampler_of(self.problem.program, self.options)(*lanes, seed, bar.update)

    def comparison(self, power: Power) -> Comparison:
        """Compare the guide with a target density."""
        if power.name not in self._comparisons:
            problem, gaussians = self.problem, self.gaussians(power)
            with self.stage("gap", power.label):
                shared = gaussians.shared_mean, gaussians.shared_scale
                draws = len(problem.guide_draws)
                measured = measure(compiled_measure(problem.program), problem, power, gaussians.best, shared, draws)
                weights = self.guide_terms.joint(power) - problem.guide_log_prob[:, None]
                plain = None if problem.guide_is_diagonal else weights
                gap = split(problem, measured, gaussians.best.scale, gaussians.shared_scale, plain)
                best = measured.best - measured.best_log_prob
                self._comparisons[power.name] = Comparison(
                    gap, khat(weights[:, 0]), khat(best[:, 0]), bounds(weights), bounds(best)
                )
        return self._comparisons[power.name]

    @contextmanager
    def stage(self, name: str, line: str) -> Iterator[None]:
        """Print a line of progress when a stage is done, with the seconds that it took."""
        start = time.perf_counter()
        yield
        if not self.quiet:
            progress(name, f"{line}: {time.perf_counter() - start:.1f} s")


def _lanes(problem: PosteriorProblem, power: Power, targets: int | None = None) -> Lanes:
    """Return a lane for each target and image, targets first."""
    count = problem.targets if targets is None else targets
    lanes = count * problem.images
    return Lanes(
        np.full(lanes, power.power, np.float32),
        np.tile(problem.scale, (count, 1)),
        {name: np.asarray(one)[:count].reshape(lanes, *one.shape[2:]) for name, one in problem.observed.items()},
        problem.start[:count].reshape(lanes, -1),
    )
