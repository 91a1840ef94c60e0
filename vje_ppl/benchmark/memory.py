"""Peak memory of a training run on as many images as CIFAR has."""

from __future__ import annotations

import subprocess
import sys
import tempfile

import torch

from vje_ppl.data.image_set import ImageData, InMemoryImages
from vje_ppl.errors import UserError


def random_cifar(train: int = 50_000, test: int = 10_000) -> ImageData:
    """Return random images and labels in CIFAR-10's shapes; a data set that needs no download."""
    generator = torch.Generator().manual_seed(0)

    def images(count: int) -> InMemoryImages:
        pixels = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)
        labels = torch.randint(0, 10, (count,), generator=generator)
        return InMemoryImages(pixels, labels, tuple("0123456789"))

    training = images(train)
    return ImageData("random_cifar", training, training, images(test), 3, 32, 10)


#: A small process that runs the command and prints its largest resident set: a large process would pass on its own.
_WATCH = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


def measure(device: str) -> dict[str, float]:
    """Train one epoch in a separate process and read its largest resident set, in GB (1e9 bytes)."""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "vje_ppl.train", "data=custom", "encoder=small_resnet", "augment=cifar"),
            *("data._target_=vje_ppl.benchmark.memory.random_cifar", "trainer.epochs=1", f"trainer.device={device}"),
            f"run.root={folder}",
        ]
        watched = subprocess.run([sys.executable, "-c", _WATCH, *command], capture_output=True, text=True)
        if watched.returncode:
            raise UserError(f"The run whose memory is measured failed: {watched.stderr[-500:]}")
    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return {"peak_memory_gb": int(watched.stdout) * unit / 1e9}
