"""What only a clock can tell: how many photographs a core decodes, and how long a step takes on this machine."""

from __future__ import annotations

import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from sklearn.datasets import load_sample_images

from vje_ppl.benchmark.__main__ import _processor
from vje_ppl.build import build, build_joint_embedding
from vje_ppl.data.cut_files import RandomCuts
from vje_ppl.data.image_set import StreamedImages

from .counts import CHANNELS, SIDE, composed

#: A common size of ImageNet's photographs, and the quality at which the files weigh about as much as its do.
WIDTH, HEIGHT, QUALITY = 500, 375, 97


def photographs(folder: Path, count: int = 64) -> list[Path]:
    """Cut-outs of the two photographs that scikit-learn ships, as JPEG files."""
    rng = np.random.default_rng(0)
    sources = [Image.fromarray(image) for image in load_sample_images().images]
    paths = []
    for number in range(count):
        source = sources[number % len(sources)]
        left, top = (int(rng.integers(0, room + 1)) for room in (source.width - WIDTH, source.height - HEIGHT))
        cut = source.crop((left, top, left + WIDTH, top + HEIGHT))
        paths.append(folder / f"{number}.jpg")
        cut.save(paths[-1], quality=QUALITY)
    return paths


def decoding(rounds: int = 9) -> dict[str, Any]:
    """Photographs in a second of one core's time, read, decoded and cut into two views, as a decoding worker does.

    Time is the processor's, so that other work on the machine counts less; the median over rounds of 64 files, which
    lie in the page cache: a disk is not part of it.
    """
    augment = build(composed(["data=imagenet"]).augment, "augment", channels=CHANNELS, image_size=SIDE)
    with tempfile.TemporaryDirectory() as folder:
        paths = photographs(Path(folder))
        cuts = RandomCuts(StreamedImages(paths), augment, seed=0, views=2)
        rates = [_rate(cuts, epoch, len(paths)) for epoch in range(rounds)]
        kilobytes = statistics.mean(path.stat().st_size for path in paths) / 1e3
    return {
        "images_per_s_per_core": round(statistics.median(rates), 1),
        "slowest": round(min(rates), 1),
        "fastest": round(max(rates), 1),
        "kilobytes": round(kilobytes),
        "pixels": [WIDTH, HEIGHT],
    }


def _rate(cuts: RandomCuts, epoch: int, count: int) -> float:
    start = time.process_time()
    for image in range(count):
        if (cut := cuts[epoch, image]).pixels is None:
            raise RuntimeError(f"a photograph could not be cut: {cut.failure}")
    return count / (time.process_time() - start)


def step_on_a_processor(overrides: list[str], images: int = 8, rounds: int = 3) -> dict[str, Any]:
    """Seconds of one core that forward and backward take, in bf16 and channels-last memory; the median."""
    module = build_joint_embedding(composed(overrides), CHANNELS, SIDE).to(memory_format=torch.channels_last)
    views = [torch.randn(images, CHANNELS, SIDE, SIDE).contiguous(memory_format=torch.channels_last) for _ in range(2)]
    torch.set_num_threads(1)
    times = []
    for _ in range(rounds + 1):
        start = time.process_time()
        with torch.autocast("cpu", dtype=torch.bfloat16):
            loss = module(*views).loss
        loss.backward()
        times.append(time.process_time() - start)
        module.zero_grad(set_to_none=True)
    seconds = statistics.median(times[1:])
    return {"images": images, "core_seconds": round(seconds, 1), "images_per_core_second": round(images / seconds, 2)}


def machine() -> dict[str, Any]:
    """Where it was measured, and how busy that was."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1),
        "torch": torch.__version__.split("+")[0],
        "date": time.strftime("%Y-%m-%d"),
    }
