"""Stated figures: what vendors write of their devices, what a data set weighs, and what is merely assumed."""

from __future__ import annotations

from dataclasses import dataclass

#: ImageNet-1K's training images, and the size of their archive in bytes.
IMAGES, ARCHIVE = 1_281_167, 147.9e9

#: Devices in a machine.
NODE = 8

#: ASSUMED: the share of the time's lower bound that a step reaches. Nobody has run this program on such a device.
EFFICIENCY = 0.5

#: ASSUMED: seconds that a collective operation over a few numbers takes in one machine, whatever their count.
LATENCY = 30e-6


@dataclass(frozen=True)
class Device:
    """What a data sheet says, in units of one a second.

    Attributes:
        operations: of dense bf16 matrix products, without sparsity.
        memory: bytes of its memory.
        bandwidth: bytes to and from its memory.
        link: bytes to the other devices of its machine, in one direction.
        network: bytes to other machines for each device, in one direction, where each has a network card of its own.
    """

    name: str
    operations: float
    memory: float
    bandwidth: float
    link: float
    network: float


A100 = Device("A100 SXM, 80 GB", 312e12, 80e9, 2.039e12, 300e9, 25e9)  # NVLink 3, HDR InfiniBand of 200 Gb/s
H100 = Device("H100 SXM, 80 GB", 989e12, 80e9, 3.35e12, 450e9, 50e9)  # NVLink 4, NDR InfiniBand of 400 Gb/s

#: One card for a whole machine: 100 Gb/s in bytes.
ONE_CARD = 12.5e9
