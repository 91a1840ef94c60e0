"""Time limits of the stages, and the sizes of what they run."""

from __future__ import annotations

from dataclasses import dataclass

#: Seconds after which a stage is killed: on a GPU, where they leave more than a minute of eight for the installation,
#: and with smoke=true, where a stage takes a fraction of them unless the machine is busy.
LIMITS = {
    "correctness": (80, 200),
    "throughput": (80, 200),
    "program": (20, 150),
    "scaling": (30, 150),
    "training": (200, 200),
}


@dataclass(frozen=True)
class Sizes:
    """The sizes of a campaign.

    Attributes:
        encoder: of the runs at 32×32 pixels.
        batch: images per step there.
        large_encoder: of the run on large images.
        large_side: their side in pixels.
        large_batch: images per step there.
        images: images in memory, for each.
        heads: overrides that make the heads of baselines narrow; none at full size.
        seconds: duration of a timing.
        shapes: images and features of the program's cost.
        epochs_s: seconds that training may take.
        one_class_epochs: epochs of a model of one class.
        bank: features in the bank of the largest k-NN.
        features: their width.
        queries: queries there.
        left_out: files in `tests/gpu` that the stage of correctness leaves out.
    """

    encoder: str
    batch: int
    large_encoder: str
    large_side: int
    large_batch: int
    images: int
    heads: dict[str, tuple[str, ...]]
    seconds: float
    shapes: tuple[tuple[int, int], ...]
    epochs_s: float
    one_class_epochs: int
    bank: int
    features: int
    queries: int
    left_out: tuple[str, ...] = ()


FULL = Sizes(
    encoder="resnet18",
    batch=512,
    large_encoder="resnet50",
    large_side=224,
    large_batch=128,
    images=2048,
    heads={},
    seconds=3.0,
    shapes=((512, 512), (512, 2048)),
    epochs_s=120.0,
    one_class_epochs=5,
    bank=1_281_167,
    features=2048,
    queries=8192,
)

_TINY_HEADS = ("method.projector=[16,16]",)

SMOKE = Sizes(
    encoder="small_resnet",
    batch=16,
    large_encoder="small_resnet",
    large_side=64,
    large_batch=4,
    images=64,
    heads={
        "simsiam": (*_TINY_HEADS, "method.predictor=8"),
        "byol": (*_TINY_HEADS, "method.predictor=8"),
        "vi_simsiam": (*_TINY_HEADS, "method.predictor=8"),
        "vicreg": ("method.projector=[16,16,16]",),
        "barlow_twins": ("method.projector=[16,16,16]",),
    },
    seconds=0.2,
    shapes=((64, 64), (64, 128)),
    epochs_s=3.0,
    one_class_epochs=1,
    bank=4096,
    features=64,
    queries=1024,
    left_out=("test_commands.py",),  # whole commands, which other tests run on the CPU
)
