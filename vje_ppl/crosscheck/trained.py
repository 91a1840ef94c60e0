"""The certificate of a trained run: its objective on real images, in both backends, image by image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import torch
from numpyro import handlers
from torch import Tensor, nn

from vje_ppl.crosscheck import closed_form, numpyro_side, pyro_side
from vje_ppl.crosscheck import quantities as q
from vje_ppl.crosscheck.certificate import Batch, Check, compare
from vje_ppl.crosscheck.rounded import Rounded, as_rounded
from vje_ppl.data.batches import TrainingBatches
from vje_ppl.guides.diagonal_normal import DiagonalNormalPosterior
from vje_ppl.models.likelihoods.polar_student_t import PolarStudentT
from vje_ppl.models.likelihoods.polar_tangent_student_t import PolarTangentStudentT
from vje_ppl.models.priors.standard_normal import StandardNormal
from vje_ppl.models.radius import StudentTRadius
from vje_ppl.numpyro_port.objective import SymmetricConditionalELBO as NumPyroObjective
from vje_ppl.program.objective import SymmetricConditionalELBO
from vje_ppl.runs.files import write_atomically
from vje_ppl.runs.trained_run import TrainedRun, load
from vje_ppl.settings.build import build_augment
from vje_ppl.settings.data import load_data
from vje_ppl.settings.twins import build_model, posterior_for_prior, twin


@dataclass(frozen=True)
class Exported:
    """Embeddings and posteriors of two augmented views of N real images, as NumPy arrays.

    Attributes:
        index: the positions of the images in the data set, shape (N,).
        embedding: z, shape (2, N, D).
        parameters: fields of the posterior by name, each (2, N, ...).
        latent: one posterior draw, shape (2, N, D).
        scale: the likelihood's scale, computed in float64 from the other arrays, shape (2, N, D).
        posterior_type: the torch class of the posterior, with the fields `parameters` and `modules`.
        modules: the fields that are torch modules with learned parameters, by name; the same for all views and images.
        asked: the fields of the posterior that the prior uses, such as that of pseudo-embeddings, each (K, ...); empty
            for a prior without `bind`.
    """

    index: np.ndarray
    embedding: np.ndarray
    parameters: dict[str, np.ndarray]
    latent: np.ndarray
    scale: np.ndarray
    posterior_type: type
    modules: dict[str, nn.Module] = field(default_factory=dict)
    asked: dict[str, np.ndarray] = field(default_factory=dict)

    def learned(self) -> dict[str, dict[str, np.ndarray]]:
        """Return the parameters of the modules, by the name of the field and by their path in the module."""
        return {
            name: {path: _array(one) for path, one in part.named_parameters()} for name, part in self.modules.items()
        }

    def save(self, path: Path) -> None:
        """Write the arrays as an npz file."""
        arrays: dict[str, Any] = {f"posterior_{name}": array for name, array in self.parameters.items()}
        arrays |= {f"posterior_{name}.{of}": one for name, part in self.learned().items() for of, one in part.items()}
        arrays |= {f"prior_{name}": array for name, array in self.asked.items()}
        file = io.BytesIO()
        np.savez(file, index=self.index, embedding=self.embedding, latent=self.latent, scale=self.scale, **arrays)
        write_atomically(path, file.getbuffer())


def certify(
    folder: Path, images: int, precisions: Sequence[str], seed: int, device: str = "cpu", jax_device: str = "cpu"
) -> list[Check]:
    """Embed real images with a trained run, evaluate its objective in both backends, and compare.

    The arrays are written to `crosscheck.npz` in the run folder.

    Args:
        folder: the run folder.
        images: largest number of images.
        precisions: `float64`, `float32` or both, for the objective; the embeddings are float32.
        seed: seed of the augmentation and the posterior draw.
        device: torch's device.
        jax_device: JAX's device.

    Raises:
        UserError: if there is no run, its method has no program, or a part has no twin.
    """
    run = load(folder, device)
    exported = embed_views(run, images, seed)
    exported.save(folder / "crosscheck.npz")
    checks: dict[tuple[str, str], Check] = {}
    for precision in precisions:
        results = {
            "Pyro": in_pyro(run, exported, precision, device),
            "NumPyro": in_numpyro(run, exported, precision, jax_device),
        }
        reference, has_closed_form = oracle(run, exported, results["Pyro"])
        batch = Batch(exported.embedding.shape[-1], f"{len(exported.index)} images", precision)
        compare(checks, batch, results, reference, has_closed_form)
    return list(checks.values())


@torch.no_grad()
def embed_views(run: TrainedRun, images: int, seed: int) -> Exported:
    """Return two augmented views of the run's own images, embedded in evaluation mode."""
    config, guide = run.config, run.program.guide
    device = next(guide.parameters()).device
    data = load_data(config, trust_targets=False)
    changes = run.data_changes(data)
    if changes is not None:
        print(f"warning: {changes}", flush=True)
    augment = build_augment(config, data.channels, data.image_size, trust_targets=False)
    held_out = data.train if data.test is None else data.test
    count = min(images, len(held_out))
    batches = TrainingBatches(held_out, augment, batch_size=count, seed=seed, device=device)
    batch = next(iter(batches.epoch(0)))
    embeddings = [guide.embed(view) for view in batch.views]
    posteriors = [guide.infer(embedding) for embedding in embeddings]
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(seed)
        latent = [posterior.distribution().rsample() for posterior in posteriors]
    in_double = deepcopy(run.program.model.scale).double()
    scale = [in_double(posterior.scale.double()) for posterior in posteriors]
    values = {one.name: [getattr(posterior, one.name) for posterior in posteriors] for one in fields(posteriors[0])}
    asked = posterior_for_prior(run.program.model.prior, guide.infer)
    return Exported(
        batch.index.cpu().numpy(),
        _stacked(embeddings),
        {name: _stacked(of_views) for name, of_views in values.items() if isinstance(of_views[0], Tensor)},
        _stacked(latent),
        torch.stack(scale).cpu().numpy(),
        type(posteriors[0]),
        {name: of_views[0] for name, of_views in values.items() if isinstance(of_views[0], nn.Module)},
        {name: _array(getattr(asked, name)) for name in values if isinstance(getattr(asked, name, None), Tensor)},
    )


@torch.no_grad()
def in_pyro(run: TrainedRun, exported: Exported, precision: str, device: str) -> dict[str, np.ndarray]:
    """Return the terms of the objective, computed by Pyro."""
    dtype = getattr(torch, precision)

    def tensors(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=dtype, device=device)

    parameters = {name: tensors(array) for name, array in exported.parameters.items()}
    modules = {name: deepcopy(module).to(device, dtype) for name, module in exported.modules.items()}
    posteriors = [
        exported.posterior_type(**{name: one[view] for name, one in parameters.items()}, **modules) for view in (0, 1)
    ]
    guide = pyro_side.GivenPosteriors(run.program.guide, posteriors)
    model = deepcopy(run.program.model).to(dtype)
    if exported.asked:
        asked = {name: tensors(array) for name, array in exported.asked.items()}
        model.prior.bind(lambda _: exported.posterior_type(**asked, **modules))
    with pyro_side.GivenLatent(tensors(exported.latent)):
        terms = SymmetricConditionalELBO(run.program.elbo.beta).terms(model, guide, *tensors(exported.embedding))
    return {name: term.cpu().numpy() for name, term in _by_name(terms).items()}


def in_numpyro(run: TrainedRun, exported: Exported, precision: str, device: str) -> dict[str, np.ndarray]:
    """Return the terms of the objective, computed by NumPyro."""
    with jax.enable_x64(precision == "float64"), jax.default_device(jax.devices(device)[0]):
        model, values = build_model(run.config, exported.embedding.shape[-1], run.program.model)
        guide = twin(type(run.program.guide))()
        posterior_type = twin(exported.posterior_type)

        def arrays(array: np.ndarray) -> jax.Array:
            return jnp.asarray(array, dtype=precision)

        @jax.jit
        def evaluate(
            embedding: Any, latent: Any, parameters: Any, learned: Any, asked: Any, values: Any
        ) -> dict[str, jax.Array]:
            modules = {name: twin(type(module))(learned[name]) for name, module in exported.modules.items()}
            posteriors = [
                posterior_type(**{name: one[view] for name, one in parameters.items()}, **modules) for view in (0, 1)
            ]
            if asked:
                model.prior.bind(lambda _: posterior_type(**asked, **modules))
            substituted = handlers.substitute(model, data=values)
            objective = NumPyroObjective(run.program.elbo.beta)
            return _by_name(
                numpyro_side.objective_terms(substituted, guide, posteriors, list(embedding), latent, objective)
            )

        given = (exported.embedding, exported.latent, exported.parameters, exported.learned(), exported.asked, values)
        return {name: np.asarray(term) for name, term in evaluate(*jax.tree.map(arrays, given)).items()}


def oracle(run: TrainedRun, exported: Exported, pyro: dict[str, np.ndarray]) -> tuple[dict[str, Rounded], bool]:
    """Return closed forms, and whether this model has them; without them, only the magnitudes count.

    A magnitude is then estimated from below, as the absolute value of each part plus one per feature.
    """
    model, dim = run.program.model, exported.embedding.shape[-1]
    if (
        type(model.prior) is StandardNormal
        and exported.posterior_type is DiagonalNormalPosterior
        and (sites := _closed_sites(model.likelihood, exported)) is not None
    ):
        terms = dict(zip(("site direction", "site radius"), sites, strict=True))
        mean, posterior_scale = (as_rounded(exported.parameters[name]) for name in ("mean", "scale"))
        kl = closed_form.diagonal_normal_kl(mean, posterior_scale)
        known = True
    else:
        parts_by_name = {name: value for name, value in pyro.items() if name.startswith("site ") or name == q.KL}
        rounded = {name: Rounded(value, abs(value) + dim) for name, value in parts_by_name.items()}
        kl = rounded.pop(q.KL)
        terms, known = rounded, False
    likelihood = Rounded(np.zeros(kl.shape))
    for term in terms.values():
        likelihood = likelihood + term
    objective = likelihood - kl * run.program.elbo.beta
    elbo = likelihood - kl
    count = objective.value.size * dim
    loss = Rounded(-objective.value.sum() / count, objective.magnitude.sum() / count)
    found = {**terms, q.KL: kl, q.ELBO[0]: elbo[0], q.ELBO[1]: elbo[1], q.OBJECTIVE: objective, q.LOSS: loss}
    return found, known


def _closed_sites(likelihood: Any, exported: Exported) -> tuple[Rounded, Rounded] | None:
    """Return the closed forms of direction and radius; None for other parts than they cover."""
    if type(likelihood) not in (PolarStudentT, PolarTangentStudentT) or type(likelihood.radius) is not StudentTRadius:
        return None
    df, radius_df = (one(torch.float64).detach().cpu().numpy() for one in (likelihood.df, likelihood.radius.df))
    radius_scale = _name(likelihood.radius.scale)
    latent, scale = as_rounded(exported.latent), as_rounded(exported.scale)
    vector = as_rounded(exported.embedding[::-1])
    if radius_scale not in ("unit", "projected"):
        return None
    if type(likelihood) is PolarTangentStudentT:
        found = closed_form.tangent_likelihood(df, radius_df, radius_scale, latent, scale, vector)
        return None if likelihood.reference else found
    direction = {"DiagonalStudentT": "joint", "factorized": "factorized"}.get(_name(likelihood.direction))
    if direction is None:
        return None
    sites = closed_form.polar_likelihood(df, radius_df, direction, radius_scale, latent, scale, vector)
    return sites.direction.value, sites.radius.value


def _name(part: Any) -> str:
    """Return the name of a function or class, without Hydra's partials."""
    while hasattr(part, "func"):
        part = part.func
    return getattr(part, "__name__", "")


def _by_name(terms: Any) -> dict[str, Any]:
    """Return the terms of an objective, of either backend, under the names of the rows."""
    return {
        **{f"site {name}": term for name, term in terms.log_likelihood.items()},
        q.KL: terms.kl,
        q.ELBO[0]: terms.elbo[0],
        q.ELBO[1]: terms.elbo[1],
        q.OBJECTIVE: terms.objective,
        q.LOSS: terms.loss,
    }


def _stacked(tensors: Sequence[Tensor]) -> np.ndarray:
    return _array(torch.stack(list(tensors)))


def _array(tensor: Tensor) -> np.ndarray:
    return tensor.detach().float().cpu().numpy()
