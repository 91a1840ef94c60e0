"""One run: made as configured, or resumed, then trained to its end."""

from __future__ import annotations

import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyro
import torch
from hydra.core.hydra_config import HydraConfig
from lightning.fabric import Fabric
from omegaconf import DictConfig, OmegaConf

from vje_ppl.data.batches import Share, TrainingBatches, evaluation_batches
from vje_ppl.data.contrast import contrast_warning
from vje_ppl.data.fingerprint import HELD_OUT_BEFORE, data_root, differences, fingerprint
from vje_ppl.data.image_set import ImageData, ImageSet, InMemoryImages
from vje_ppl.errors import UserError
from vje_ppl.features.shards import Shards
from vje_ppl.methods.method import Method
from vje_ppl.parallel.devices import launch, uses_channels_last
from vje_ppl.parallel.peers import watched
from vje_ppl.randomness import seed_everything
from vje_ppl.runs import checkpoint
from vje_ppl.runs.folder import RunFolder
from vje_ppl.runs.foreign_state import TRAINING, check_state
from vje_ppl.settings.build import build_augment, build_method, count_parameters
from vje_ppl.settings.data import load_data
from vje_ppl.settings.groups import VJE, method_name
from vje_ppl.settings.identity import config_differences, default_name
from vje_ppl.terminal.table import format_pairs
from vje_ppl.train.accumulation import check_accumulation
from vje_ppl.train.loop import TrainingLoop
from vje_ppl.train.online_knn import OnlineKNN, has_labels
from vje_ppl.train.options import check_batch_size, check_options, has_batch_statistics
from vje_ppl.train.run_log import RunLog, named
from vje_ppl.train.step import prepare

KNN = {"knn/z": "z", "knn/mu": "μ"}
VERSIONS = ("vje_ppl", "torch", "torchvision", "pyro-ppl", "lightning", "numpy")


def train(config: DictConfig) -> int:
    """Train one run as configured, or go on with it.

    Args:
        config: the composed configuration of `configs/train.yaml`.

    Returns:
        Exit code: 0 when finished, 128 plus the signal's number when interrupted.

    Raises:
        UserError: for anything that the person who typed can mend.
    """
    resolved = _resolved(config)
    check_options(config)
    pyro.enable_validation(config.debug)
    with pyro.settings.context(module_local_params=True):  # parameters live in modules, never in Pyro's global store
        return _train(config, resolved)


def _train(config: DictConfig, resolved: dict[str, Any]) -> int:
    seed_everything(config.seed)
    data = load_data(config)
    augment = build_augment(config, data.channels, data.image_size)
    module = build_method(config, data.channels, augment.size)
    check_batch_size(config, module)
    fabric = launch(config.trainer, module)
    check_accumulation(config.trainer.accumulate, config.batch_size, fabric.world_size, module)
    with watched(fabric):
        return _train_together(config, resolved, data, augment, module, fabric)


def _train_together(
    config: DictConfig,
    resolved: dict[str, Any],
    data: ImageData,
    augment: Any,
    module: Method,
    fabric: Fabric,
) -> int:
    name = config.run.name or default_name(resolved, _readable_name(data))
    folder = RunFolder(config.run.root, name, create=fabric.is_global_zero)
    if fabric.is_global_zero:
        folder.lock()
    fabric.barrier()  # from here on the folder is there, and nobody else's
    try:
        # The first process says what the images are: one has to look at the files, and all have to decide alike.
        found = fabric.broadcast(fingerprint(data) if fabric.is_global_zero else {})
        state = _saved_state(config, resolved, data, found, folder, fabric)
        loop = _training_loop(config, resolved, data, found, augment, module, fabric, folder)
        if state is not None:
            loop.load_state(state)
        if fabric.is_global_zero:
            folder.write_config(resolved)
            print(_headline(config, data, module, fabric, folder, state), flush=True)
            warning = contrast_warning(data.train, augment.evaluation)
            if warning:
                print(f"warning: {warning}", flush=True)
                loop.remedy = "images that differ (see the warning at the start)"
        finished = state is not None and state["finished"]
        code = 0 if finished else loop.fit()
        if code == 0 and fabric.is_global_zero:
            metrics = _metrics(loop, folder, data, found, resolved, fabric)
            if not (finished and folder.metrics_json.exists()):  # which names the versions it was made with
                folder.write_metrics(metrics)
            _print_summary(metrics, folder)
        return code
    finally:
        folder.unlock()


def _training_loop(
    config: DictConfig,
    resolved: dict[str, Any],
    data: ImageData,
    found: dict[str, str],
    augment: Any,
    module: Method,
    fabric: Fabric,
    folder: RunFolder,
) -> TrainingLoop:
    module = prepare(fabric, module, config.trainer, uses_channels_last(config.trainer, module))
    batches = TrainingBatches(
        data.train,
        augment,
        batch_size=config.batch_size,
        seed=config.seed,
        device=fabric.device,
        views=config.trainer.views,
        rank=fabric.global_rank,
        world_size=fabric.world_size,
    )

    def preprocessed(images: ImageSet, share: Share) -> Any:
        size, device = _images_at_once(config), fabric.device
        return evaluation_batches(images, augment.evaluation, batch_size=size, device=device, share=share)

    shards = Shards(fabric.global_rank, fabric.world_size)
    return TrainingLoop(
        fabric,
        module,
        batches,
        OnlineKNN(data, config.knn, preprocessed, shards) if has_labels(data) else None,
        folder,
        config,
        RunLog(named(config, folder.path.relative_to(config.run.root).as_posix()), folder.path, resolved),
        {
            "config": resolved,
            "versions": {name: version(name) for name in VERSIONS},
            "data": {
                "name": data.name,
                "images": len(data.train),
                "channels": data.channels,
                "image_size": data.image_size,
                "fingerprint": found,
            },
        },
    )


def _resolved(config: DictConfig) -> dict[str, Any]:
    missing = sorted(OmegaConf.missing_keys(config))
    if missing:
        raise UserError(f"{missing[0]} has no value; give {missing[0]}=... on the command line.")
    container = OmegaConf.to_container(config, resolve=True)
    assert isinstance(container, dict)
    return {str(key): value for key, value in container.items()}


def _readable_name(data: ImageData) -> str:
    """The experiment, or the data set (of a user's own images, their folder's name); method and ablation, if any."""
    choices = HydraConfig.get().runtime.choices
    experiment, ablation = choices.get("experiment") or "", choices.get("experiment/ablation")
    if experiment.startswith("ablation/"):  # another way to say the same, which names the same run
        experiment, ablation = "", ablation or experiment.removeprefix("ablation/")
    method = choices.get("method")
    parts = [experiment or data.name, None if method == VJE else method, ablation]
    return "-".join(part for part in parts if part)


def _images_at_once(config: DictConfig) -> int:
    """Images that evaluation takes at once: as many as training does."""
    return max(1, config.batch_size // config.trainer.accumulate)


def _saved_state(
    config: DictConfig,
    resolved: dict[str, Any],
    data: ImageData,
    found: dict[str, str],
    folder: RunFolder,
    fabric: Fabric,
) -> dict[str, Any] | None:
    """The state to go on from, or None to start anew; as `resume` says."""
    if config.resume == "never":
        moved = folder.move_aside() if fabric.is_global_zero else None
        if moved is not None:
            print(f"the earlier run now lies in {moved}", flush=True)
        fabric.barrier()
        return None
    if config.resume == "auto":
        latest = checkpoint.load_latest(folder.checkpoints)
    else:
        path = Path(config.resume)
        latest = checkpoint.load_latest(path / "checkpoints" if (path / "checkpoints").is_dir() else path)
        if latest is None:
            raise UserError(
                f"resume expects auto, never, a run folder or a checkpoint, and there is none at {config.resume}."
            )
    if latest is None:
        return None
    check_state(latest.state, latest.path, TRAINING)
    if latest.warning and fabric.is_global_zero:
        print(f"warning: {latest.warning}", flush=True)
    _check_same(latest, resolved, data, found)
    return latest.state


def _check_same(latest: checkpoint.Latest, resolved: dict[str, Any], data: ImageData, found: dict[str, str]) -> None:
    """Refuse to go on under another configuration, or with other images."""
    old, saved = latest.state["config"], latest.state["data"]
    of_config = config_differences(old, resolved)
    of_images = differences(saved.get("fingerprint"), found, *(data_root(one) for one in (old, resolved)))
    if not of_images and saved["images"] != len(data.train):
        of_images = [f"training images: {saved['images']} -> {len(data.train)}"]
    if of_config:
        raise UserError(
            f"{latest.path} was trained under another configuration ({'; '.join([*of_config, *of_images])}); give the "
            "same one, another run.name, or resume=never."
        )
    if data.held_out and "fingerprint" not in saved:
        raise UserError(
            f"{latest.path} was trained by an earlier version of vje_ppl, {HELD_OUT_BEFORE}; give another run.name, or "
            "resume=never."
        )
    if of_images:
        raise UserError(
            f"{latest.path} was trained on other images ({'; '.join(of_images)}); give data.root=<their folder>, "
            "another run.name, or resume=never."
        )


def _headline(
    config: DictConfig, data: ImageData, module: Method, fabric: Fabric, folder: RunFolder, state: Any
) -> str:
    where = f"{fabric.world_size} × {fabric.device.type}, {'bf16' if 'bf16' in _precision(fabric) else 'float32'}"
    held = "in memory" if isinstance(data.train, InMemoryImages) else "from files"
    lines = [
        f"run     {folder.path}",
        f"data    {data.name}: {len(data.train)} images to learn from, {held}; {data.test_count} to test on",
        f"classes {data.class_names}",
        *(f"note    {note}" for note in data.notes),
        f"model   {count_parameters(module):,} parameters, embeddings of {module.dim} features; {where}",
    ]
    if config.trainer.accumulate > 1:
        at_once = config.batch_size // (config.trainer.accumulate * fabric.world_size)
        lines.append(f"steps   of {config.batch_size} images, {at_once} at once on each device")
        if has_batch_statistics(module):
            lines[-1] += ", which is what batch statistics are of; norm=group has none"
    if not has_labels(data):
        why = "these have none"
        if data.bank is not None:
            why = "there are no test images" if data.test is None else "the test images have none"
        elif data.only_class is not None:
            why = "training images of several classes"
        lines.append(f"k-NN    skipped: it needs labels for training and test images, and {why}")
    if state is not None:
        what = "finished already" if state["finished"] else f"goes on after epoch {state['epoch']}"
        lines.append(f"resume  {what}, step {state['step_in_epoch']}")
    return "\n".join(lines)


def _precision(fabric: Fabric) -> str:
    return str(fabric.strategy.precision.precision)


def _metrics(
    loop: TrainingLoop,
    folder: RunFolder,
    data: ImageData,
    found: dict[str, str],
    resolved: dict[str, Any],
    fabric: Fabric,
) -> dict[str, Any]:
    """The final figures, and what they were made with."""
    return {
        **loop.history[-1],
        "seconds": sum(row.get("seconds", 0.0) for row in loop.history),
        "skipped_steps": sum(row.get("skipped_steps", 0) for row in loop.history),
        "run": folder.path.name,
        "method": method_name(resolved),
        "data": {"name": data.name, "images": len(data.train), "fingerprint": found["train"]},
        "seed": resolved["seed"],
        "device": fabric.device.type,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": _precision(fabric),
        "versions": {name: version(name) for name in VERSIONS},
    }


def _print_summary(last: dict[str, Any], folder: RunFolder) -> None:
    """The table that a finished run ends with."""
    shown: dict[str, Any] = {"epochs": last["epoch"]}
    if "knn/z" in last:
        label = f"k-NN (k={last['knn/k']}, T={last['knn/temperature']})"
        shown |= {f"{label} on {symbol}": last[key] for key, symbol in KNN.items() if key in last}
        shown |= {f"{label} on z, untrained": last.get("knn/untrained_z")}
        shown |= {f"{label} on raw pixels": last.get("knn/pixels")}
    names = {"loss": "loss"} if "elbo" not in last else {}
    names |= {"elbo": "ELBO (nats)", "objective": "objective (nats)", "kl": "KL (nats)"}
    names |= {key: f"log-likelihood of {key.split('/')[1]} (nats)" for key in last if key.startswith("log_likelihood/")}
    names |= {"posterior_scale": "mean posterior scale", "share_at_bound": "share of scales at a bound"}
    names |= {key: f"ν of {key.removesuffix('.df')}, learned" for key in last if key.endswith(".df")}
    names |= {"concentration": "mean concentration, over the sphere's dimension"}
    names |= {"embedding_norm": "mean embedding norm", "images_per_s": "images/s"}
    shown |= {title: last[key] for key, title in names.items() if key in last}
    shown["training time (s)"] = last["seconds"]
    if last["skipped_steps"]:
        shown["steps skipped for not being finite"] = last["skipped_steps"]
    print(f"\n{format_pairs(shown)}\n\n{folder.path}: metrics.csv, metrics.json, curves.png, checkpoints/last.pt")
