"""Lightning Fabric, without the packages that it imports but that nothing here needs.

`import lightning.fabric` imports all of PyTorch Lightning; `lightning_fabric`, which comes with it, is the same code
alone. It looks up the version of TorchMetrics, for the detection of spikes, by importing it. TorchMetrics imports
torchvision and SciPy, which together takes longer than torch.
"""

from __future__ import annotations

import sys
from typing import Any

_modules: dict[str, Any] = sys.modules
_modules.setdefault("torchmetrics", None)  # Python then refuses to import it, and Fabric takes it as not installed
try:
    from lightning_fabric import Fabric
    from lightning_fabric.plugins.environments import (
        ClusterEnvironment,
        LightningEnvironment,
        SLURMEnvironment,
        TorchElasticEnvironment,
    )
    from lightning_fabric.strategies import DDPStrategy
finally:
    if _modules["torchmetrics"] is None:
        del _modules["torchmetrics"]

__all__ = [
    "ClusterEnvironment",
    "DDPStrategy",
    "Fabric",
    "LightningEnvironment",
    "SLURMEnvironment",
    "TorchElasticEnvironment",
]
