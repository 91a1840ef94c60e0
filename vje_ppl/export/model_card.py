"""The README.md of an exported model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from vje_ppl.data.feature_views import FirstView
from vje_ppl.errors import UserError, printable
from vje_ppl.networks.encoders import ResNet, SmallResNet
from vje_ppl.runs.files import read_json
from vje_ppl.runs.trained_run import TrainedRun

#: Groups of the configuration that the card shows, in reading order.
SHOWN = (
    *("init", "init_parts", "cached_views"),
    *("method", "encoder", "guide", "prior", "likelihood", "model", "objective", "optimizer", "trainer", "seed"),
)

#: Options that the card shows only if another, or they themselves, are in use.
ONLY_WITH = {"init": "init", "init_parts": "init", "cached_views": "cached_views"}

#: Final figures of training that the card shows.
METRICS = {
    "knn/z": "weighted k-NN accuracy on z",
    "knn/mu": "weighted k-NN accuracy on μ",
    "knn/untrained_z": "the same on z of the untrained network",
    "knn/pixels": "the same on raw pixels",
    "elbo": "ELBO, nats per image",
    "kl": "KL, nats per image",
}

LIMITS = (
    "It was trained without labels on the data named above; on other images embeddings and densities may mean little.",
    "A scale is the posterior's in the model's own terms. Whether it means anything is what "
    "`python -m vje_ppl.diagnose` measures for a run; it is no confidence in a prediction.",
    "Scores and ELBOs compare images under this model, never one model with another.",
)


def model_card(
    run: TrainedRun, folder: Path, outputs: Sequence[str], differences: Mapping[str, float], calibrated: int = 0
) -> str:
    """Return the model card, in Markdown with a header for model hubs.

    Args:
        run: the run.
        folder: its folder; the card quotes `metrics.json` and `evaluation.json` if they exist.
        outputs: outputs of the ONNX graph.
        differences: of each output from torch's, as a share of its largest magnitude.
        calibrated: number of calibration images whose scores the export holds.
    """
    config: Any = OmegaConf.to_container(run.config, resolve=True)
    metrics = read_json(folder / "metrics.json") or {}
    data = metrics.get("data")
    data = data if isinstance(data, Mapping) else {}
    about, count = (printable(str(data.get(key, "?"))) for key in ("name", "images"))
    name = folder.resolve().name
    given = "feature vectors" if isinstance(run.preprocess, FirstView) else "images"
    shown = [key for key in SHOWN if key in config and (key not in ONLY_WITH or config.get(ONLY_WITH[key]))]
    lines = [
        "---",
        "library_name: vje_ppl",
        "tags: [self-supervised-learning, image-feature-extraction, variational-inference, pyro]",
        "---",
        f"# {name}",
        "",
        f"Image embeddings of {run.module.dim} features, trained with [vje_ppl](https://arxiv.org/abs/2602.05639) on "
        f"{'unnamed data' if about == '?' else about} ({count} images) for {run.epoch} epochs.",
        "",
        "## Files",
        "",
        "| file | what it holds |",
        "| --- | --- |",
        "| `model.safetensors` | every weight and the configuration; `vje_ppl.load(<this folder>)` reads it |",
        f"| `encoder.safetensors` | {_encoder(run)} |",
        f"| `model.onnx` | {given} to {', '.join(f'`{one}`' for one in outputs)}, normalization included |",
        *(
            [f"| `calibration/` | scores of {calibrated} images kept out of training, for `python -m vje_ppl.score` |"]
            if calibrated
            else []
        ),
        "",
        "## Use",
        "",
        "```python",
        "import vje_ppl",
        "",
        *_use(run, name),
        "Largest difference between onnxruntime and torch, as a share of the largest value: "
        f"{', '.join(f'{key} {value:.1e}' for key, value in differences.items())}.",
        "",
        "## Figures",
        "",
        *_figures(metrics, read_json(folder / "evaluation.json") or {}),
        "",
        "## Limits",
        "",
        *(f"- {one}" for one in LIMITS),
        "",
        "## Configuration",
        "",
        "```yaml",
        OmegaConf.to_yaml(OmegaConf.create({key: config[key] for key in shown})).rstrip(),
        "```",
        "",
    ]
    return "\n".join(lines)


def _encoder(run: TrainedRun) -> str:
    """Return what the file of the encoder holds."""
    if isinstance(run.preprocess, FirstView):
        return "the scaling of the feature vectors"
    if isinstance(run.module.encoder, ResNet | SmallResNet):
        return "the encoder alone, a ResNet under torchvision's names"
    return "the encoder alone"


def _use(run: TrainedRun, name: str) -> list[str]:
    """Return lines on how to embed with `load`, inside a block of code, and with ONNX, after it."""
    size, channels = run.preprocess.size, len(run.preprocess.normalize.mean)
    load = f'z, mean, scale = vje_ppl.load("{name}/export").embed'
    if isinstance(run.preprocess, FirstView):
        onnx = f"In ONNX, `images` are feature vectors in float32, (N, {channels}, 1, 1)."
        return [f"{load}(features)  # floats (N, {channels})", "```", "", onnx]
    return [
        f"{load}(images)  # bytes (N, {channels}, H, W)",
        "```",
        "",
        f"In ONNX, `images` are float32 in [0, 1], (N, {channels}, {size}, {size}); larger images are cut to their "
        f"central square ({run.preprocess.center_fraction:g} of the shorter side) and resized first.",
    ]


def _figures(metrics: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[str]:
    """Return rows of figures, from training and from `vje_ppl.evaluate`."""
    try:
        rows = _rows(metrics, evaluation)
    except (TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(
            "metrics.json or evaluation.json of the run contains values that vje_ppl does not write; move that file "
            "out of the run folder."
        ) from error
    if not rows:
        return ["None were measured."]
    head = ["| figure | value | with |", "| --- | --- | --- |"]
    return [*head, *(f"| {title} | {value:.4g} | {setting} |" for title, value, setting in rows)]


def _rows(metrics: Mapping[str, Any], evaluation: Mapping[str, Any]) -> list[tuple[str, float, str]]:
    known = {key: title for key, title in METRICS.items() if metrics.get(key) is not None}
    rows = [(title, float(metrics[key]), _setting(metrics, key)) for key, title in known.items()]
    for row in evaluation.get("knn", {}).get("rows", ()):
        if row["encoder"] == "trained":
            rows.append((f"k-NN top-1 on {_plain(row['features'])}, offline", float(row["top1"]), f"k = {row['k']:d}"))
    for row in evaluation.get("linear", {}).get("rows", ()):
        if row["encoder"] == "trained":
            title = f"linear probe top-1 on {_plain(row['features'])}, offline"
            rows.append((title, float(row["top1"]), f"lr {row['lr']:g}"))
    return rows


def _plain(name: Any) -> str:
    return printable(str(name)).replace("|", "&#124;")


def _setting(metrics: Mapping[str, Any], key: str) -> str:
    if not key.startswith("knn/"):
        return ""
    return f"k = {metrics['knn/k']:d}, T = {metrics['knn/temperature']:g}"
