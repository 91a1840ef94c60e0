"""The lines that a run prints before its first step and after its last, and its final figures."""

from __future__ import annotations

import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from vje_ppl.data.image_set import InMemoryImages
from vje_ppl.parallel.devices import multiplies_bf16
from vje_ppl.settings.build import count_parameters, starting_options
from vje_ppl.settings.groups import method_name
from vje_ppl.terminal.table import format_pairs
from vje_ppl.terminal.versions import versions
from vje_ppl.train.batch_size import has_batch_statistics
from vje_ppl.train.online_knn import has_labels
from vje_ppl.train.session import PACKAGES, Session

KNN = {"knn/z": "z", "knn/mu": "μ"}


def headline(session: Session, state: Mapping[str, Any] | None, started: Sequence[str] = ()) -> str:
    """Return the first lines of a run.

    Args:
        session: the run.
        state: the state that it resumes from, or None.
        started: lines on the weights that it starts from.
    """
    config, data, fabric, module = session.config, session.data, session.fabric, session.module
    where = f"{fabric.world_size} × {fabric.device.type}, {'bf16' if 'bf16' in session.precision else 'float32'}"
    held = "in memory" if isinstance(data.train, InMemoryImages) else "from files"
    lines = [
        f"run     {session.folder.path}",
        f"data    {data.name}: {len(data.train)} training images{data.turns}, {held}; {data.test_count} test images"
        f"{data.calibration_count}",
        f"classes {data.class_names}",
        *(f"note    {note}" for note in data.notes),
        f"model   {count_parameters(module):,} parameters, embeddings of {module.dim} features; {where}",
    ]
    if starting_options(config).get("own_input"):
        mean, std = (", ".join(f"{one:.4g}" for one in config.augment[key]) for key in ("mean", "std"))
        lines.append(f"views   of {session.augment.size} pixels, with the model's mean {mean} and std {std}")
    if "bf16" in session.precision and not multiplies_bf16(fabric.device.type):
        lines.append("note    this processor emulates bf16, which is slower than float32 (trainer.precision=32)")
    lines += [f"weights {line}" for line in started]
    frozen = sum(one.numel() for one in module.encoders[0].parameters() if not one.requires_grad)
    if frozen:
        lines.append(f"frozen  {frozen:,} parameters of the encoder, which are not counted above")
    if config.trainer.accumulate > 1:
        at_once = config.batch_size // (config.trainer.accumulate * fabric.world_size)
        lines.append(f"steps   {config.batch_size} images, in micro-batches of {at_once} per device")
        if has_batch_statistics(module):
            lines[-1] += "; batch statistics are per micro-batch (norm=group has none)"
    if not has_labels(data):
        why = "these have none"
        if data.bank is not None:
            why = "there are no test images" if data.test is None else "the test images have none"
        elif data.only_class is not None:
            why = "training images of several classes"
        lines.append(f"k-NN    skipped: it needs labelled training and test images, but {why}")
    if state is not None:
        what = "already finished" if state["finished"] else f"resumes after epoch {state['epoch']}"
        lines.append(f"resume  {what}, step {state['step_in_epoch']}")
    return "\n".join(lines)


def final_metrics(session: Session, history: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the final figures with the versions behind them; `history` has a row per epoch."""
    return {
        **history[-1],
        "seconds": sum(row.get("seconds", 0.0) for row in history),
        "skipped_steps": sum(row.get("skipped_steps", 0) for row in history),
        "run": session.folder.path.name,
        "method": method_name(session.resolved),
        "data": {
            "name": session.data.name,
            "images": len(session.data.train),
            "fingerprint": session.fingerprint["train"],
        }
        | ({} if session.data.calibration is None else {"calibration": len(session.data.calibration)}),
        "seed": session.resolved["seed"],
        "device": session.fabric.device.type,
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "precision": session.precision,
        "versions": versions(*PACKAGES),
    }


def closing_table(last: Mapping[str, Any], folder: Path) -> str:
    """Return the closing table of a finished run, from its final figures."""
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
    return f"\n{format_pairs(shown)}\n\n{folder}: metrics.csv, metrics.json, curves.png, checkpoints/last.pt"
