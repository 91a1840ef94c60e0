"""The embedding of images as an ONNX graph, compared with torch in onnxruntime."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn

from vje_ppl.errors import UserError
from vje_ppl.program.moments import moments
from vje_ppl.runs.trained_run import TrainedRun, as_given

INPUT = "images"

#: Float32 sums in another order. Ours: a hundred roundings of the largest output.
TOLERANCE = 100 * torch.finfo(torch.float32).eps


class EmbeddingGraph(nn.Module):
    """Images to embeddings and the moments of their posterior, normalization included.

    Args:
        run: a trained run.
    """

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, run: TrainedRun) -> None:
        super().__init__()
        self.module = run.module
        normalize = run.preprocess.normalize
        self.register_buffer("pixel_mean", torch.tensor(normalize.mean).view(1, -1, 1, 1))
        self.register_buffer("pixel_std", torch.tensor(normalize.std).view(1, -1, 1, 1))

    @property
    def outputs(self) -> list[str]:
        """The names of the outputs: `z` and, with a posterior, `mean` and `scale`."""
        return ["z"] if self.module.program is None else ["z", "mean", "scale"]

    def forward(self, images: Float[Tensor, "N C S S"]) -> tuple[Tensor, ...]:
        """Return embeddings of images in [0, 1] of the size that the run was trained at, each (N, D)."""
        z = self.module.embed((images - self.pixel_mean) / self.pixel_std)
        program = self.module.program
        return (z,) if program is None else (z, *moments(program.guide.infer(z)))


def write_onnx(run: TrainedRun, path: Path) -> list[str]:
    """Write the graph with a free number of images.

    Args:
        run: a trained run on the CPU.
        path: the file; weights are inside it.

    Returns:
        Names of the outputs.

    Raises:
        UserError: if `onnx` and `onnxscript` are not installed.
    """
    try:
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise UserError('export needs onnx and onnxscript; run pip install "vje_ppl[export]".') from error
    graph = EmbeddingGraph(run).eval()
    size, channels = run.preprocess.size, len(run.preprocess.normalize.mean)
    example = torch.rand(3, channels, size, size, generator=torch.Generator().manual_seed(0))
    temporary = path.with_name(f".{path.name}.tmp")
    logging.getLogger("onnxscript").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # the exporter's warning about itself, as above
        graph(example)  # cached values, such as the noise for a flow's moments, become constants
        program = torch.export.export(graph, (example,), dynamic_shapes=({0: torch.export.Dim("N")},))
        exported = torch.onnx.export(
            program, input_names=[INPUT], output_names=graph.outputs, dynamo=True, verbose=False
        )
    assert exported is not None
    _rename_inner_values(exported.model.graph)
    exported.save(temporary, external_data=False)
    temporary.replace(path)
    return graph.outputs


def _rename_inner_values(graph: Any) -> None:
    """Rename values that are called like an output, since the exporter calls the result of `x.mean(...)` "mean"."""
    outputs = {value.name: value for value in graph.outputs}
    for node in graph:
        for value in node.outputs:
            if value.name in outputs and value is not outputs[value.name]:
                value.name = f"inner_{value.name}"


def compare(run: TrainedRun, path: Path, images: Shaped[Tensor, "N ..."]) -> dict[str, float]:
    """Run the graph in onnxruntime and compare each output with torch.

    Args:
        run: the run that was written.
        path: the ONNX file.
        images: bytes, (N, C, H, W); or feature vectors, (N, V, D), for a run on features.

    Returns:
        Largest difference of each output, as a share of its largest magnitude.

    Raises:
        UserError: if a difference exceeds a hundred roundings of float32.
    """
    import onnxruntime

    graph = EmbeddingGraph(run)
    pixels = run.preprocess(as_given(images, run.preprocess, "export")) * graph.pixel_std + graph.pixel_mean
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    found = session.run(None, {INPUT: pixels.contiguous().numpy()})
    names = [output.name for output in session.get_outputs()]
    expected = run.embed(images)._asdict()
    differences = {
        name: float(np.abs(value - expected[name].numpy()).max() / np.abs(expected[name].numpy()).max())
        for name, value in zip(names, found, strict=True)
    }
    worst = max(differences, key=lambda name: differences[name])
    if not differences[worst] <= TOLERANCE:
        raise UserError(
            f"{path}: onnxruntime's {worst} differs from torch's by {differences[worst]:.1e} of its largest value, "
            f"more than {TOLERANCE:.1e}; do not use this export, and try another version of onnxruntime."
        )
    return differences
