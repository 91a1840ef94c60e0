"""`vje_ppl.fit`: a run from a script or a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from vje_ppl.data.loaders.arrays import IMAGES
from vje_ppl.data.loaders.features import FEATURES
from vje_ppl.errors import UserError
from vje_ppl.parallel.processes import started_processes
from vje_ppl.parallel.randomness import random_states, set_random_states
from vje_ppl.program.parameter_store import local_parameters
from vje_ppl.runs.trained_run import check_device
from vje_ppl.score.loaded_run import LoadedRun, load
from vje_ppl.terminal.call import as_overrides, composed
from vje_ppl.train.given_images import as_arrays, as_feature_arrays, grey_statistics, store
from vje_ppl.train.options import checked
from vje_ppl.train.run import train_session
from vje_ppl.train.session import Session


def fit(
    images: Any = None,
    *overrides: str,
    labels: Any = None,
    test_images: Any = None,
    test_labels: Any = None,
    features: Any = None,
    test_features: Any = None,
    epochs: int | None = None,
    device: str = "cpu",
    **settings: Any,
) -> LoadedRun:
    """Train a run as `python -m vje_ppl.train` does, or resume it, and load it.

    The run has the same folder and checkpoints. If the call is interrupted, the same call resumes it. Images that are
    given here are stored in `<run.root>/arrays/`, where `evaluate`, `diagnose` and the other commands find them.

    Args:
        images: an array or tensor of shape (N, C, H, W) or (N, H, W), whole numbers in 0..255 or floats in [0, 1]; a
            list of images of one size; a torch data set of them, with or without labels and without random
            transforms; or an override, such as "data=cifar10".
        *overrides: as on the command line, such as "optimizer.lr=0.01".
        labels: a label per image, (N,), only to measure k-NN accuracy: whole numbers or texts; −1, None, NaN or an
            empty text for none.
        test_images: images to test on, in one of the same forms; None: a tenth of the labelled images is held out.
        test_labels: their labels.
        features: feature vectors of V ≥ 2 views of each image in place of images, floats of shape (N, V, D).
        test_features: those of images to test on, (N, V, D) or (N, D).
        epochs: `trainer.epochs`.
        device: where the loaded run is put.
        **settings: further overrides by key, such as `encoder="resnet18"`, `seed=1` or `**{"optimizer.lr": 0.01}`.

    Returns:
        The run at its last checkpoint. The global random states are as before the call.

    Raises:
        UserError: for images, overrides or parts that `train` would refuse, and for a device that is not available.
        KeyboardInterrupt: if the training is interrupted, after its state is saved.
    """
    before = random_states()
    check_device(device)
    try:
        typed = as_overrides("fit", overrides, settings)
        if isinstance(images, str):
            typed, images = [images, *typed], None
        typed += [] if epochs is None else [f"trainer.epochs={epochs}"]
        if features is None:
            arrays = as_arrays(images, labels, test_images, test_labels)
        elif images is not None or test_images is not None:
            raise UserError("fit got both images and features; leave out one of the two.")
        else:
            arrays = as_feature_arrays(features, labels, test_features, test_labels)
        with composed("train", _with_defaults(typed, arrays)) as config:
            _check_one_process(config)
            if arrays:
                root = Path(config.run.root)
                OmegaConf.update(config, "data.root", str(root / "arrays"))
                OmegaConf.update(config, "data.file", store(arrays, root))
            checked(config)
            with local_parameters(validate=config.debug), Session.open(config) as session:
                folder = session.folder.path
                code = train_session(session)
        if code:
            raise KeyboardInterrupt(f"interrupted: state saved in {folder}; call fit in the same way to resume")
        return load(folder, device, trust_targets=True)
    finally:
        set_random_states(before)


def _check_one_process(config: DictConfig) -> None:
    """Refuse several processes, unless a launcher has started them: each would repeat the program that calls `fit`."""
    for key in ("devices", "num_nodes"):
        wanted = config.trainer[key]
        if wanted != 1 and started_processes() is None:
            raise UserError(
                f"fit trains in one process, got trainer.{key}={wanted}; give 1, start the program with torchrun, or "
                "use python -m vje_ppl.train, for images in memory with data=arrays and a file of numpy.savez."
            )


def _with_defaults(typed: Sequence[str], arrays: dict[str, Any]) -> list[str]:
    """Return overrides with those that images from memory need, and a progress bar, before the user's own."""
    own = ["trainer.progress=true"]
    if arrays:
        chosen = [one for one in typed if one.startswith("data=")]
        if chosen:
            raise UserError(f"fit got {next(iter(arrays))} and {chosen[0]}; leave out one of the two.")
        own.append("data=features" if FEATURES in arrays else "data=arrays")
        if IMAGES in arrays and arrays[IMAGES].shape[1] == 1:
            mean, std = grey_statistics(arrays[IMAGES])
            own += [f"augment.mean=[{mean}]", f"augment.std=[{std}]"]
    return [*own, *typed]
