"""From counts and stated figures to hours, memory, cores and bytes."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .counts import BF16, FLOAT32, Counts
from .devices import ARCHIVE, EFFICIENCY, IMAGES, LATENCY, NODE, ONE_CARD, Device

#: Bytes of a parameter that stay on a device: itself, its gradient, AdamW's two moments, the gradient in DDP's buckets.
RESIDENT = 5 * FLOAT32

#: Bytes that AdamW reads and writes for a parameter: it, the gradient, two moments; and it and the moments back.
UPDATE = 7 * FLOAT32


@dataclass(frozen=True)
class Budget:
    """A run: what is counted, on which devices, how many images and epochs. Bytes and seconds."""

    counts: Counts
    device: Device
    devices: int = NODE
    batch: int = 1024
    epochs: int = 100
    images: int = IMAGES
    views: int = 2
    efficiency: float = EFFICIENCY

    @property
    def share(self) -> float:
        """Images of a step on one device."""
        return self.batch / self.devices

    @property
    def arithmetic(self) -> float:
        """Seconds of a step at the peak rate of operations."""
        return self.share * self.counts.operations / self.device.operations

    @property
    def traffic(self) -> float:
        """Seconds of a step at the peak rate of memory, with the update of the parameters."""
        of_images = self.share * (self.counts.traffic + self.counts.traffic_of_augmentation)
        return (of_images + self.counts.traffic_of_step + UPDATE * self.counts.parameters) / self.device.bandwidth

    @property
    def step(self) -> float:
        """Seconds of a step, without waiting for images or for other devices: the bound over the assumed efficiency."""
        return max(self.arithmetic, self.traffic) / self.efficiency

    @property
    def steps(self) -> int:
        """Steps of the run; an incomplete last batch is dropped."""
        return self.epochs * (self.images // self.batch)

    @property
    def rate(self) -> float:
        """Images a second of one device."""
        return self.share / self.step

    @property
    def hours(self) -> float:
        """Of the whole run."""
        return self.steps * self.step / 3600

    @property
    def utilisation(self) -> float:
        """Share of the peak rate of operations that follows."""
        return self.arithmetic / self.step

    @property
    def resident(self) -> float:
        """Bytes on a device whatever the batch: parameters and what belongs to them, and their copies in bf16."""
        return (RESIDENT + BF16) * self.counts.parameters + self.counts.buffers

    @property
    def memory(self) -> float:
        """Bytes on a device at the end of a forward pass."""
        return self.resident + self.share * (self.counts.activations + self.counts.views)

    @property
    def checkpoint(self) -> float:
        """Bytes of one file: parameters, AdamW's two moments, buffers."""
        return 3 * FLOAT32 * self.counts.parameters + self.counts.buffers

    @property
    def gradient(self) -> float:
        """Bytes of a gradient."""
        return FLOAT32 * self.counts.parameters

    @property
    def sent(self) -> float:
        """Bytes that a device sends in a step to average gradients around a ring; it receives as many."""
        return 2 * (self.devices - 1) / self.devices * self.gradient

    @property
    def inside(self) -> float:
        """Seconds of that inside a machine."""
        return 2 * (NODE - 1) / NODE * self.gradient / self.device.link

    @property
    def between(self) -> float:
        """Seconds between machines where every device has a network card; 0 for one machine."""
        return self._leaving / (NODE * self.device.network)

    @property
    def between_by_one_card(self) -> float:
        """Seconds between machines that have one card each."""
        return self._leaving / ONE_CARD

    @property
    def _leaving(self) -> float:
        nodes = self.devices / NODE
        return 2 * (nodes - 1) / nodes * self.gradient

    @property
    def normalization(self) -> float:
        """Seconds of synchronizing batch statistics: one exchange a layer and view, forward and backward, in turn."""
        return 2 * self.views * self.counts.norms * LATENCY

    @property
    def read(self) -> float:
        """Bytes of files a second, over all devices."""
        return self.devices * self.rate * ARCHIVE / IMAGES

    def ten_times_the_model(self) -> Budget:
        """The same with ten times the numbers of everything in the model, and ten times the work on an image."""
        counts = self.counts
        grown = (
            *("encoder", "inference", "others", "buffers", "operations", "operations_of_inference"),
            *("activations", "traffic", "traffic_of_step"),
        )
        return replace(self, counts=replace(counts, **{name: 10 * getattr(counts, name) for name in grown}))
